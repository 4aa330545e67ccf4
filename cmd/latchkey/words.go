package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// printJSON writes a result for scripts.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// plural counts things: "1 key", "2 keys".
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// inWords says a length of time with at most two units: "15 minutes", "1 day 6 hours".
func inWords(d time.Duration) string {
	seconds := int64(d.Round(time.Second) / time.Second)
	units := []struct {
		name    string
		seconds int64
	}{{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}}
	var words []string
	for i, u := range units {
		if n := seconds / u.seconds; n > 0 {
			words = append(words, plural(n, u.name))
			seconds %= u.seconds
			if len(words) == 1 && i+1 < len(units) {
				if m := seconds / units[i+1].seconds; m > 0 {
					words = append(words, plural(m, units[i+1].name))
				}
			}
			break
		}
	}
	if len(words) == 0 {
		return "0 seconds"
	}
	return strings.Join(words, " ")
}

// relative says when t is, seen from now: "3 minutes ago", "in 14 minutes", "now".
func relative(t, now time.Time) string {
	switch d := t.Sub(now).Round(time.Second); {
	case d > 0:
		return "in " + inWords(d)
	case d < 0:
		return inWords(-d) + " ago"
	}
	return "now"
}

// stamp writes seconds since 1970 as RFC 3339, empty for 0.
func stamp(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}

// lifetime is a flag's length of time: 90s, 15m, 24h, 30d, or bare seconds.
type lifetime struct {
	d   time.Duration
	set bool
}

var (
	lifetimePattern = regexp.MustCompile(`^(\d{1,9})([smhd]?)$`)
	errLifetime     = errors.New("it must be a length of time such as 90s, 15m, 24h or 30d")
)

func parseLifetime(s string) (time.Duration, error) {
	m := lifetimePattern.FindStringSubmatch(s)
	if m == nil {
		d, err := time.ParseDuration(s) // 1h30m
		if err != nil || d < 0 || d%time.Second != 0 {
			return 0, errLifetime
		}
		return d, nil
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, errLifetime
	}
	unit := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	const most = 100 * 365 * 24 * time.Hour // far below where a Duration overflows
	if n > int64(most/unit) {
		return 0, errLifetime
	}
	return time.Duration(n) * unit, nil
}

// Set implements pflag.Value.
func (l *lifetime) Set(s string) error {
	d, err := parseLifetime(s)
	l.d, l.set = d, err == nil
	return err
}

func (l *lifetime) String() string {
	if !l.set {
		return ""
	}
	return inWords(l.d)
}

// Type implements pflag.Value; help shows it.
func (l *lifetime) Type() string { return "time" }

// plain makes text that others wrote safe to show: control and format characters, which steer terminals and turn text
// around, are written as escapes.
func plain(s string) string {
	var out strings.Builder
	for _, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar) {
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}
