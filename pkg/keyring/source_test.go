package keyring_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newSource hands out this document's keys at the start of the test clock.
func newSource(t testing.TB, d *keyring.Document) *keyring.Source {
	t.Helper()
	return keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return d, nil }, Now: new(clocktest.Clock).Now, Log: quiet,
	})
}

// place is where a Source under test reads.
type place struct {
	t     *testing.T
	clock clocktest.Clock
	*keyring.Source

	mu       sync.Mutex
	document *keyring.Document
	failure  error
	loads    int
}

func newPlace(t *testing.T) *place {
	p := &place{t: t, document: document(keyring.UseAccess, generated()[keyring.ES256])}
	p.Source = keyring.NewSource(keyring.SourceConfig{Load: p.load, Now: p.clock.Now, Log: quiet})
	return p
}

func (p *place) load(ctx context.Context) (*keyring.Document, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loads++
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return p.document, p.failure
}

// signs asks for the signing key; want is nil or what the error must be.
func (p *place) signs(what string, want error) {
	p.t.Helper()
	if _, err := p.SigningKey(ctx); !errors.Is(err, want) {
		p.t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// verifies asks for a key by its id.
func (p *place) verifies(what, kid string, want error) {
	p.t.Helper()
	if _, err := p.VerificationKey(ctx, kid); !errors.Is(err, want) {
		p.t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// loaded fails the test unless the document was read that often by now.
func (p *place) loaded(what string, want int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loads != want {
		p.t.Errorf("%s: %d reads, want %d", what, p.loads, want)
	}
}

func TestSourceReadsByTime(t *testing.T) {
	p := newPlace(t)
	p.loaded("when made", 0)
	for range 100 {
		p.signs("fresh", nil)
		p.verifies("fresh", generated()[keyring.ES256].ID, nil)
	}
	p.loaded("while fresh", 1)
	p.clock.Move(keyring.ReloadInterval - 1)
	p.signs("just before", nil)
	p.loaded("just before the interval's end", 1)
	p.clock.Move(1)
	p.signs("at the end", nil)
	p.signs("and once more", nil)
	p.loaded("at the interval's end", 2)
}

// TestSourceFrozen: the interval passes while a Lambda is frozen, and so does the pause after a failure.
func TestSourceFrozen(t *testing.T) {
	p := newPlace(t)
	p.Source = keyring.NewSource(keyring.SourceConfig{Load: p.load, Now: p.clock.Frozen, Log: quiet})
	p.signs("first", nil)
	p.clock.Move(keyring.ReloadInterval)
	p.failure = errors.New("away")
	p.signs("thawed", nil)
	p.loaded("thawed", 2)
	p.clock.Move(10 * time.Second)
	p.failure = nil
	p.signs("thawed again", nil)
	p.loaded("thawed again", 3)
}

// ticking is a clock that moves at each look: no two goroutines have the same time, and those that wait have an old one.
func (p *place) ticking() time.Time {
	p.clock.Move(time.Microsecond)
	return p.clock.Now()
}

// atOnce calls f in 100 goroutines.
func atOnce(f func()) {
	var all sync.WaitGroup
	gate := make(chan struct{})
	for range 100 {
		all.Go(func() {
			<-gate
			f()
		})
	}
	close(gate)
	all.Wait()
}

func TestSourceAtOnce(t *testing.T) {
	p := newPlace(t)
	p.Source = keyring.NewSource(keyring.SourceConfig{Load: p.load, Now: p.ticking, Log: quiet})
	atOnce(func() { p.signs("first", nil) })
	p.loaded("at first", 1)
	p.clock.Move(keyring.ReloadInterval)
	atOnce(func() { p.signs("stale", nil) })
	p.loaded("when stale", 2)
	p.clock.Move(10 * time.Second)
	atOnce(func() { p.verifies("unknown", "x", keyring.ErrUnknownKey) })
	p.loaded("by unknown ids", 3)
}

func TestSourceUnknownKey(t *testing.T) {
	p := newPlace(t)
	flood := func(what string, reads int) {
		t.Helper()
		for i := range 1000 {
			p.verifies(what, fmt.Sprint("unknown", i), keyring.ErrUnknownKey)
		}
		p.loaded(what, reads)
	}
	flood("at first", 1)
	p.clock.Move(10*time.Second - 1)
	flood("within ten seconds", 1)
	p.clock.Move(1)
	flood("after ten seconds", 2)

	p.document = document(keyring.UseAccess, generated()[keyring.EdDSA], generated()[keyring.ES256])
	p.clock.Move(5 * time.Second)
	p.verifies("a new key, too soon", generated()[keyring.EdDSA].ID, keyring.ErrUnknownKey)
	p.clock.Move(5 * time.Second)
	p.verifies("a new key", generated()[keyring.EdDSA].ID, nil)
	p.loaded("for a new key", 3)
}

func TestSourceOutage(t *testing.T) {
	away := errors.New("away")
	p := newPlace(t)
	p.signs("first", nil)
	p.failure = away
	p.clock.Move(keyring.ReloadInterval)
	for range 100 {
		p.signs("by the copy", nil)
		p.verifies("by the copy", generated()[keyring.ES256].ID, nil)
		p.verifies("an unknown key, which may be a new one", "x", away)
	}
	p.loaded("within ten seconds of a failure", 2)
	p.clock.Move(10*time.Second - 1)
	p.signs("by the copy", nil)
	p.loaded("just before ten seconds", 2)
	p.clock.Move(1)
	p.signs("by the copy", nil)
	p.loaded("after ten seconds", 3)

	p.clock.Move(keyring.MaxStale - keyring.ReloadInterval - 10*time.Second - 1)
	p.signs("just before the copy is too old", nil)
	p.clock.Move(1)
	p.signs("too old a copy", away)
	p.verifies("too old a copy", generated()[keyring.ES256].ID, away)
	p.clock.Move(10 * time.Second)
	p.failure = nil
	p.signs("recovered", nil)
	p.verifies("recovered", "x", keyring.ErrUnknownKey)
}

func TestSourceFirstReadFails(t *testing.T) {
	p := newPlace(t)
	p.document, p.failure = nil, keyring.ErrNoKeys
	p.signs("none yet", keyring.ErrNoKeys)
	p.verifies("none yet", "x", keyring.ErrNoKeys)
	p.failure = nil
	if _, err := p.SigningKey(ctx); err == nil {
		t.Error("no document and no error: a key all the same")
	}
	p.document = document(keyring.UseAccess)
	p.signs("an empty document", keyring.ErrNoKeys)
	p.document = document(keyring.UseAccess, generated()[keyring.HS256])
	if _, err := p.SigningKey(ctx); err == nil {
		t.Error("a broken document: a key all the same")
	}
	p.document = document(keyring.UseAccess, generated()[keyring.ES256])
	p.signs("at last, without a pause", nil)
}

// TestSourceBrokenDocument: a document that can't be used is no better than none.
func TestSourceBrokenDocument(t *testing.T) {
	p := newPlace(t)
	p.signs("first", nil)
	p.document = document(keyring.UseAccess, generated()[keyring.HS256])
	p.clock.Move(keyring.ReloadInterval)
	p.signs("by the copy", nil)
	p.loaded("once", 2)
}

func TestSourceClockSetBack(t *testing.T) {
	p := newPlace(t)
	p.document.Keys[0].Published, p.document.Keys[0].SignsFrom = 0, 0
	p.signs("first", nil)
	p.clock.Move(-time.Hour)
	p.signs("set back", nil)
	p.loaded("set back", 2)
	p.verifies("set back", generated()[keyring.ES256].ID, nil)
	p.loaded("set back, with a new copy", 2)
	p.clock.Move(-time.Second)
	p.failure = errors.New("away")
	p.verifies("set back, and away", generated()[keyring.ES256].ID, p.failure)
	p.loaded("set back, and away", 3)
	p.clock.Move(-time.Second)
	p.verifies("set back after a failure", generated()[keyring.ES256].ID, p.failure)
	p.loaded("set back after a failure", 4)
}

// TestSourceCallerGoesAway: that one caller cancelled is no answer to the next.
func TestSourceCallerGoesAway(t *testing.T) {
	p := newPlace(t)
	p.signs("first", nil)
	p.clock.Move(keyring.ReloadInterval)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := p.VerificationKey(cancelled, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.verifies("by another", "x", keyring.ErrUnknownKey)
}

func TestTimes(t *testing.T) {
	key := func(alg keyring.Algorithm, published, signsFrom, verifyUntil time.Duration) keyring.Key {
		k := generated()[alg]
		at := func(d time.Duration) int64 { return start.Add(d).Unix() }
		k.Times = keyring.Times{Published: at(published), SignsFrom: at(signsFrom), VerifyUntil: at(verifyUntil)}
		if verifyUntil == 0 {
			k.VerifyUntil = 0
		}
		return k
	}
	// RS256 is replaced by ES256, and that by EdDSA. The order in the document is of no account.
	d := document(keyring.UseAccess,
		key(keyring.ES256, 1*time.Hour, 3*time.Hour, 9*time.Hour), key(keyring.EdDSA, 5*time.Hour, 7*time.Hour, 0), key(keyring.RS256, 0, 0, 5*time.Hour))
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		at                        time.Duration
		signs                     keyring.Algorithm
		published, verify, refuse []keyring.Algorithm
	}{
		{-time.Second, "", nil, asymmetric, nil},
		{0, keyring.RS256, asymmetric[1:2], asymmetric, nil},
		{1*time.Hour - time.Second, keyring.RS256, asymmetric[1:2], asymmetric, nil},
		{1 * time.Hour, keyring.RS256, asymmetric[:2], asymmetric, nil},
		{3*time.Hour - time.Second, keyring.RS256, asymmetric[:2], asymmetric, nil},
		{3 * time.Hour, keyring.ES256, asymmetric[:2], asymmetric, nil},
		{5*time.Hour - time.Second, keyring.ES256, asymmetric[:2], asymmetric, nil},
		{5 * time.Hour, keyring.ES256, []keyring.Algorithm{keyring.ES256, keyring.EdDSA}, []keyring.Algorithm{keyring.ES256, keyring.EdDSA}, asymmetric[1:2]},
		{7 * time.Hour, keyring.EdDSA, []keyring.Algorithm{keyring.ES256, keyring.EdDSA}, []keyring.Algorithm{keyring.ES256, keyring.EdDSA}, asymmetric[1:2]},
		{9*time.Hour - time.Second, keyring.EdDSA, []keyring.Algorithm{keyring.ES256, keyring.EdDSA}, []keyring.Algorithm{keyring.ES256, keyring.EdDSA}, asymmetric[1:2]},
		{9 * time.Hour, keyring.EdDSA, asymmetric[2:], asymmetric[2:], asymmetric[:2]},
		{1e6 * time.Hour, keyring.EdDSA, asymmetric[2:], asymmetric[2:], asymmetric[:2]},
	} {
		var clock clocktest.Clock
		clock.Move(row.at)
		source := keyring.NewSource(keyring.SourceConfig{Load: func(context.Context) (*keyring.Document, error) { return d, nil }, Now: clock.Now, Log: quiet})
		if signing, err := source.SigningKey(ctx); signing.Algorithm != row.signs || (err == nil) != (row.signs != "") {
			t.Errorf("%s: %s signs, %v, want %s", row.at, signing.Algorithm, err, row.signs)
		}
		for _, alg := range row.verify {
			if _, err := source.VerificationKey(ctx, generated()[alg].ID); err != nil {
				t.Errorf("%s: %s does not verify: %v", row.at, alg, err)
			}
		}
		for _, alg := range row.refuse {
			if _, err := source.VerificationKey(ctx, generated()[alg].ID); !errors.Is(err, keyring.ErrUnknownKey) {
				t.Errorf("%s: %s verifies, %v", row.at, alg, err)
			}
		}
		var algs []keyring.Algorithm
		for _, k := range public.JWKS(clock.Now()).Keys {
			algs = append(algs, k.Algorithm)
		}
		if !sameSet(algs, row.published) {
			t.Errorf("%s: published %s, want %s", row.at, algs, row.published)
		}
	}
	// A retired key does not sign, though none came after it.
	if k, err := newSource(t, document(keyring.UseAccess, key(keyring.ES256, -2*time.Hour, -2*time.Hour, -time.Hour))).SigningKey(ctx); err == nil {
		t.Errorf("%v signs", k)
	}
}

func sameSet(a, b []keyring.Algorithm) bool {
	has := map[keyring.Algorithm]bool{}
	for _, alg := range a {
		has[alg] = true
	}
	for _, alg := range b {
		if !has[alg] {
			return false
		}
	}
	return len(a) == len(b)
}

type kmsSigner struct{ key keyring.Key }

func (s kmsSigner) Sign(context.Context, []byte) ([]byte, error) { return []byte(s.key.KMSKey), nil }

func TestKMSKey(t *testing.T) {
	inKMS, err := keyring.FromKMS("arn:x", keyring.EdDSA, pkix(t, ed25519.PublicKey(unb64(t, rfc8037X))), start)
	if err != nil {
		t.Fatal(err)
	}
	d := document(keyring.UseAccess, inKMS)
	if p, err := d.Public(); err != nil || len(p.Keys) != 1 || p.Keys[0].JWK.ID != inKMS.ID {
		t.Errorf("published %+v, %v", p, err)
	}
	without := newSource(t, d)
	if _, err := without.VerificationKey(ctx, inKMS.ID); err != nil {
		t.Errorf("without KMS it does not verify: %v", err)
	}
	if k, err := without.SigningKey(ctx); err == nil {
		t.Errorf("without KMS %v signs", k)
	}
	with := func(kms func(keyring.Key) (keyring.Signer, error)) (keyring.SigningKey, error) {
		return keyring.NewSource(keyring.SourceConfig{
			Load: func(context.Context) (*keyring.Document, error) { return d, nil }, KMS: kms, Now: new(clocktest.Clock).Now, Log: quiet,
		}).SigningKey(ctx)
	}
	k, err := with(func(k keyring.Key) (keyring.Signer, error) { return kmsSigner{k}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if signature, err := k.Sign(ctx, nil); err != nil || string(signature) != "arn:x" {
		t.Errorf("signed %q, %v", signature, err)
	}
	broken := errors.New("broken")
	if _, err := with(func(keyring.Key) (keyring.Signer, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
