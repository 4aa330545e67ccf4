package grant_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// remote is a world whose keys are in KMS, which lies behind it: it counts the signatures asked for, and can hold them.
type remote struct {
	*world
	access, refresh keyring.Key

	served   sync.WaitGroup // the requests under way
	mu       sync.Mutex
	signs    int
	inFlight int
	most     int           // of them at once
	hold     int           // none is passed on until so many are there
	there    chan struct{} // closed when they are
	refuses  string        // the KMS key that can't be used; calls for another wait until they are cancelled
}

func newRemote(t *testing.T) *remote {
	moto := testenv.Moto(t).Endpoint
	target, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	w := &remote{world: newWorld(t)}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(rw, r, proxy) }))
	t.Cleanup(server.Close)

	direct, through := kms.NewFromConfig(testenv.AWSConfig(moto)), kms.NewFromConfig(testenv.AWSConfig(server.URL))
	source := func(use keyring.Use) (*keyring.Source, keyring.Key) {
		made, err := direct.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
		if err != nil {
			t.Fatal(err)
		}
		key, err := kmssigner.NewKey(t.Context(), direct, *made.KeyMetadata.KeyId, keyring.ES256, w.now())
		if err != nil {
			t.Fatal(err)
		}
		d := &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
		return keyring.NewSource(keyring.SourceConfig{
			Now: w.now, KMS: kmssigner.Signers(through, nil), Load: func(context.Context) (*keyring.Document, error) { return d, nil },
		}), key
	}
	accessKeys, accessKey := source(keyring.UseAccess)
	refreshKeys, refreshKey := source(keyring.UseRefresh)
	w.access, w.refresh = accessKey, refreshKey
	w.minter.AccessKeys, w.minter.RefreshKeys = accessKeys, refreshKeys
	verifier, err := token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: refreshKeys, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	*w.world.refresh = *verifier
	return w
}

