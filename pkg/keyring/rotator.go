package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// Rotator gives a ring new keys. Any number of them may run at once, and each may die at any point and be run again:
//
//   - the private document is replaced by compare-and-set, so that of several new documents one is stored;
//   - a new key is published before it is stored, and what is published is derived from the private document again by each
//     run, so that a key which signs is published;
//   - a KMS key is scheduled for deletion before the document forgets it, and not unless nothing needs it any more.
type Rotator struct {
	Vault  Vault
	Public PublicStore // of an access ring; nil for a refresh ring, which is never published
	// NewKey makes a key that is to come after the one of that id, published and signing from the given time on. Asked for
	// the key after the same one again, it may return the same key again.
	NewKey func(ctx context.Context, after string, from time.Time) (Key, error)
	// Retire gives up what is kept of a key elsewhere, as in KMS. It is called once a key is of no use any more, perhaps
	// several times. An error keeps the key in the document for the next run. Nil: nothing is.
	Retire   func(ctx context.Context, k Key) error
	Schedule Schedule
	// Revocations takes the keys that an emergency ends. Required for Emergency alone.
	Revocations revocation.Appender
	// Revoked reads what was revoked, so that Run completes an emergency that died half-way. Nil: Run does not look.
	Revoked interface {
		Always(ctx context.Context) ([]revocation.Entry, error)
	}
	// MaxStaleness is how old the issuers' copies of the revocations may be, the deployment's MAX_STALENESS. Zero means
	// revocation.MaxStaleness.
	MaxStaleness time.Duration
	Now          func() time.Time // nil: time.Now
	Log          *slog.Logger     // nil: slog.Default()
}

// Rotated says what a Rotator did.
type Rotated struct {
	Made      string   // id of the new key; empty: none was made
	Dropped   []string // ids of the keys that are no longer in the document
	Published bool     // the public document was written
}

// ErrTooLate says that a new key took too long to get into the document, and was given up.
var ErrTooLate = errors.New("the new key was made too long ago to be taken into use: rotate again")

// Run adds a key if one is due, or if early is true: not while another is pending, though. It drops the keys that are
// retired, and publishes what is not published. Where the key that signs is revoked, no signer uses it and nothing can be
// issued: Run is Emergency then.
func (r *Rotator) Run(ctx context.Context, early bool) (done Rotated, err error) {
	var lost []string // ids of keys that we made in vain
	for range publishTries {
		d, revision, err := r.Vault.Read(ctx)
		if err != nil {
			return done, err
		}
		if over, err := r.signerRevoked(ctx, d); err != nil {
			return done, fmt.Errorf("looking for revoked keys: %w", err)
		} else if over {
			return r.Emergency(ctx)
		}
		next, made, dropped, err := r.next(ctx, d, early)
		if err != nil {
			return done, err
		}
		if next == nil {
			wrote, err := r.Publish(ctx, nil, lost...)
			done.Published = done.Published || wrote
			return done, err
		}
		err = r.commit(ctx, next, made, revision, lost)
		if errors.Is(err, ErrConflict) {
			if made != "" {
				lost = append(lost, made)
			}
			continue
		}
		if err != nil {
			return done, err
		}
		done.Made, done.Dropped = made, dropped
		done.Published, err = r.Publish(ctx, nil, lost...)
		return done, err
	}
	return done, ErrConflict
}

// next returns the document that is to follow d, or nil where none is.
func (r *Rotator) next(ctx context.Context, d *Document, early bool) (next *Document, made string, dropped []string, err error) {
	now := r.now()
	for _, k := range d.In(StateRetired, now) {
		if r.Retire != nil {
			if err := r.Retire(ctx, k); err != nil {
				r.log().LogAttrs(ctx, slog.LevelError, "keys.retire_failed", slog.String("kid", k.ID), slog.String("cause", err.Error()))
				continue
			}
		}
		dropped = append(dropped, k.ID)
	}
	var key *Key
	if r.Schedule.Due(d, now) || early && len(d.In(StatePending, now)) == 0 {
		k, err := r.NewKey(ctx, d.newest().ID, now)
		if err != nil {
			return nil, "", nil, err
		}
		key, made = &k, k.ID
	}
	next, changed := r.Schedule.Next(d, now, key, dropped...)
	if !changed {
		return nil, "", nil, nil
	}
	return next, made, dropped, nil
}

