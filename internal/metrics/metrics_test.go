package metrics_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/metrics"
)

var begin = time.Date(2026, 11, 27, 10, 0, 0, 5e6, time.UTC)

// say counts a record at a time, and returns what is to be written along with it.
func say(s *metrics.Set, after time.Duration, event string, attrs ...slog.Attr) string {
	r := slog.NewRecord(begin.Add(after), slog.LevelInfo, event, 0)
	r.AddAttrs(attrs...)
	return string(s.Append(nil, r))
}

// read checks lines against the specification of the embedded metric format, and returns what CloudWatch would make of them: the
// values of metrics by their dimensions.
func read(t *testing.T, lines string) map[string][]float64 {
	t.Helper()
	got := map[string][]float64{}
	for line := range strings.Lines(lines) {
		var root map[string]any
		var meta struct {
			AWS struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(line), &root); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := json.Unmarshal([]byte(line), &meta); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if root["event"] != "metrics" || root["level"] != "INFO" || meta.AWS.Timestamp < begin.UnixMilli() || len(meta.AWS.CloudWatchMetrics) != 1 {
			t.Errorf("%s", line)
		}
		for _, d := range meta.AWS.CloudWatchMetrics {
			if d.Namespace != "Latchkey" || len(d.Metrics) == 0 || len(d.Metrics) > 100 || len(d.Dimensions) == 0 {
				t.Errorf("%s", line)
			}
			for _, m := range d.Metrics {
				if !slices.Contains([]string{"Count", "Seconds", "Milliseconds"}, m.Unit) {
					t.Errorf("the unit %s: %s", m.Unit, line)
				}
				values, isList := root[m.Name].([]any)
				if !isList {
					values = []any{root[m.Name]}
				}
				if len(values) == 0 || len(values) > 100 {
					t.Errorf("%d values: %s", len(values), line)
				}
				for _, set := range d.Dimensions {
					id := m.Name
					for _, name := range set {
						value, _ := root[name].(string)
						if value == "" || len(value) > 1024 {
							t.Errorf("the dimension %s: %s", name, line)
						}
						id += " " + value
					}
					for _, v := range values {
						n, ok := v.(float64)
						if !ok {
							t.Fatalf("%s is %v: %s", m.Name, v, line)
						}
						got[id] = append(got[id], n)
					}
				}
			}
		}
	}
	return got
}

func is(t *testing.T, lines string, want map[string][]float64) {
	t.Helper()
	if got := read(t, lines); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v\nwant %v\n%s", got, want, lines)
	}
}

func TestCounts(t *testing.T) {
	s := metrics.New("f")
	age, hits, misses := 1500*time.Millisecond, uint64(0), uint64(3)
	s.Revocations(func() time.Duration { return age })
	s.Cache(func() (uint64, uint64) { return hits, misses })
	code, reason := slog.String("error", "invalid_client"), slog.String("reason", "scope")

	is(t, say(s, 0, "token.issued"), map[string][]float64{"Issued f": {1}, "RevocationsAge f": {1.5}, "CacheMisses f": {3}})
	hits, misses = 7, 4
	for _, quiet := range []string{
		say(s, 1, "token.issued"), say(s, 2, "token.refreshed"), say(s, 3, "token.refused", code), say(s, 4, "revoke.refused", code),
		say(s, 5, "authorizer.denied", slog.String("error", "insufficient_scope"), reason), say(s, 6, "authorizer.refused", slog.String("reason", "missing")),
		say(s, 7, "authorizer.allowed"), say(s, 8, "keys.reload_failed"), say(s, 9, "token.start_failed"), say(s, 10, "token.refused", slog.String("error", "invalid_grant"), slog.String("reason", "expired")),
	} {
		if quiet != "" {
			t.Errorf("too early: %s", quiet)
		}
	}
	want := map[string][]float64{
		"Issued f": {1}, "Refreshed f": {1}, "RevocationsAge f": {1.5}, "CacheHits f": {7}, "CacheMisses f": {1},
		"Refused f": {1, 2, 1, 1}, "Refused f invalid_client": {2}, "Refused f invalid_grant": {1}, "Refused f scope": {1}, "Refused f missing": {1},
	}
	lines := say(s, time.Second, "whoami.answered")
	got := read(t, lines)
	slices.Sort(got["Refused f"])
	want["Refused f"] = []float64{1, 1, 1, 2}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v\nwant %v", got, want)
	}
	is(t, say(s, time.Hour, "whoami.answered"), map[string][]float64{"RevocationsAge f": {1.5}})
}

