package dpop

import (
	"crypto/sha256"
	"sync"
	"time"
)

// DefaultReplays is how many proofs a Replays remembers by default: some 3 MB.
const DefaultReplays = 1 << 15

// Replays remembers which proofs were used, in memory and within a bound: a process of its own knows nothing of what its
// neighbours saw, and one that has no room left remembers no more until there is. So this finds most replays where there
// are few processes, and promises none. The zero value is ready. Safe for many goroutines.
type Replays struct {
	Max int // how many are remembered; zero means DefaultReplays

	mu sync.Mutex
	// Each proof is in one of two halves, by when it came: the older is dropped whole when all that is in it has ended.
	newer, older map[[sha256.Size]byte]struct{}
	began        time.Time // newer
}

// first reports whether this is the first time that a proof is seen, which can be used for so long.
func (r *Replays) first(p *Proof, now time.Time, life time.Duration) bool {
	most := r.Max
	if most == 0 {
		most = DefaultReplays
	}
	now = now.Round(0)                               // a Lambda's monotonic clock stops while it is frozen
	id := sha256.Sum256([]byte(p.Thumbprint + p.ID)) // a thumbprint is always 43 bytes
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.began); r.newer == nil || age >= life || age < 0 {
		r.older, r.newer, r.began = r.newer, map[[sha256.Size]byte]struct{}{}, now
		if age >= 2*life {
			r.older = nil
		}
	}
	_, inNewer := r.newer[id]
	_, inOlder := r.older[id]
	if inNewer || inOlder {
		return false
	}
	if len(r.newer)+len(r.older) < most {
		r.newer[id] = struct{}{}
	}
	return true
}