// commit publishes the document that is to be and then stores it.
func (r *Rotator) commit(ctx context.Context, next *Document, made, revision string, lost []string) error {
	if made != "" {
		if _, err := r.Publish(ctx, next, lost...); err != nil {
			return err
		}
		if r.TooLate(next, nil) {
			return ErrTooLate
		}
	}
	return r.Vault.Replace(ctx, next, revision)
}

// TooLate reports whether the newest key of next was made more than CommitWithin ago, and is not in now, the document in use,
// if that is given. By then another run may have taken it out of the public document, and its lead has been used up.
func (r *Rotator) TooLate(next, now *Document) bool {
	k := next.newest()
	inUse := now != nil && slices.ContainsFunc(now.Keys, func(other Key) bool { return other.ID == k.ID })
	return !inUse && k.Published+seconds(CommitWithin) < r.now().Unix()
}

// Publish writes the public document of an access ring if it is not what the private one says, and reports whether it did.
// The keys of next, which is about to be stored, are published too unless it is nil; those of the ids in givenUp are not.
func (r *Rotator) Publish(ctx context.Context, next *Document, givenUp ...string) (bool, error) {
	if r.Public == nil {
		return false, nil
	}
	wrote, err := publisher{r.Vault, r.Public, r.now}.publish(ctx, next, givenUp...)
	if err != nil {
		return wrote, fmt.Errorf("public keys: %w", err)
	}
	return wrote, nil
}

// Plan returns the document that is to follow the stored one, early and without storing it: with a new key unless one is
// pending, else perhaps with the same keys. Its Replaces names the revision that it follows.
func (r *Rotator) Plan(ctx context.Context) (*Document, error) {
	d, revision, err := r.Vault.Read(ctx)
	if err != nil {
		return nil, err
	}
	next, _, _, err := r.next(ctx, d, true)
	if err != nil {
		return nil, err
	}
	if next == nil {
		next = &Document{Version: DocumentVersion, Use: d.Use, Keys: d.Keys, Later: d.Later}
	}
	next.Replaces = revision
	return next, nil
}

// signerRevoked reports whether the key that signs now is revoked.
func (r *Rotator) signerRevoked(ctx context.Context, d *Document) (revoked bool, err error) {
	now := r.now()
	signer := d.In(StateSigning, now)
	if r.Revoked == nil || r.Revocations == nil || len(signer) == 0 {
		return false, nil
	}
	ours := revocation.SigningKey(signer[0].ID, now).Key
	said, err := r.Revoked.Always(ctx)
	return slices.ContainsFunc(said, func(e revocation.Entry) bool { return e.Kind == revocation.KindKey && e.Key == ours }), err
}

// reach is how far ahead of now an emergency of refresh keys cuts sign-ins off. Until every issuer has heard of it, one that has
// not may turn a forged refresh token, whose sign-in is whenever the forger says, into an access token. An issuer that hears
// nothing answers until its copy of the revocations is too old, and by its copy of the keys until that is.
func (r *Rotator) reach() time.Duration {
	staleness := r.MaxStaleness
	if staleness == 0 {
		staleness = revocation.MaxStaleness
	}
	return min(staleness, MaxStale) + revocation.FeedMemory + 10*time.Second
}

// Stager is a Vault in which documents wait that are to be taken into use, as in a rotation of Secrets Manager's.
type Stager interface {
	// Staged returns those that wait.
	Staged(ctx context.Context) ([]Staged, error)
	// Drop has one wait no longer.
	Drop(ctx context.Context, s Staged) error
}

// Staged is a document that waits.
type Staged struct {
	*Document
	Stage, Version string
}

// staged returns the documents that an emergency gives up besides d, the stored one, and the ids of the keys in those alone. It
// leaves the document of another run of the same emergency and, where d is an emergency's already, what was begun since.
func (r *Rotator) staged(ctx context.Context, d *Document, revision string, now time.Time) (waiting []Staged, alone []string, err error) {
	stager, ok := r.Vault.(Stager)
	if !ok {
		return nil, nil, nil
	}
	all, err := stager.Staged(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("keys that wait: %w", err)
	}
	done := d.emergencyDone(now)
	for _, s := range all {
		if s.emergencyDone(now) || done && (s.Replaces == "" || s.Replaces == revision) {
			continue
		}
		waiting = append(waiting, s)
		alone = append(alone, OnlyIn(s.Document, d)...)
	}
	return waiting, alone, nil
}