// What was counted waits no longer than a minute for the next line, and at first less.
func TestWaits(t *testing.T) {
	s := metrics.New("f")
	var written []time.Duration
	for at := time.Duration(0); at < 5*time.Minute; at += time.Second {
		if say(s, at, "token.issued") != "" {
			written = append(written, at/time.Second)
		}
	}
	if got := fmt.Sprint(written); got != "[0s 1ns 3ns 7ns 15ns 31ns 63ns 123ns 183ns 243ns]" {
		t.Errorf("written after seconds %v", got)
	}
	// A clock that was set back does not keep it waiting.
	if say(s, -time.Hour, "token.issued") == "" {
		t.Error("it waits for an hour")
	}
}

func TestUrgent(t *testing.T) {
	s := metrics.New("f")
	s.Revocations(func() time.Duration { return 0 })
	say(s, 0, "whoami.answered")
	for _, urgent := range []struct {
		event, want string
		attrs       []slog.Attr
	}{
		{"token.failed", `"Failed":1`, nil}, {"http.panic", `"Failed":1`, nil}, {"authorizer.failed", `"Failed":1`, nil},
		{"revocations.poll_failed", `"RevocationsAge":0`, nil},
		{"token.refused", `"RefreshReuse":1`, []slog.Attr{slog.String("error", "invalid_grant"), slog.String("reason", "reused")}},
	} {
		if got := say(s, 1, urgent.event, urgent.attrs...); !strings.Contains(got, urgent.want) {
			t.Errorf("%s: %s", urgent.event, got)
		}
		if got := say(s, 2, "token.issued"); got != "" {
			t.Errorf("after %s: %s", urgent.event, got)
		}
	}
	s.KeyAge(90 * 24 * time.Hour)
	if got := say(s, 3, "keys.rotate"); !strings.Contains(got, `"KeyAge":7776000`) {
		t.Errorf("%s", got)
	}
}

func TestSigned(t *testing.T) {
	s := metrics.New("f")
	say(s, 0, "token.issued")
	for i := range 99 {
		s.Signed(time.Duration(i)*time.Millisecond+500*time.Nanosecond, false)
	}
	if got := say(s, 1, "token.issued"); got != "" {
		t.Errorf("too early: %s", got)
	}
	for range 5 { // more than a line may have
		s.Signed(12345*time.Microsecond, false)
	}
	got := read(t, say(s, 2, "token.issued"))
	if latencies := got["KMSLatency f"]; len(latencies) != 100 || latencies[98] != 98 || latencies[99] != 12.345 {
		t.Errorf("%v", latencies)
	}
	s.Signed(time.Millisecond, true)
	is(t, say(s, 3, "token.issued"), map[string][]float64{"Issued f": {1}, "KMSLatency f": {1}, "KMSThrottled f": {1}})
}

func TestFunction(t *testing.T) {
	for _, test := range []struct {
		env   map[string]string
		count bool
	}{
		{map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "f"}, true},
		{map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "f", "METRICS": "on"}, true},
		{map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "f", "METRICS": "off"}, false},
		{nil, false},
	} {
		s := metrics.Function(func(name string) (string, bool) { v, ok := test.env[name]; return v, ok })
		s.Signed(time.Second, true)
		s.KeyAge(time.Second)
		s.Cache(func() (uint64, uint64) { return 1, 1 })
		s.Revocations(func() time.Duration { return 0 })
		if got := say(s, 0, "token.issued"); (got != "") != test.count {
			t.Errorf("%v: %q", test.env, got)
		}
	}
}

// Nothing is lost or counted twice by many goroutines.
func TestAtOnce(t *testing.T) {
	s := metrics.New("f")
	var mu sync.Mutex
	var all strings.Builder
	var running sync.WaitGroup
	const each = 200
	for range 8 {
		running.Go(func() {
			for i := range each {
				s.Signed(time.Millisecond, false)
				out := say(s, time.Duration(i)*time.Second, "token.issued")
				mu.Lock()
				all.WriteString(out)
				mu.Unlock()
			}
		})
	}
	running.Wait()
	all.WriteString(say(s, time.Hour, "token.failed"))
	sum := 0.0
	for _, n := range read(t, all.String())["Issued f"] {
		sum += n
	}
	if sum != 8*each {
		t.Errorf("%v issued; want %d", sum, 8*each)
	}
}

func BenchmarkAppend(b *testing.B) {
	s := metrics.New("latchkey-RefreshFunction-0123456789ab")
	s.Revocations(func() time.Duration { return time.Second })
	buffer := make([]byte, 0, 4096)
	r := slog.NewRecord(begin, slog.LevelInfo, "token.refreshed", 0)
	b.ReportAllocs()
	for b.Loop() {
		r.Time = r.Time.Add(10 * time.Millisecond) // a hundred a second: one line in six thousand
		buffer = s.Append(buffer[:0], r)
	}
}
