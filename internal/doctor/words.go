package doctor

import (
	"fmt"
	"time"
)

// day writes a time's date, or the time besides where that is near.
func day(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04 UTC") }

// span says a length of time with one unit, as near as anybody wants to know.
func span(d time.Duration) string {
	d = d.Abs().Round(time.Second)
	for _, u := range []struct {
		name string
		long time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if d >= 2*u.long {
			return fmt.Sprintf("%d %ss", d/u.long, u.name)
		}
	}
	if d == time.Second {
		return "1 second"
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
