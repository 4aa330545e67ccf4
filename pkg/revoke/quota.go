package revoke

import (
	"context"
	"sync"
	"time"
)

// Quota counts what clients revoke, in one place for all processes.
type Quota interface {
	// CountRevocations adds n to what a client has revoked on a day, and reports true; or, where that would make it more than
	// most, adds nothing and reports false. An error is an outage, after which n may have been added or not.
	CountRevocations(ctx context.Context, clientID, day string, n, most int) (bool, error)
}

// How the quota of a client is used. Each process counts some for itself, so that a client which revokes now and then costs
// no write more; past those it books as many as a block at once.
const (
	// PerDay is the default quota: a client alone stays below what the views of issuers have room for, by default 1.5 million
	// in 30 days.
	PerDay = 40_000
	// Unbooked is how many a process lets pass for each client and day without counting them in the store.
	Unbooked = 5
	block    = 20
	// refusedFor is how long a process goes by a refusal before it asks again.
	refusedFor = time.Minute
)

// dayLayout is a day in UTC.
const dayLayout = "2006-01-02"

// quotas are what this process may let pass, by client.
type quotas struct {
	now   func() time.Time
	store Quota
	most  int

	mu      sync.Mutex
	clients map[string]allowance
}

type allowance struct {
	day     string
	left    int
	refused time.Time
}

func newQuotas(now func() time.Time, store Quota, most int) *quotas {
	if most == 0 {
		most = PerDay
	}
	return &quotas{now: now, store: store, most: most, clients: map[string]allowance{}}
}

// take counts a revocation; if it is one too many, it returns how long to wait, above 0. An error is an outage.
func (q *quotas) take(ctx context.Context, id string) (wait time.Duration, err error) {
	if q.store == nil {
		return 0, nil
	}
	now := q.now().UTC().Round(0)
	day := now.Format(dayLayout)
	tomorrow := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
	use := func(change func(*allowance)) allowance {
		q.mu.Lock()
		defer q.mu.Unlock()
		a, known := q.clients[id]
		if !known {
			evict(q.clients, maxClients)
		}
		if a.day != day {
			a = allowance{day: day, left: min(Unbooked, q.most)}
		}
		before := a
		change(&a)
		q.clients[id] = a
		return before
	}
	a := use(func(a *allowance) { a.left = max(0, a.left-1) })
	if a.left > 0 {
		return 0, nil
	}
	if since := now.Sub(a.refused); since >= 0 && since < refusedFor {
		return tomorrow, nil
	}
	granted, err := q.store.CountRevocations(ctx, id, day, block, q.most)
	if err != nil {
		return 0, err
	}
	if !granted {
		use(func(a *allowance) { a.refused = now })
		return tomorrow, nil
	}
	use(func(a *allowance) { a.left += block - 1 })
	return 0, nil
}
