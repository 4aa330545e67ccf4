package client

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

var ctx = context.Background()

// world is a store in memory with a clock beside it. What stores must do is tested with the real ones; this one counts,
// fails and loses races when told to.
type world struct {
	t     testing.TB
	clock clocktest.Clock

	mu        sync.Mutex
	records   map[string]*Stored
	reads     int
	writes    int
	failure   error
	conflicts int // how many writes are to lose a race
}

func newWorld(t testing.TB) *world { return &world{t: t, records: map[string]*Stored{}} }

func (w *world) registry() *Registry { return &Registry{Store: w, Now: w.clock.Now} }

func (w *world) Client(_ context.Context, id string) (*Stored, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if w.failure != nil {
		return nil, w.failure
	}
	s := w.records[id]
	if s == nil {
		return nil, ErrNotFound
	}
	return &Stored{*s.clone(), s.Revision}, nil
}

func (w *world) CreateClient(_ context.Context, r *Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return w.failure
	}
	if w.records[r.ID] != nil {
		return ErrExists
	}
	w.records[r.ID] = &Stored{*r.clone(), 1}
	return nil
}

// change is a conditional write.
func (w *world) change(id string, revision int64, write func(*Stored)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	s := w.records[id]
	switch {
	case w.failure != nil:
		return w.failure
	case s == nil:
		return ErrNotFound
	case w.conflicts > 0:
		w.conflicts--
		s.Name, s.Revision = "the winner's", s.Revision+1
		return ErrConflict
	case s.Revision != revision:
		return ErrConflict
	}
	write(s)
	return nil
}

func (w *world) UpdateClient(_ context.Context, r *Record, revision int64) error {
	return w.change(r.ID, revision, func(s *Stored) { *s = Stored{*r.clone(), revision + 1} })
}

func (w *world) DeleteClient(_ context.Context, id string, revision int64) error {
	return w.change(id, revision, func(*Stored) { delete(w.records, id) })
}

func (w *world) Clients(_ context.Context, yield func(*Stored) bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.records {
		if !yield(&Stored{*s.clone(), s.Revision}) {
			return nil
		}
	}
	return w.failure
}

// spec is a client with nothing wrong.
func spec(id string) Spec {
	return Spec{ID: id, Name: "An app", Scopes: oauth.Scope{"read", "write"}, Audiences: []string{"https://a.example", "urn:b"}}
}

// create registers a client and returns its secret.
func (w *world) create(id string) string {
	w.t.Helper()
	_, secret, err := w.registry().Create(ctx, spec(id))
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// update changes a record behind everybody's back.
func (w *world) update(id string, change func(*Record)) *Record {
	w.t.Helper()
	r, err := w.registry().Update(ctx, id, func(r *Record) error {
		change(r)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// record is a valid record.
func record() *Record {
	return &Record{
		Version: RecordVersion, ID: "app", Scopes: oauth.Scope{"read", "write"}, Audiences: []string{"https://a.example", "urn:b"},
		Grants: []string{oauth.GrantClientCredentials, oauth.GrantRefreshToken}, RefreshMode: token.ModeBearer, Epoch: 1, Handle: "c_1",
	}
}

const day = 24 * time.Hour