func (w *remote) serve(rw http.ResponseWriter, r *http.Request, proxy http.Handler) {
	w.served.Add(1)
	defer w.served.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("X-Amz-Target") != "TrentService.Sign" {
		w.t.Errorf("%s: %v", r.Header.Get("X-Amz-Target"), err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	w.signs++
	w.inFlight++
	w.most = max(w.most, w.inFlight)
	there, refuses := w.there, w.refuses
	if w.inFlight == w.hold {
		close(there)
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.inFlight--
		w.mu.Unlock()
	}()
	select {
	case <-there:
	case <-r.Context().Done():
		return
	case <-time.After(5 * time.Second): // only where the test fails
		refuses = ""
		proxy = http.HandlerFunc(refuse)
	}
	switch {
	case refuses == "":
		proxy.ServeHTTP(rw, r)
	case strings.Contains(string(body), refuses):
		refuse(rw, r)
	default:
		<-r.Context().Done()
	}
}

func refuse(rw http.ResponseWriter, _ *http.Request) {
	rw.WriteHeader(http.StatusBadRequest)
	_, _ = rw.Write([]byte(`{"__type":"AccessDeniedException","message":"no"}`))
}

// expect begins a count, and holds signatures back until so many have been asked for: who asks for one after the other gets
// none.
func (w *remote) expect(together int) {
	w.served.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signs, w.most, w.hold, w.there = 0, 0, together, make(chan struct{})
}

// refuse has KMS refuse a key, and not answer for others.
func (w *remote) refuse(key keyring.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuses = key.KMSKey
}

// counted says how many signatures were asked for, and how many at once.
func (w *remote) counted(what string, signs, atOnce int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.signs != signs || w.most != atOnce {
		w.t.Errorf("%s: %d calls of kms:Sign, %d at once; want %d, %d", what, w.signs, w.most, signs, atOnce)
	}
}

// TestOneCallASignature: KMS is asked once for each token, and for both of an answer at the same time.
func TestOneCallASignature(t *testing.T) {
	w := newRemote(t)
	secret := w.register(client.Spec{ID: "shop", RefreshTokenLifetime: time.Hour})
	w.expect(2)
	held := w.signIn("shop", secret).field("refresh_token")
	w.counted("sign-in", 2, 2)

	w.expect(1)
	if a := w.renew("shop", held); a.status != http.StatusOK || a.field("refresh_token") != "" {
		t.Errorf("refresh: %d %s", a.status, a.body)
	}
	w.counted("refresh", 1, 1)

	w.pass(31 * time.Minute)
	w.expect(2)
	if a := w.renew("shop", held); a.status != http.StatusOK || a.field("refresh_token") == "" {
		t.Errorf("past half of its life: %d %s", a.status, a.body)
	}
	w.counted("past half of its life", 2, 2)

	w.minter.RefreshKeys = w.source(keyring.UseRefresh, keyring.HS256)
	w.expect(1)
	w.signIn("shop", secret)
	w.counted("sign-in with a refresh key in memory", 1, 1)
}

// TestOneOfTwoSignaturesFails: either's failure is an outage, ends the other's call, and begins no grant.
func TestOneOfTwoSignaturesFails(t *testing.T) {
	w := newRemote(t)
	secret := w.register(client.Spec{ID: "shop", RefreshMode: token.ModeRotating})
	w.minter.Rotations = rotations{begin: func() error { return errors.New("a grant began") }}
	for what, key := range map[string]keyring.Key{"access": w.access, "refresh": w.refresh} {
		w.expect(2)
		w.refuse(key)
		a := w.do(w.token, basic(post(oauth.PathToken, "grant_type", "client_credentials"), "shop", secret))
		if a.status != http.StatusServiceUnavailable || a.field("error") != string(oauth.Unavailable) || a.field("access_token") != "" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		if !strings.Contains(a.log, "AccessDenied") || strings.Contains(a.log, "grant began") || strings.Contains(a.log, `"jti"`) {
			t.Errorf("%s: %s", what, a.log)
		}
		w.counted(what, 2, 2)
	}
}

// rotations is a Rotations of which only grants begin.
type rotations struct{ begin func() error }

func (r rotations) Begin(context.Context, *token.Refresh) error { return r.begin() }

func (r rotations) Rotate(context.Context, *token.Refresh, *token.Refresh) (*token.Refresh, error) {
	return nil, errors.New("not here")
}

// remoteKey is a key whose signatures are made by a function.
type remoteKey func(ctx context.Context) ([]byte, error)

func (k remoteKey) Sign(ctx context.Context, _ []byte) ([]byte, error) { return k(ctx) }

func (k remoteKey) SigningKey(context.Context) (keyring.SigningKey, error) {
	return keyring.SigningKey{ID: "k", Algorithm: keyring.ES256, Remote: true, Signer: k}, nil
}

// TestNoSignatureIsLeftBehind: the answer waits for both, whichever way one ends, and a panic is a fault like any other.
func TestNoSignatureIsLeftBehind(t *testing.T) {
	for what, end := range map[string]func() ([]byte, error){
		"an error": func() ([]byte, error) { return nil, errors.New("down") },
		"a panic":  func() ([]byte, error) { panic("down") },
	} {
		for _, first := range []bool{true, false} {
			w := newWorld(t)
			w.panics = what == "a panic"
			secret := w.register(client.Spec{ID: "shop"})
			waits, ended := make(chan struct{}), false
			fails := remoteKey(func(context.Context) ([]byte, error) { <-waits; return end() })
			cancelled := remoteKey(func(ctx context.Context) ([]byte, error) {
				close(waits)
				<-ctx.Done()
				ended = true
				return nil, ctx.Err()
			})
			w.minter.AccessKeys, w.minter.RefreshKeys = fails, cancelled
			if !first {
				w.minter.AccessKeys, w.minter.RefreshKeys = cancelled, fails
			}
			a := w.do(w.token, basic(post(oauth.PathToken, "grant_type", "client_credentials"), "shop", secret))
			status := http.StatusServiceUnavailable
			if what == "a panic" {
				status = http.StatusInternalServerError
			}
			if a.status != status || !ended || !strings.Contains(a.log, "down") {
				t.Errorf("%s, the access key's: %v: %d %s, the other's has ended: %v", what, first, a.status, a.log, ended)
			}
		}
	}
}
