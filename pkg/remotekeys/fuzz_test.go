package remotekeys

import (
	"net/http"
	"testing"
)

// FuzzLifetime: whatever an answer's headers say, a set is fresh for a minute at the least and an hour at the most.
func FuzzLifetime(f *testing.F) {
	for _, h := range [][2]string{
		{"max-age=300", ""}, {"public, max-age=86400", "100"}, {"no-store", "-1"}, {`MAX-AGE="60"`, "9999999999999999999999"}, {"max-age=-1", "x"},
		{"max-age=, max-age=9223372036854775807", "9223372036854775807"}, {"s-maxage=1,,=", ""},
	} {
		f.Add(h[0], h[1])
	}
	f.Fuzz(func(t *testing.T, control, age string) {
		if d := lifetime(http.Header{"Cache-Control": {control}, "Age": {age}}); d < MinAge || d > MaxAge {
			t.Errorf("Cache-Control %q, Age %q: %s", control, age, d)
		}
	})
}
