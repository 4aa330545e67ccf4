package token_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

var quiet = slog.New(slog.DiscardHandler)

// readKey reads the public half of a key, anew at each call.
func readKey(t testing.TB, key keyring.Key) keyring.VerificationKey {
	t.Helper()
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := public.Keys[0].JWK.VerificationKey()
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// impostor is another key of that id.
func impostor(t testing.TB, of keyring.Key) keyring.Key {
	t.Helper()
	key, err := keyring.Generate(of.Algorithm, at(0))
	if err != nil {
		t.Fatal(err)
	}
	key.ID = of.ID
	return key
}

// world is what a verdict depends on besides the token. It implements token.VerificationKeys and revocation.Source.
type world struct {
	clock   clocktest.Clock
	keys    map[string]keyring.VerificationKey
	noKeys  error
	feed    string
	entries []string
	noFeed  error
	lag     time.Duration // of the feed's as_of
}

func (w *world) VerificationKey(_ context.Context, kid string) (keyring.VerificationKey, error) {
	if w.noKeys != nil {
		return keyring.VerificationKey{}, w.noKeys
	}
	if k, ok := w.keys[kid]; ok {
		return k, nil
	}
	return keyring.VerificationKey{}, keyring.ErrUnknownKey
}

func (w *world) Page(context.Context, string, time.Time) (*revocation.Page, error) {
	if w.noFeed != nil {
		return nil, w.noFeed
	}
	return &revocation.Page{
		Version: revocation.PageVersion, Feed: w.feed, AsOf: w.clock.Now().Add(-w.lag).Unix(), Next: "c", Entries: w.entries,
	}, nil
}

// verifier makes one with a view of its own.
func (w *world) verifier(t testing.TB, cache int) *token.AccessVerifier {
	t.Helper()
	view, err := revocation.NewView(revocation.ViewConfig{Source: w, Window: time.Hour, Now: w.clock.Now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	v, err := token.NewAccessVerifier(token.Config{
		Issuer: issuer, Audiences: []string{api}, Keys: w, MaxLifetime: 10 * time.Minute, Revocations: view, Now: w.clock.Now, Cache: cache,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestCacheChangesNoVerdict: whatever happens, in whatever order, a verifier that remembers tokens says what one says that
// does not.
func TestCacheChangesNoVerdict(t *testing.T) {
	algs := []keyring.Algorithm{keyring.ES256, keyring.EdDSA}
	var keys, others []keyring.Key
	for _, alg := range algs {
		keys, others = append(keys, testKeys()[alg]), append(others, impostor(t, testKeys()[alg]))
	}
	verdicts := map[string]int{}
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := &world{feed: "f", keys: map[string]keyring.VerificationKey{}}
		for _, k := range keys {
			w.keys[k.ID] = readKey(t, k)
		}
		start := w.clock.Now().Unix()
		var raws []string
		for i := range 10 {
			alg := algs[i%2]
			iat := start + int64(random.IntN(700)) - 200
			exp := iat + int64(60+random.IntN(1200)) // some past the cap
			claims := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"s_%d","client_id":"app","iat":%d,"exp":%d,"jti":"j_%d","grant_id":"g_%d",`+
				`"auth_time":%d,"epochs":{"c_%d":3}`,
				issuer, api, i%3, iat, exp, i, i%4, iat-1, i%3)
			if i%3 == 0 {
				claims += fmt.Sprintf(`,"nbf":%d`, iat+60)
			}
			raw := forge(t, alg, head(alg, "at+jwt"), claims+`}`)
			raws = append(raws, raw)
			if i%4 == 0 { // one with a signature that is none, and one with a text that is none
				raws = append(raws, raw[:strings.LastIndex(raw, ".")]+raws[0][strings.LastIndex(raws[0], "."):]+"A", raw+"=")
			}
		}
		w.clock.Move(5 * time.Minute)
		plain, remembering := w.verifier(t, 0), w.verifier(t, 4)
		for step := range 500 {
			w.change(t, random, keys, others)
			raw := raws[min(random.IntN(len(raws)), random.IntN(len(raws)))] // some more often than others
			for range 1 + random.IntN(2) {
				want, wantErr := plain.Verify(t.Context(), raw)
				got, gotErr := remembering.Verify(t.Context(), raw)
				if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
					t.Fatalf("seed %d, step %d: got %v, want %v", seed, step, gotErr, wantErr)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("seed %d, step %d: claims (-want +got):\n%s", seed, step, diff)
				}
				verdicts[verdict(wantErr)]++
			}
		}
	}
	for _, v := range []string{"valid", "outage", "malformed", "unknown_key", "signature", "expired", "not_yet_valid", "revoked"} {
		if verdicts[v] < 50 {
			t.Errorf("%q came up %d times, too few to tell: %v", v, verdicts[v], verdicts)
		}
	}
}

func verdict(err error) string {
	var bad *token.InvalidError
	switch {
	case err == nil:
		return "valid"
	case errors.As(err, &bad):
		return string(bad.Reason)
	}
	return "outage"
}

// change changes one thing, or nothing.
func (w *world) change(t *testing.T, random *rand.Rand, keys, others []keyring.Key) {
	t.Helper()
	i := random.IntN(len(keys))
	kid := keys[i].ID
	say := func(e revocation.Entry) { w.entries = append(w.entries, e.String()) }
	now := w.clock.Now()
	switch random.IntN(60) {
	case 0:
		delete(w.keys, kid)
	case 1:
		w.keys[kid] = readKey(t, others[i])
	case 2, 3, 4, 5, 6:
		w.keys[kid] = readKey(t, keys[i])
	case 7:
		w.noKeys = errors.New("the keys are down")
	case 8, 9, 10:
		w.noKeys = nil
	case 11:
		w.noFeed = errors.New("the feed is down")
	case 12, 13, 14:
		w.noFeed, w.lag = nil, 0
	case 15:
		w.lag = time.Duration(random.IntN(120)) * time.Second
	case 16:
		w.feed = fmt.Sprint(random.IntN(3)) // a restored one
	case 17:
		say(revocation.Token(fmt.Sprintf("j_%d", random.IntN(10)), now))
	case 18:
		say(revocation.Token("of nobody here", now))
	case 19:
		if random.IntN(4) == 0 {
			say(revocation.Grant(fmt.Sprintf("g_%d", random.IntN(4)), now))
		}
	case 20:
		if random.IntN(8) == 0 {
			say(revocation.Below(fmt.Sprintf("c_%d", random.IntN(3)), 2+random.Int64N(3), now))
		}
	case 21:
		if random.IntN(8) == 0 {
			say(revocation.Subject(fmt.Sprintf("s_%d", random.IntN(3)), now.Add(-10*time.Minute), now))
		}
	case 22:
		w.entries = nil // it was long ago
	case 23:
		w.clock.Move(-time.Duration(random.IntN(8)) * time.Second)
	case 24:
		w.clock.Move(-time.Duration(random.IntN(300)) * time.Second)
	case 25, 26:
		w.clock.Move(time.Duration(random.IntN(300)) * time.Second)
	case 27, 28, 29, 30, 31, 32, 33:
		w.clock.Move(time.Duration(random.IntN(12)) * time.Second)
	case 34:
		w.clock.Move(at(1767225600 + 300).Sub(now)) // back to the beginning
	}
}

// remembering is a verifier with a cache of two tokens in a world where all is well.
func remembering(t testing.TB) (*world, *token.AccessVerifier) {
	t.Helper()
	w := &world{feed: "f", keys: map[string]keyring.VerificationKey{}}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		w.keys[testKeys()[alg].ID] = readKey(t, testKeys()[alg])
	}
	return w, w.verifier(t, 2)
}

// shown shows a token that is valid.
func shown(t testing.TB, v *token.AccessVerifier, raw string) *token.Access {
	t.Helper()
	a, err := v.Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// numbered are valid tokens, each of another id.
func numbered(t testing.TB, n int) (raws []string) {
	t.Helper()
	for i := range n {
		raws = append(raws, forge(t, keyring.EdDSA, head(keyring.EdDSA, "at+jwt"), edit(t, accessClaims, `"j1"`, fmt.Sprintf(`"n%d"`, i))))
	}
	return raws
}

// TestCacheIsBounded: claims are shared while a token is remembered, which shows what is. Those that come once go before
// those that were shown again; what is refused pushes nothing out.
func TestCacheIsBounded(t *testing.T) {
	w, v := remembering(t)
	raws := numbered(t, 20)
	first := shown(t, v, raws[0])
	if shown(t, v, raws[0]) != first {
		t.Fatal("a token is not remembered")
	}
	second := shown(t, v, raws[1])
	for _, bad := range []string{raws[2] + "A", raws[2][:len(raws[2])-2], accessToken(t, edit(t, accessClaims, api, "urn:x")), "..", ""} {
		if _, err := v.Verify(t.Context(), bad); err == nil {
			t.Fatalf("took %s", bad)
		}
	}
	if shown(t, v, raws[0]) != first || shown(t, v, raws[1]) != second {
		t.Error("tokens that were refused have pushed out others")
	}
	shown(t, v, raws[2]) // in the place of one of the two
	first = shown(t, v, raws[0])
	shown(t, v, raws[0])
	for _, raw := range raws[3:] {
		shown(t, v, raw)
		if shown(t, v, raws[0]) != first {
			t.Fatal("tokens that came once have pushed out one in use")
		}
	}
	if shown(t, v, raws[1]) == second {
		t.Error("it remembers more than it should")
	}
	// What is in use and is shown no more goes, too.
	for range 2 {
		for _, raw := range raws[2:] {
			shown(t, v, raw)
			shown(t, v, raw)
		}
	}
	if shown(t, v, raws[0]) == first {
		t.Error("a token that is out of use stays")
	}
	// Another text of the same claims is another token.
	if other := accessToken(t, accessClaims); shown(t, v, other) == shown(t, v, accessToken(t, accessClaims)) {
		t.Error("two signatures are remembered as one")
	}
	w.clock.Move(time.Hour)
	if _, err := v.Verify(t.Context(), raws[0]); verdict(err) != "expired" {
		t.Errorf("after its end: %v", err)
	}
}

// TestCacheAsksForEachKey: the key is looked for at each sight, and none but the one that verified a token will do.
func TestCacheAsksForEachKey(t *testing.T) {
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		w, v := remembering(t)
		key := testKeys()[alg]
		raw := forge(t, alg, head(alg, "at+jwt"), accessClaims)
		expect := func(what, want string) {
			t.Helper()
			if _, err := v.Verify(t.Context(), raw); verdict(err) != want {
				t.Errorf("%s, %s: got %v, want %s", alg, what, err, want)
			}
		}
		expect("at first", "valid")
		w.keys[key.ID] = readKey(t, impostor(t, key))
		expect("another key of its id", "signature")
		other := keyring.ES256
		if alg == other {
			other = keyring.EdDSA
		}
		w.keys[key.ID] = readKey(t, testKeys()[other])
		expect("a key of another algorithm", "algorithm")
		delete(w.keys, key.ID)
		expect("no key", "unknown_key")
		w.noKeys = errors.New("down")
		expect("no answer", "outage")
		w.noKeys = nil
		w.keys[key.ID] = readKey(t, key)
		expect("the key again", "valid")
		w.entries = []string{revocation.SigningKey(key.ID, w.clock.Now()).String()}
		w.clock.Move(revocation.PollInterval)
		expect("a revoked key", "revoked")
	}
}

// TestCacheOfAnyRevocations: those that can't say that nothing is new are asked in full each time.
func TestCacheOfAnyRevocations(t *testing.T) {
	var clock clocktest.Clock
	var asked int
	var answer error
	v, err := token.NewAccessVerifier(token.Config{
		Issuer: issuer, Audiences: []string{api}, Keys: accessKeys(), Now: clock.Now, Cache: 1,
		Revocations: revocationsFunc(func(f revocation.Facts) error {
			if asked++; f.TokenID != "j1" || f.GrantID != "g_1" || f.KeyID != "key-ES256" {
				t.Errorf("asked about %+v", f)
			}
			return answer
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	raw := accessToken(t, accessClaims)
	if first := shown(t, v, raw); shown(t, v, raw) != first || asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	answer = &revocation.RevokedError{Reason: "so"}
	if _, err := v.Verify(t.Context(), raw); verdict(err) != "revoked" {
		t.Errorf("got %v", err)
	}
	answer = errors.New("down")
	if _, err := v.Verify(t.Context(), raw); verdict(err) != "outage" {
		t.Errorf("got %v", err)
	}
	if hits, misses := v.Cached(); hits != 3 || misses != 1 {
		t.Errorf("%d remembered, %d not; want 3 and 1", hits, misses)
	}
}

type revocationsFunc func(revocation.Facts) error

func (f revocationsFunc) Check(_ context.Context, facts revocation.Facts) error { return f(facts) }

func TestSeenAllocatesNothing(t *testing.T) {
	_, v := remembering(t)
	raw := accessToken(t, accessClaims)
	shown(t, v, raw)
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() { v.Verify(ctx, raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestCacheAtOnce has many show a few tokens more than there is room for, while the view polls now and then. It is for the
// race detector; and none may get another's claims.
func TestCacheAtOnce(t *testing.T) {
	w, v := remembering(t)
	raws := numbered(t, 4)
	var group sync.WaitGroup
	var wrong atomic.Int64
	for g := range 4 {
		group.Go(func() {
			for i := range 200 {
				n := (g + i) % len(raws)
				if a, err := v.Verify(context.Background(), raws[n]); err != nil || a.ID != fmt.Sprintf("n%d", n) {
					wrong.Add(1)
				}
				w.clock.Move(50 * time.Millisecond)
			}
		})
	}
	group.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d wrong verdicts", wrong.Load())
	}
}

// TestHeaderIsReadOnce: a header that is remembered stands for its text alone, and for what it says.
func TestHeaderIsReadOnce(t *testing.T) {
	c := check(t)
	good := head(keyring.ES256, "at+jwt")
	for range 2 {
		c.accepts("the header", forge(t, keyring.ES256, good, accessClaims))
		c.accepts("another text of it", forge(t, keyring.ES256, " "+good, accessClaims))
		c.refuses("of another type", forge(t, keyring.ES256, head(keyring.ES256, "rt+jwt"), accessClaims), token.ReasonType)
		c.refuses("of another algorithm", forge(t, keyring.ES256, edit(t, good, `"ES256"`, `"EdDSA"`), accessClaims), token.ReasonAlgorithm)
		c.refuses("with a name twice", forge(t, keyring.ES256, edit(t, good, `}`, `,"typ":"at+jwt"}`), accessClaims), token.ReasonMalformed)
		c.refuses("signed by another", forge(t, keyring.EdDSA, good, accessClaims), token.ReasonSignature)
	}
	// More headers than are remembered, round and round.
	for range 2 {
		for i := range 40 {
			c.accepts("an odd header", forge(t, keyring.EdDSA, edit(t, head(keyring.EdDSA, "at+jwt"), `}`, fmt.Sprintf(`,"x":%d}`, i)), accessClaims))
		}
	}

	w := &world{keys: map[string]keyring.VerificationKey{"key-ES256": readKey(t, testKeys()[keyring.ES256])}, feed: "f"}
	v := w.verifier(t, 0)
	raw := accessToken(t, accessClaims)
	shown(t, v, raw)
	w.keys["key-ES256"] = readKey(t, impostor(t, testKeys()[keyring.ES256]))
	if _, err := v.Verify(t.Context(), raw); verdict(err) != "signature" {
		t.Errorf("after its key was changed: %v", err)
	}
	w.keys["key-ES256"] = readKey(t, testKeys()[keyring.EdDSA])
	if _, err := v.Verify(t.Context(), raw); verdict(err) != "algorithm" {
		t.Errorf("after its key's algorithm was changed: %v", err)
	}
	delete(w.keys, "key-ES256")
	if _, err := v.Verify(t.Context(), raw); verdict(err) != "unknown_key" {
		t.Errorf("after its key was taken away: %v", err)
	}
}
