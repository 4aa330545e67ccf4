package remotekeys_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

var _ token.VerificationKeys = (*remotekeys.Keys)(nil)

// clock is a clock that stands until it is moved.
type clock struct{ seconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.seconds.Store(1_800_000_000)
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

// newKey makes a key, and the JWKS entry of it.
func newKey(t *testing.T) (kid string, jwk keyring.JWK) {
	t.Helper()
	key, err := keyring.Generate(keyring.ES256, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	return key.ID, public.Keys[0].JWK
}

func jwks(t *testing.T, keys ...keyring.JWK) []byte {
	t.Helper()
	data, err := json.Marshal(keyring.JWKS{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// site is a web site with a JWKS, which can be changed and broken.
type site struct {
	*httptest.Server
	clock *clock
	hits  atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newSite(t *testing.T, body []byte) *site {
	t.Helper()
	s := &site{clock: newClock()}
	s.serve(body, nil)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) set(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

func (s *site) serve(body []byte, header map[string]string) {
	s.set(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.Write(body)
	})
}

func (s *site) fail(status int) {
	s.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

func (s *site) keys(t *testing.T, c remotekeys.Config) *remotekeys.Keys {
	t.Helper()
	c.URL, c.Now, c.Log = s.URL+"/.well-known/jwks.json", s.clock.now, quiet
	k, err := remotekeys.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// found, unknown and outage say what becomes of a key id.
func found(t *testing.T, k *remotekeys.Keys, kid string) {
	t.Helper()
	if key, err := k.VerificationKey(t.Context(), kid); err != nil || key.ID != kid {
		t.Errorf("VerificationKey(%s) = %v, %v, want the key", kid, key.ID, err)
	}
}

func unknown(t *testing.T, k *remotekeys.Keys, kid string) {
	t.Helper()
	if _, err := k.VerificationKey(t.Context(), kid); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("VerificationKey(%s): %v, want ErrUnknownKey", kid, err)
	}
}

func outage(t *testing.T, k *remotekeys.Keys, kid string) error {
	t.Helper()
	_, err := k.VerificationKey(t.Context(), kid)
	if err == nil || errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("VerificationKey(%s): %v, want an outage", kid, err)
	}
	return err
}

func (s *site) fetched(t *testing.T, want int64) {
	t.Helper()
	if got := s.hits.Load(); got != want {
		t.Errorf("the site was asked %d times, want %d", got, want)
	}
}

func TestFetchedOnceAndRefreshedByAge(t *testing.T) {
	kid, jwk := newKey(t)
	s := newSite(t, jwks(t, jwk))
	k := s.keys(t, remotekeys.Config{})
	s.fetched(t, 0)
	for range 100 {
		found(t, k, kid)
	}
	s.fetched(t, 1)
	s.clock.advance(remotekeys.MaxAge - time.Second)
	found(t, k, kid)
	s.fetched(t, 1)
	s.clock.advance(time.Second)
	found(t, k, kid)
	found(t, k, kid)
	s.fetched(t, 2)
	s.clock.advance(-time.Minute) // a clock that is set back makes no copy eternal
	found(t, k, kid)
	s.fetched(t, 3)
}

func TestCacheControl(t *testing.T) {
	kid, jwk := newKey(t)
	for name, test := range map[string]struct {
		header map[string]string
		want   time.Duration
	}{
		"none":           {nil, time.Hour},
		"max-age":        {map[string]string{"Cache-Control": "public, max-age=300"}, 5 * time.Minute},
		"quoted":         {map[string]string{"Cache-Control": `Max-Age="300"`}, 5 * time.Minute},
		"too long":       {map[string]string{"Cache-Control": "max-age=99999999999999999999"}, time.Hour},
		"too short":      {map[string]string{"Cache-Control": "max-age=0"}, time.Minute},
		"negative":       {map[string]string{"Cache-Control": "max-age=-5"}, time.Minute},
		"no-store":       {map[string]string{"Cache-Control": "no-store"}, time.Minute},
		"age on the way": {map[string]string{"Cache-Control": "max-age=300", "Age": "100"}, 200 * time.Second},
		"all of it gone": {map[string]string{"Cache-Control": "max-age=300", "Age": "1000"}, time.Minute},
		"nonsense":       {map[string]string{"Cache-Control": "max-age=soon"}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			s.serve(jwks(t, jwk), test.header)
			k := s.keys(t, remotekeys.Config{})
			found(t, k, kid)
			s.clock.advance(test.want - time.Second)
			found(t, k, kid)
			s.fetched(t, 1)
			s.clock.advance(time.Second)
			found(t, k, kid)
			s.fetched(t, 2)
		})
	}
}

func TestETag(t *testing.T) {
	kid, jwk := newKey(t)
	body := jwks(t, jwk)
	var notModified atomic.Int64
	s := newSite(t, nil)
	s.set(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		if r.Header.Get("If-None-Match") == `"one"` {
			notModified.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Write(body)
	})
	k := s.keys(t, remotekeys.Config{})
	for range 3 {
		found(t, k, kid)
		s.clock.advance(time.Hour)
	}
	if got := notModified.Load(); got != 2 {
		t.Errorf("%d answers were 304, want 2", got)
	}
	s.fetched(t, 3)
}

func TestNotModifiedUnasked(t *testing.T) {
	s := newSite(t, nil)
	s.fail(http.StatusNotModified)
	outage(t, s.keys(t, remotekeys.Config{}), "any")
}

func TestUnknownKey(t *testing.T) {
	kid, jwk := newKey(t)
	newer, newerJWK := newKey(t)
	s := newSite(t, jwks(t, jwk))
	k := s.keys(t, remotekeys.Config{})
	found(t, k, kid)

	// The copy was fetched just now: it can tell.
	unknown(t, k, newer)
	s.fetched(t, 1)
	s.serve(jwks(t, jwk, newerJWK), nil)
	s.clock.advance(remotekeys.RetryInterval - time.Second)
	unknown(t, k, newer)
	s.fetched(t, 1)
	s.clock.advance(time.Second)
	found(t, k, newer)
	s.fetched(t, 2)
}

func TestFloodOfUnknownKeys(t *testing.T) {
	kid, jwk := newKey(t)
	s := newSite(t, jwks(t, jwk))
	k := s.keys(t, remotekeys.Config{})
	found(t, k, kid)
	for range 6 { // a minute
		s.clock.advance(remotekeys.RetryInterval)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 100 {
					unknown(t, k, "no-such-key-"+string(rune('a'+i))+string(rune('a'+j%26)))
				}
			})
		}
		wg.Wait()
	}
	s.fetched(t, 7)
}

func TestFloodDuringAnOutage(t *testing.T) {
	kid, jwk := newKey(t)
	s := newSite(t, jwks(t, jwk))
	k := s.keys(t, remotekeys.Config{})
	found(t, k, kid)
	s.clock.advance(remotekeys.RetryInterval)
	s.fail(http.StatusInternalServerError)
	for range 50 {
		outage(t, k, "no-such-key")
		found(t, k, kid)
	}
	s.fetched(t, 2)
	s.clock.advance(remotekeys.RetryInterval)
	outage(t, k, "no-such-key")
	s.fetched(t, 3)
}

func TestOutageAtColdStart(t *testing.T) {
	kid, jwk := newKey(t)
	s := newSite(t, nil)
	s.fail(http.StatusBadGateway)
	k := s.keys(t, remotekeys.Config{})
	for range 20 {
		outage(t, k, kid)
	}
	s.fetched(t, 1) // even without keys, it is asked once a second at most
	s.serve(jwks(t, jwk), nil)
	s.clock.advance(time.Second)
	found(t, k, kid)
	s.fetched(t, 2)
}

func TestKeysInHandServeThroughAnOutage(t *testing.T) {
	kid, jwk := newKey(t)
	s := newSite(t, jwks(t, jwk))
	k := s.keys(t, remotekeys.Config{})
	found(t, k, kid)
	s.fail(http.StatusServiceUnavailable)
	s.clock.advance(time.Hour)
	for range 10 {
		found(t, k, kid)
	}
	s.fetched(t, 2)
	s.clock.advance(remotekeys.RetryInterval - time.Second)
	found(t, k, kid)
	s.fetched(t, 2)
	s.clock.advance(time.Second)
	found(t, k, kid)
	s.fetched(t, 3)
	s.clock.advance(remotekeys.MaxStale - time.Hour - remotekeys.RetryInterval - time.Second)
	found(t, k, kid)
	s.clock.advance(time.Second)
	outage(t, k, kid)
	s.serve(jwks(t, jwk), nil)
	s.clock.advance(remotekeys.RetryInterval)
	found(t, k, kid)
}

func TestARemovedKeyIsForgotten(t *testing.T) {
	old, oldJWK := newKey(t)
	_, jwk := newKey(t)
	s := newSite(t, jwks(t, oldJWK))
	k := s.keys(t, remotekeys.Config{Initial: jwks(t, oldJWK)})
	found(t, k, old)
	s.serve(jwks(t, jwk), nil)
	s.clock.advance(time.Hour)
	unknown(t, k, old)
}

func TestInitial(t *testing.T) {
	kid, jwk := newKey(t)
	newer, newerJWK := newKey(t)

	t.Run("without a URL", func(t *testing.T) {
		c := newClock()
		k, err := remotekeys.New(remotekeys.Config{
			Initial: jwks(t, jwk), Now: c.now,
			HTTPClient: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				t.Error("the network is used")
				return nil, errors.New("no network")
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		found(t, k, kid)
		unknown(t, k, newer)
		c.advance(1000 * time.Hour)
		found(t, k, kid)
		unknown(t, k, newer)
	})
	t.Run("with a URL", func(t *testing.T) {
		s := newSite(t, jwks(t, newerJWK))
		k := s.keys(t, remotekeys.Config{Initial: jwks(t, jwk)})
		found(t, k, kid)
		s.clock.advance(time.Hour - time.Second)
		found(t, k, kid)
		s.fetched(t, 0)
		s.clock.advance(time.Second)
		unknown(t, k, kid)
		found(t, k, newer)
		s.fetched(t, 1)
	})
	t.Run("a key that is newer", func(t *testing.T) {
		// Configuration can't tell that a key is unknown, however lately it was read.
		s := newSite(t, jwks(t, jwk, newerJWK))
		k := s.keys(t, remotekeys.Config{Initial: jwks(t, jwk)})
		found(t, k, newer)
		s.fetched(t, 1)
	})
	t.Run("an outage", func(t *testing.T) {
		s := newSite(t, nil)
		s.fail(http.StatusInternalServerError)
		k := s.keys(t, remotekeys.Config{Initial: jwks(t, jwk)})
		outage(t, k, newer)
		found(t, k, kid)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRefusedAnswers(t *testing.T) {
	kid, jwk := newKey(t)
	body := jwks(t, jwk)
	good := newSite(t, body)
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, good.URL, http.StatusFound)
		},
		"not 200": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusAccepted)
			w.Write(body)
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write(body)
		},
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Write(body)
		},
		"not JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(body[1:])
		},
		"no keys": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"keys":[]}`))
		},
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(append(body, strings.Repeat(" ", keyring.MaxJWKS)...))
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100000")
			w.Write(body)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			s.set(answer)
			outage(t, s.keys(t, remotekeys.Config{}), kid)
		})
	}
	good.fetched(t, 0)
}

// A set just at the bound is read, so that the test above refuses for the right reason.
func TestLargestAnswer(t *testing.T) {
	kid, jwk := newKey(t)
	body := jwks(t, jwk)
	s := newSite(t, append(body, strings.Repeat(" ", keyring.MaxJWKS-len(body))...))
	found(t, s.keys(t, remotekeys.Config{}), kid)
}

func TestSlowSite(t *testing.T) {
	kid, jwk := newKey(t)
	body := jwks(t, jwk)
	release := make(chan struct{})
	s := newSite(t, nil)
	s.set(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	k := s.keys(t, remotekeys.Config{})

	// One caller gives up; the others get what it began.
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := k.VerificationKey(ctx, kid)
		first <- err
	}()
	for s.hits.Load() == 0 {
		time.Sleep(time.Millisecond) // until the real server has it: there is no clock to inject into the network
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { found(t, k, kid) })
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) || errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("a caller that gave up got %v", err)
	}
	close(release)
	wg.Wait()
	s.fetched(t, 1)
}

func TestFetchIsBounded(t *testing.T) {
	s := newSite(t, nil)
	s.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	start := time.Now()
	err := outage(t, s.keys(t, remotekeys.Config{}), "any")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a site that does not answer: %v, want a deadline", err)
	}
	if took := time.Since(start); took > 2*remotekeys.FetchTimeout {
		t.Errorf("a site that does not answer took %s", took)
	}
}

func TestGivenClient(t *testing.T) {
	kid, jwk := newKey(t)
	body := jwks(t, jwk)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
	defer s.Close()
	k, err := remotekeys.New(remotekeys.Config{URL: s.URL, HTTPClient: s.Client(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	found(t, k, kid)
	// Its own policy on redirects does not count.
	k, err = remotekeys.New(remotekeys.Config{URL: s.URL + "/moved", HTTPClient: s.Client(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	outage(t, k, kid)
}

func TestRefusedConfigurations(t *testing.T) {
	_, jwk := newKey(t)
	for name, c := range map[string]remotekeys.Config{
		"nothing":      {},
		"relative":     {URL: "/jwks.json"},
		"a file":       {URL: "file:///etc/passwd"},
		"a user":       {URL: "https://user:secret@example.com/"},
		"not a JWKS":   {Initial: []byte(`{"keys":`)},
		"a secret key": {Initial: []byte(`{"keys":[{"kty":"oct","kid":"1","k":"AAAA"}]}`)},
		"URL, bad set": {URL: "https://example.com/", Initial: jwks(t, jwk)[1:]},
	} {
		if k, err := remotekeys.New(c); err == nil || k != nil {
			t.Errorf("%s: New = %v, %v, want an error", name, k, err)
		} else if strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}
