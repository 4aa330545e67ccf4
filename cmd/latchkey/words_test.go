package main

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
)

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                      "0 seconds",
		time.Second:                            "1 second",
		59500 * time.Millisecond:               "1 minute",
		90 * time.Second:                       "1 minute 30 seconds",
		15 * time.Minute:                       "15 minutes",
		24 * time.Hour:                         "1 day",
		25*time.Hour + time.Minute:             "1 day 1 hour",
		30*24*time.Hour + 59*time.Minute:       "30 days",
		time.Hour + time.Second:                "1 hour",
		2*time.Hour + 30*time.Minute + 1:       "2 hours 30 minutes",
		-(3 * time.Minute):                     "0 seconds", // relative says which way
		time.Minute - 400*time.Millisecond:     "1 minute",
		23*time.Hour + 59*time.Minute + 59*1e9: "23 hours 59 minutes",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	now := time.Now()
	for d, want := range map[time.Duration]string{3 * time.Minute: "in 3 minutes", -3 * time.Minute: "3 minutes ago", 0: "now"} {
		if got := relative(now.Add(d), now); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestLifetime(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "90": 90 * time.Second, "90s": 90 * time.Second, "15m": 15 * time.Minute, "24h": 24 * time.Hour,
		"30d": 720 * time.Hour, "1h30m": 90 * time.Minute,
	} {
		if got, err := parseLifetime(s); err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "soon", "-5m", "5 m", "1.5s", "100ms", "9999999999", "999999999d", "9999999999h", "30D", "1w"} {
		if got, err := parseLifetime(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"scope", "scope", 0}, {"scop", "scope", 1}, {"sCope", "scope", 1}, {"kitten", "sitting", 3}} {
		if got := distance(row.a, row.b); got != row.want {
			t.Errorf("from %q to %q it is %d, want %d", row.a, row.b, got, row.want)
		}
	}
}

func TestPlain(t *testing.T) {
	for s, want := range map[string]string{"a\nb": "a\nb", "\x1b[2J": `\u001b[2J`, "a\u202eb": `a\u202eb`, "\x7f\u009b": `\u007f\u009b`, "häß": "häß"} {
		if got := plain(s); got != want {
			t.Errorf("%q is shown as %q, want %q", s, got, want)
		}
	}
}

func TestQuoteShell(t *testing.T) {
	for s, want := range map[string]string{"a:b_c-d/e.f=1": "a:b_c-d/e.f=1", "a b": "'a b'", "it's": `'it'\''s'`, "$X": "'$X'", "a;b": "'a;b'"} {
		if got := quoteShell(s); got != want {
			t.Errorf("%q is quoted as %s, want %s", s, got, want)
		}
	}
}

func TestNewIDsAreClientIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		id := newID()
		if !client.ValidID(id) || strings.Count(id, "-") != 2 {
			t.Errorf("%q", id)
		}
		seen[id] = true
	}
	if len(seen) < 195 { // of some ten million: two that are the same would be rare
		t.Errorf("200 ids are %d different ones", len(seen))
	}
}