// OnlyIn returns the ids of the keys that next has and now has not.
func OnlyIn(next, now *Document) []string {
	var ids []string
	for _, k := range next.Keys {
		if !slices.ContainsFunc(now.Keys, func(other Key) bool { return other.ID == k.ID }) {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// Emergency ends all of the ring's keys, those that wait to be taken into use as well, and makes one that signs at once. The
// feed is told first, for good: whoever obeys it refuses what the old keys signed before anything else changes. For refresh
// keys it is told too that sign-ins are over, those of the next minute included: see reach. Run again, or by several at once
// within five minutes, it is the same emergency; a run that died is completed by the next, or by Run.
func (r *Rotator) Emergency(ctx context.Context) (done Rotated, err error) {
	if r.Revocations == nil {
		return done, errors.New("an emergency needs the revocations, which must hear of it first")
	}
	var lost []string
	for range publishTries {
		d, revision, err := r.Vault.Read(ctx)
		if err != nil {
			return done, err
		}
		now := r.now()
		waiting, alone, err := r.staged(ctx, d, revision, now)
		if err != nil {
			return done, err
		}
		if d.emergencyDone(now) {
			if err := r.revoke(ctx, alone); err != nil {
				return done, err
			}
			done.Published, err = r.Publish(ctx, nil, slices.Concat(lost, alone)...)
			return done, errors.Join(err, r.drop(ctx, waiting))
		}
		after := d.newest().ID
		ended := slices.Clone(alone)
		for _, k := range d.Keys {
			ended = append(ended, k.ID)
		}
		if err := r.revoke(ctx, ended); err != nil {
			return done, err
		}
		if d.Use == UseRefresh {
			at := r.now()
			if err := r.Revocations.Append(ctx, revocation.Before(at.Add(r.reach()), at)); err != nil {
				return done, fmt.Errorf("revoking earlier sign-ins: %w", err)
			}
		}
		if len(alone) > 0 {
			after = alone[len(alone)-1] // whose successor is no key that has just been ended
		}
		key, err := r.NewKey(ctx, after, now)
		if err != nil {
			return done, err
		}
		next := Emergency(d, now, key)
		err = r.commit(ctx, next, key.ID, revision, slices.Concat(lost, alone))
		if errors.Is(err, ErrConflict) {
			lost = append(lost, key.ID)
			continue
		}
		if err != nil {
			return done, err
		}
		done.Made = key.ID
		done.Published, err = r.Publish(ctx, nil, slices.Concat(lost, alone)...)
		return done, errors.Join(err, r.drop(ctx, waiting))
	}
	return done, ErrConflict
}

// revoke tells that what the keys of these ids sign is not to be trusted.
func (r *Rotator) revoke(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := r.Revocations.Append(ctx, revocation.SigningKey(id, r.now())); err != nil {
			return fmt.Errorf("revoking key %s: %w", id, err)
		}
	}
	return nil
}

// drop has the documents wait no longer.
func (r *Rotator) drop(ctx context.Context, waiting []Staged) error {
	var errs []error
	for _, s := range waiting {
		if err := r.Vault.(Stager).Drop(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("giving up the keys that wait: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Check has each key of the document that is not retired sign, and verifies that by what is published of it or, in a refresh
// ring, by itself. kms is as in SourceConfig.
func Check(ctx context.Context, d *Document, kms func(Key) (Signer, error), now time.Time) error {
	ring, err := d.ring(kms)
	if err != nil {
		return err
	}
	verifying := ring // a refresh ring's verifier is the issuer
	if d.Use == UseAccess {
		public, err := d.Public()
		if err != nil {
			return err
		}
		if verifying, err = public.ring(); err != nil {
			return err
		}
	}
	input := []byte("latchkey.check")
	for _, k := range ring.keys {
		if !k.verifies(now) {
			continue
		}
		if k.signing.Signer == nil {
			return fmt.Errorf("%v: it is in KMS, which this process is not set up to use", k.signing)
		}
		signature, err := k.signing.Sign(ctx, input)
		if err != nil {
			return fmt.Errorf("%v: %w", k.signing, err)
		}
		verification, err := verifying.verifier(k.signing.ID, now)
		if err != nil {
			return fmt.Errorf("%v: %w", k.signing, err)
		}
		if err := verification.Verify(string(input), signature); err != nil {
			return fmt.Errorf("%v: what it signs does not verify", k.signing)
		}
	}
	return nil
}

// Same reports whether two documents hold the same keys with the same times.
func (d *Document) Same(other *Document) bool {
	return d.Use == other.Use && slices.EqualFunc(d.Keys, other.Keys, func(a, b Key) bool { return a.ID == b.ID && a.Times == b.Times })
}

func (r *Rotator) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Rotator) log() *slog.Logger {
	if r.Log == nil {
		return slog.Default()
	}
	return r.Log
}
