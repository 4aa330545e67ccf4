// Package metrics has a function's metrics written along with its log, in CloudWatch's embedded metric format: CloudWatch reads
// them out of the log, and nothing is called.
//
// What an outcome is, its log line says; so counters are of lines, and can't say anything else than the log does. They are kept
// in memory and written when a line is, with it in one write, no more often than once a minute: see
// docs/decisions/23-metrics-once-a-minute.md for what that loses.
package metrics

import (
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"
)

// Namespace is that of all metrics.
const Namespace = "Latchkey"

// Event is the event of the lines that hold metrics.
const Event = "metrics"

// maxWait is the longest between two writes while there are lines to count. It grows up to that by doubling, so that of a sandbox
// that does not live long no more than about the latter half is lost.
const (
	firstWait = time.Second
	maxWait   = time.Minute
)

// maxValues is how many values of one metric a line may have, by the format's specification.
const maxValues = 100

// name is a metric's.
type name int

const (
	issued name = iota
	refreshed
	failed
	refreshReuse
	kmsThrottled
	cacheHits
	cacheMisses
	revocationsAge
	kmsLatency
	keyAge
	names // how many there are
)

var described = [names]struct{ name, unit string }{
	issued:         {"Issued", "Count"},
	refreshed:      {"Refreshed", "Count"},
	failed:         {"Failed", "Count"},
	refreshReuse:   {"RefreshReuse", "Count"},
	kmsThrottled:   {"KMSThrottled", "Count"},
	cacheHits:      {"CacheHits", "Count"},
	cacheMisses:    {"CacheMisses", "Count"},
	revocationsAge: {"RevocationsAge", "Seconds"},
	kmsLatency:     {"KMSLatency", "Milliseconds"},
	keyAge:         {"KeyAge", "Seconds"},
}

// Refused is apart from the others: it is counted by reason.
const refusedName = "Refused"

// Set is what a function has counted and has not yet written. A nil one counts nothing and writes nothing. Make one with
// Function or New. Safe for many goroutines.
type Set struct {
	function string

	mu      sync.Mutex // guards what follows
	cache   func() (hits, misses uint64)
	age     func() time.Duration
	counts  [names]uint64
	refused map[string]uint64 // by reason
	values  [names][]float64  // of the metrics that are measured
	read    [2]uint64         // of what cache returned when it was written last
	urgent  bool              // not to be waited with
	written time.Time         // zero: never
	wait    time.Duration     // from then on
}

// Function makes the Set of a Lambda function, by its environment: nil outside of Lambda, and where METRICS is "off".
func Function(lookup func(string) (string, bool)) *Set {
	function, _ := lookup("AWS_LAMBDA_FUNCTION_NAME")
	if setting, _ := lookup("METRICS"); function == "" || setting == "off" {
		return nil
	}
	return New(function)
}

// New makes a Set. The function's name is the dimension Function of all its metrics.
func New(function string) *Set {
	return &Set{function: function, refused: map[string]uint64{}}
}

// Cache tells where to read how many tokens were remembered when they were shown, and how many were not, since the start.
func (s *Set) Cache(read func() (hits, misses uint64)) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cache = read
	}
}

// Revocations tells where to read how old the copy of the revocations is.
func (s *Set) Revocations(age func() time.Duration) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.age = age
	}
}

// Signed counts a call of KMS, with all its tries.
func (s *Set) Signed(took time.Duration, throttled bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measure(kmsLatency, float64(took.Microseconds())/1000)
	if throttled {
		s.counts[kmsThrottled]++
		s.urgent = true
	}
}

// KeyAge says for how long a ring's newest key has signed.
func (s *Set) KeyAge(age time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measure(keyAge, seconds(age))
	s.urgent = true // rotate runs once an hour, if in the same sandbox at all
}

// measure takes a value in. Those that are too many for a line, as while no line is written, are left out.
func (s *Set) measure(n name, value float64) {
	if len(s.values[n]) < maxValues {
		s.values[n] = append(s.values[n], value)
	}
	if len(s.values[n]) == maxValues {
		s.urgent = true
	}
}

func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// Append counts a record of the log, and appends the lines to be written along with it, most often none. It implements
// jsonlog.Counter.
func (s *Set) Append(out []byte, r slog.Record) []byte {
	if s == nil || strings.HasSuffix(r.Message, ".started") { // nothing has happened yet
		return out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(&r)
	// By the wall clock, since the other one may stand still while the function is frozen.
	if waited := r.Time.Round(0).Sub(s.written); !s.urgent && waited >= 0 && waited < s.wait {
		return out
	}
	all := s.appendAll(out, r.Time.UTC())
	if len(all) > len(out) {
		s.written, s.wait, s.urgent = r.Time.Round(0), min(max(2*s.wait, firstWait), maxWait), false
	}
	return all
}

// count counts what a record says. What is failing is not waited with, as the function may not be asked again soon, and nor is
// what people are to be told of.
func (s *Set) count(r *slog.Record) {
	switch event := r.Message; {
	case event == "token.issued":
		s.counts[issued]++
	case event == "token.refreshed":
		s.counts[refreshed]++
	case event == "authorizer.denied" || strings.HasSuffix(event, ".refused"):
		s.refuse(r, strings.HasPrefix(event, "authorizer."))
	case strings.HasSuffix(event, ".failed") || event == "http.panic":
		s.counts[failed]++
		s.urgent = true
	case event == "revocations.poll_failed":
		s.urgent = true
	}
}

// refuse counts a refusal: by the error's code, or at the authorizer, where few have one, by the reason.
func (s *Set) refuse(r *slog.Record, authorizer bool) {
	var code, reason string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "error":
			code = a.Value.String()
		case "reason":
			reason = a.Value.String()
		}
		return code == "" || reason == ""
	})
	by := code
	if authorizer {
		by = reason
	}
	s.refused[by]++
	if !authorizer && reason == "reused" {
		s.counts[refreshReuse]++
		s.urgent = true
	}
}
