package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// How long an Authenticator goes by what it read, and how much it remembers.
const (
	// RecordTTL bounds how long a change to a record can go unseen.
	RecordTTL = 30 * time.Second
	// RereadInterval: a secret that doesn't match a remembered record may be newer than it, so the record is read again,
	// at most once in this time for each client.
	RereadInterval = time.Second
	// AbsentTTL is for how long a client is remembered not to exist: no longer, or the time that refusals take would tell
	// which clients exist.
	AbsentTTL = RereadInterval

	maxRecords = 10_000
	maxAbsent  = 1_000
)

// Reader is the part of a Store that sign-in needs.
type Reader interface {
	Client(ctx context.Context, id string) (*Stored, error)
}

// Authenticator checks client credentials. It asks the store once for a client that it has not seen lately and not at all
// for one seen lately with its right secret. Make one with NewAuthenticator. Safe for many goroutines.
type Authenticator struct {
	store Reader
	now   func() time.Time

	mu      sync.Mutex
	records map[string]*remembered
	absent  map[string]time.Time // when it was found to be so
}

type remembered struct {
	record *Record // never changed
	read   time.Time
	reread attempt
}

// attempt is the last look for a newer record, held during it: a flood of wrong secrets reads once, also when that fails.
type attempt struct {
	sync.Mutex
	at  time.Time
	err error
}

// NewAuthenticator makes an Authenticator; now may be nil for time.Now.
func NewAuthenticator(store Reader, now func() time.Time) *Authenticator {
	if now == nil {
		now = time.Now
	}
	return &Authenticator{store: store, now: now, records: map[string]*remembered{}, absent: map[string]time.Time{}}
}

// Reasons for a refusal, for the log alone: the client is told invalid_client whichever it is.
var (
	errUnknown     = errors.New("unknown client")
	errWrongSecret = errors.New("wrong secret")
	errDisabled    = errors.New("the client is disabled")
	errNoSecret    = errors.New("no credentials were given")
	errAssertion   = errors.New("client_assertion is taken at the token endpoint alone")
)

// Authenticate returns the record of the client whose credentials these are. The record must not be changed. Refusals are
// invalid_client, the same for every reason; a store that fails is temporarily_unavailable.
func (a *Authenticator) Authenticate(ctx context.Context, c oauth.Credentials) (*Record, error) {
	if c.Method == oauth.AuthNone {
		return nil, c.Refuse(errNoSecret)
	}
	if c.Method == oauth.AuthAssertion {
		return nil, c.Refuse(errAssertion)
	}
	now, given := a.now(), hash(c.Secret) // once, whatever comes of it
	if !ValidID(c.ClientID) {
		matchHash(nobody, given, now)
		return nil, c.Refuse(errUnknown)
	}
	if err := checkForm(c.Secret); err != nil {
		return nil, c.Refuse(err) // whoever the client is: this tells nothing of it
	}
	known, err := a.lookup(ctx, c.ClientID)
	if err != nil {
		return nil, err
	}
	if known != nil && !matchHash(known.record.Secrets, given, now) {
		if known, err = a.newer(ctx, known); err != nil {
			return nil, err
		}
		if known != nil && !matchHash(known.record.Secrets, given, now) {
			return nil, c.Refuse(errWrongSecret)
		}
	}
	if known == nil {
		matchHash(nobody, given, now)
		return nil, c.Refuse(errUnknown)
	}
	if known.record.Disabled {
		return nil, c.Refuse(errDisabled)
	}
	return known.record, nil
}

// Reauthenticate is Authenticate by the record as it is by now, or as it was read within RereadInterval: for one who has
// learnt that what is remembered is out of date.
func (a *Authenticator) Reauthenticate(ctx context.Context, c oauth.Credentials) (*Record, error) {
	if err := a.Renew(ctx, c.ClientID); err != nil {
		return nil, err
	}
	return a.Authenticate(ctx, c)
}

// Renew has the record of a client that is remembered be as it is by now, or as it was read within RereadInterval.
func (a *Authenticator) Renew(ctx context.Context, id string) error {
	if known, ok := a.recall(id, RecordTTL); ok && known != nil {
		if _, err := a.newer(ctx, known); err != nil {
			return err
		}
	}
	return nil
}

// lookup returns what is remembered or read of a client, nil for one that does not exist.
func (a *Authenticator) lookup(ctx context.Context, id string) (*remembered, error) {
	if known, ok := a.recall(id, RecordTTL); ok {
		return known, nil
	}
	return a.read(ctx, id)
}

// newer returns the record as it is by now, or as it was read within RereadInterval.
func (a *Authenticator) newer(ctx context.Context, known *remembered) (*remembered, error) {
	known.reread.Lock()
	defer known.reread.Unlock()
	id := known.record.ID
	if latest, ok := a.recall(id, RereadInterval); ok {
		return latest, nil
	}
	now := a.now()
	if last := &known.reread; last.err != nil && !elapsed(last.at, now, RereadInterval) {
		return nil, last.err
	}
	found, err := a.read(ctx, id)
	known.reread.at, known.reread.err = now, err
	return found, err
}

// recall returns what is remembered of a client, nil for one that does not exist. ok is false if nothing is, or nothing
// that is younger than most, or than AbsentTTL where it was found not to exist.
func (a *Authenticator) recall(id string, most time.Duration) (known *remembered, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now() // after what is compared with it was written: else another goroutine's would seem to be from the future
	if missed, absent := a.absent[id]; absent && !elapsed(missed, now, AbsentTTL) {
		return nil, true
	}
	known = a.records[id]
	return known, known != nil && !elapsed(known.read, now, most)
}

// read asks the store and remembers its answer.
func (a *Authenticator) read(ctx context.Context, id string) (*remembered, error) {
	now := a.now() // before the store is asked: the answer is at least this old
	stored, err := a.store.Client(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.records, id)
		evict(a.absent, maxAbsent)
		a.absent[id] = now
		return nil, nil
	case err != nil:
		return nil, oauth.Errorf(oauth.Unavailable, "The client can't be looked up at the moment. Try again.").Because(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.absent, id)
	evict(a.records, maxRecords)
	found := &remembered{record: &stored.Record, read: now}
	a.records[id] = found
	return found, nil
}

// evict makes room in a full map by dropping any one entry: Go's map order is random, which an attacker can't steer.
func evict[V any](m map[string]V, most int) {
	for key := range m {
		if len(m) < most {
			return
		}
		delete(m, key)
	}
}

// elapsed counts a clock that was set back as time gone by, so that nothing is remembered for longer than meant.
func elapsed(since, now time.Time, d time.Duration) bool {
	age := now.Sub(since.Round(0))
	return age < 0 || age >= d
}
