package revoke

import (
	"math"
	"sync"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// Bounds of what is remembered.
const (
	maxClients = 10_000
	maxTold    = 10_000
	// toldFor is how long a revocation is not told again. It need not be longer: telling again does no harm.
	toldFor = 10 * time.Minute
)

// limits counts requests by client: a bucket of Burst, filled at Rate.
type limits struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, buckets: map[string]bucket{}}
}

// take counts a request; if it is one too many, it returns how long to wait, above 0.
func (l *limits) take(id string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().Round(0)
	b, known := l.buckets[id]
	if !known {
		evict(l.buckets, maxClients)
		b = bucket{Burst, now}
	}
	// A clock that was set back fills nothing.
	b.left = math.Min(Burst, b.left+Rate*math.Max(0, now.Sub(b.at).Seconds()))
	b.at = now
	var wait time.Duration
	if b.left >= 1 {
		b.left--
	} else {
		wait = time.Duration((1 - b.left) / Rate * float64(time.Second))
		wait = max(wait, 1)
	}
	l.buckets[id] = b
	return wait
}

// told remembers what was revoked lately, so that the same token sent over and over does not fill the log.
type told struct {
	now func() time.Time

	mu   sync.Mutex
	keys map[revocation.Key]time.Time
}

func newTold(now func() time.Time) *told {
	return &told{now: now, keys: map[revocation.Key]time.Time{}}
}

func (t *told) lately(k revocation.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.keys[k]
	age := t.now().Round(0).Sub(at)
	return ok && age >= 0 && age < toldFor
}

func (t *told) add(k revocation.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	evict(t.keys, maxTold)
	t.keys[k] = t.now().Round(0)
}

// evict makes room in a full map by dropping any one entry: Go's map order is random, which nobody can steer.
func evict[K comparable, V any](m map[K]V, most int) {
	for key := range m {
		if len(m) < most {
			return
		}
		delete(m, key)
	}
}
