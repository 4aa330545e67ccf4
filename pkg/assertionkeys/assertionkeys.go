// Package assertionkeys keeps the keys by which assertions are verified, one set for each place that they come from, as long
// as the process lives. How often a place is asked is remotekeys' to bound.
package assertionkeys

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
)

// maxSets is how many sets are kept. One that was fetched and is dropped is fetched anew, however lately that was: whoever
// knows the ids of more clients than this with keys of their own at URLs could have those places asked all the time.
const maxSets = 1000

// Cache finds keys. Make one with New. Safe for many goroutines.
type Cache struct {
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	mu   sync.Mutex
	sets map[assertion.KeySource]*remotekeys.Keys
}

// New makes a Cache that asks by that client, which has to be one that may be pointed anywhere. log and now may be nil for
// slog.Default and time.Now.
func New(client *http.Client, log *slog.Logger, now func() time.Time) *Cache {
	return &Cache{client: client, log: log, now: now, sets: map[assertion.KeySource]*remotekeys.Keys{}}
}

// Keys returns those of a source. It asks nobody yet.
func (c *Cache) Keys(s assertion.KeySource) (assertion.Keys, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if keys, ok := c.sets[s]; ok {
		return keys, nil
	}
	keys, err := remotekeys.New(remotekeys.Config{URL: s.URL(), Initial: s.JWKS(), HTTPClient: c.client, Log: c.log, Now: c.now})
	if err != nil {
		return nil, err
	}
	c.makeRoom(false)
	c.makeRoom(true)
	c.sets[s] = keys
	return keys, nil
}

// makeRoom drops any sets, Go's map order being random: those that were given, which cost their parsing alone, or all.
func (c *Cache) makeRoom(fetched bool) {
	for old := range c.sets {
		if len(c.sets) < maxSets {
			return
		}
		if fetched || old.URL() == "" {
			delete(c.sets, old)
		}
	}
}
