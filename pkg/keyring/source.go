package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// How a Source keeps its copy fresh.
const (
	// ReloadInterval is the age at which the copy is read again, by the wall clock: a Lambda's monotonic clock stops
	// while it is frozen.
	ReloadInterval = 5 * time.Minute
	// MaxStale is the age to which a copy is still used when reading it again fails.
	MaxStale = time.Hour
	// retryInterval bounds how often a failed read is tried again, and how often an unknown key id causes one.
	retryInterval = 10 * time.Second
)

// Source hands out the keys of one ring. It reads the ring's document when first asked, then by elapsed time alone,
// however many requests there are; where the newer read fails, the copy in hand serves for MaxStale. Safe for use by
// many goroutines; make one with NewSource.
type Source struct {
	load    func(context.Context) (*ring, error)
	revoked func(ctx context.Context, kid string) bool
	now     func() time.Time
	log     *slog.Logger

	state   atomic.Pointer[sourceState]
	reading sync.Mutex // held by the one that reads
	tried   time.Time  // the last attempt, guarded by reading
	failure error      // its outcome, guarded by reading
}

type sourceState struct {
	ring   *ring
	loaded time.Time
}

// SourceConfig says where a Source reads.
type SourceConfig struct {
	// Load reads the document. Required. ErrNoKeys where there is none yet.
	Load func(context.Context) (*Document, error)
	// KMS makes the Signer of a key whose private half is in KMS; nil where no key is.
	KMS func(Key) (Signer, error)
	// Revoked reports whether a signing key is known to be revoked. Such a key signs no more: the document is read again, at
	// most every ten seconds, for its successor. Nil: none is.
	Revoked func(ctx context.Context, kid string) bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes a warning when a newer read fails; nil means slog.Default().
	Log *slog.Logger
}

// NewSource makes a Source. It reads nothing yet.
func NewSource(c SourceConfig) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	load := func(ctx context.Context) (*ring, error) {
		d, err := c.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the keys: %w", err)
		}
		if d == nil {
			return nil, errors.New("reading the keys: no document")
		}
		return d.ring(c.KMS)
	}
	return &Source{load: load, revoked: c.Revoked, now: c.Now, log: c.Log}
}

// SigningKey returns the key that signs now. Any error is an outage.
func (s *Source) SigningKey(ctx context.Context) (SigningKey, error) {
	r, now, err := s.current(ctx)
	if err != nil {
		return SigningKey{}, err
	}
	k, err := r.signer(now)
	if err != nil || !s.isRevoked(ctx, k.ID) {
		return k, err
	}
	// There has been an emergency: whatever this key signs is refused, and there is a new one.
	if r, err = s.read(ctx, retryInterval); err != nil {
		return SigningKey{}, err
	}
	if k, err = r.signer(s.wall()); err == nil && s.isRevoked(ctx, k.ID) {
		return SigningKey{}, fmt.Errorf("key %s is revoked, and there is no other to sign with yet", k.ID)
	}
	return k, err
}

func (s *Source) isRevoked(ctx context.Context, kid string) bool {
	return s.revoked != nil && s.revoked(ctx, kid)
}

// VerificationKey returns the key of that id. ErrUnknownKey says that there is none, after one more look at the document,
// which is taken at most every ten seconds; any other error is an outage.
func (s *Source) VerificationKey(ctx context.Context, kid string) (VerificationKey, error) {
	r, now, err := s.current(ctx)
	if err != nil {
		return VerificationKey{}, err
	}
	k, err := r.verifier(kid, now)
	if err == nil {
		return k, nil
	}
	// The key may be newer than our copy.
	if r, err = s.read(ctx, retryInterval); err != nil {
		return VerificationKey{}, err
	}
	return r.verifier(kid, now)
}

// current returns a copy that is fresh, or as fresh as can be had, and the time by which it was judged.
func (s *Source) current(ctx context.Context) (*ring, time.Time, error) {
	state := s.state.Load() // before the clock: a copy stored meanwhile would seem to be from the future
	now := s.wall()
	if state != nil && state.age(now) < ReloadInterval {
		return state.ring, now, nil
	}
	r, err := s.read(ctx, ReloadInterval)
	if err != nil && state != nil && state.age(now) < MaxStale {
		return state.ring, now, nil
	}
	return r, now, err
}

// wall is the clock without its monotonic reading, which stops while a Lambda is frozen.
func (s *Source) wall() time.Time { return s.now().Round(0) }

// age counts a clock that was set back as infinitely old.
func (s *sourceState) age(now time.Time) time.Duration {
	age := now.Sub(s.loaded)
	if age < 0 {
		return MaxStale
	}
	return age
}

// read reads the document, unless the copy is younger than fresh by now (another goroutine read it) or an attempt has
// just failed: then that attempt's outcome stands.
func (s *Source) read(ctx context.Context, fresh time.Duration) (*ring, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	state, now := s.state.Load(), s.wall()
	if state != nil && state.age(now) < fresh {
		return state.ring, nil
	}
	if since := now.Sub(s.tried); s.failure != nil && since >= 0 && since < s.retryAfter(state) {
		return nil, s.failure
	}
	r, err := s.load(ctx)
	s.tried, s.failure = now, err
	if errors.Is(ctx.Err(), context.Canceled) {
		s.failure = nil // one caller went away, which is no answer to the others
	}
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "keys.reload_failed", slog.String("cause", err.Error()))
		return nil, err
	}
	s.state.Store(&sourceState{ring: r, loaded: now})
	return r, nil
}

// retryAfter spaces failed attempts while there is a copy to go on with; without one, each request tries.
func (s *Source) retryAfter(state *sourceState) time.Duration {
	if state == nil {
		return 0
	}
	return retryInterval
}
