package token

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// seen is a token that was found valid, and what has to be looked at again when it is shown again.
type seen struct {
	claims *claims
	key    keyring.VerificationKey // that verified it
	said   revocation.Said         // what of the revocations it was held against
}

// cache remembers valid tokens by the SHA-256 of their whole text. It is a CLOCK: where it is full, a hand goes round and
// drops the first token that was not shown again since the hand last passed. So those that come once, however many, go
// before those that are in use, and an entry takes no list's pointers. Only what has been verified enters, and nothing is
// kept of a token that was refused.
type cache struct {
	size         int
	hits, misses atomic.Uint64

	mu    sync.Mutex // guards what follows
	index map[[sha256.Size]byte]int
	slots []slot
	hand  int
}

type slot struct {
	id   [sha256.Size]byte
	seen seen
	used bool
}

func newCache(size int) *cache { return &cache{size: size, index: map[[sha256.Size]byte]int{}} }

// idOf is what a token is remembered by. Most fit into the room, and nothing is allocated.
func idOf(raw string) [sha256.Size]byte {
	var room [2048]byte
	return sha256.Sum256(append(room[:0], raw...))
}

func (c *cache) get(id [sha256.Size]byte) (seen, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[id]
	if !ok {
		return seen{}, false
	}
	c.slots[i].used = true
	return c.slots[i].seen, true
}

func (c *cache) put(id [sha256.Size]byte, s seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[id]
	switch {
	case ok:
		c.slots[i].seen = s
		return
	case len(c.slots) < c.size:
		i = len(c.slots)
		c.slots = append(c.slots, slot{})
	default:
		i = c.free()
		delete(c.index, c.slots[i].id)
	}
	c.slots[i] = slot{id: id, seen: s}
	c.index[id] = i
}

// free moves the hand on to the slot that goes next, and past it.
func (c *cache) free() int {
	for {
		i := c.hand
		c.hand = (i + 1) % len(c.slots)
		if !c.slots[i].used {
			return i
		}
		c.slots[i].used = false
	}
}

// verifySeen is verify for a verifier with a cache: of a token that was shown before, text and claims are known to be good,
// which depends on the key alone. The key is looked for and has to be the same one; the time and the revocations are judged
// as if it were new.
func (v *verifier) verifySeen(ctx context.Context, raw string) (*claims, error) {
	if len(raw) > MaxLength { // before it is hashed
		return v.verify(ctx, raw)
	}
	id := idOf(raw)
	s, ok := v.cache.get(id)
	if ok {
		key, err := v.key(ctx, s.claims.kid)
		if err != nil {
			return nil, err
		}
		ok = key.Same(s.key)
	}
	before := s.said
	if ok {
		v.cache.hits.Add(1)
	} else {
		v.cache.misses.Add(1)
		c, key, err := v.authentic(ctx, raw)
		if err != nil {
			return nil, err
		}
		s, before = seen{claims: v.capped(c), key: key}, 0
	}
	said, err := v.valid(ctx, s.claims, before)
	if err != nil {
		return nil, err
	}
	if !ok || said != before {
		s.said = said
		v.cache.put(id, s)
	}
	return s.claims, nil
}
