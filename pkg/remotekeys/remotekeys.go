// Package remotekeys finds access-token keys in a JWKS that is published at a URL (RFC 7517 §5).
//
//	keys, err := remotekeys.New(remotekeys.Config{URL: "https://issuer.example/.well-known/jwks.json"})
//	verifier, err := token.NewAccessVerifier(token.Config{Keys: keys, ...})
//
// The set is fetched when it is first needed, and kept. It is made for a process that is frozen between requests, as a
// Lambda function is: nothing runs in the background, and ages count by the wall clock, because the monotonic one stands
// still meanwhile. How often it is fetched depends on elapsed time alone, whatever the key ids that requests come with:
//
//   - once an hour, or sooner where the answer's Cache-Control says so, but not more than once a minute;
//   - for a key id that is not in it, once every ten seconds, for all such ids together;
//   - after a failure, ten seconds later, or one second later while there are no keys at all.
//
// Where it can't be fetched, the keys in hand serve for up to 24 hours.
package remotekeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

const (
	// MaxAge is the age at which the set is fetched again; the answer's Cache-Control may say less.
	MaxAge = time.Hour
	// MinAge is the least that Cache-Control can say.
	MinAge = time.Minute
	// MaxStale is the age to which the keys in hand serve when they can't be fetched.
	MaxStale = 24 * time.Hour
	// RetryInterval spaces fetches after a failure, and fetches for unknown key ids: an id that was unknown is looked for
	// again after this long.
	RetryInterval = 10 * time.Second
	// FetchTimeout bounds a fetch from its start to the last byte.
	FetchTimeout = 2500 * time.Millisecond

	// coldRetryInterval is RetryInterval while there are no keys at all: nothing can be answered until there are.
	coldRetryInterval = time.Second
)

// Config says where the keys are.
type Config struct {
	// URL is the JWKS document's, http or https. Empty: Initial is all there is, and the network is never used.
	URL string
	// Initial is a JWKS to start with, as if it had been fetched when New was called, so that a first request needs no
	// network. Empty: the first request fetches one.
	Initial []byte
	// HTTPClient makes the requests. Redirects are refused and FetchTimeout is kept whatever it says. Nil: one that keeps
	// no connection, since a connection is dead after an hour's freeze.
	HTTPClient *http.Client
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes a warning for each failed fetch; nil means slog.Default().
	Log *slog.Logger
}

// Keys implements token.VerificationKeys. Make it with New. Safe for many goroutines.
type Keys struct {
	url    string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	held atomic.Pointer[held]

	mu      sync.Mutex // guards what follows
	flight  *flight    // the fetch that is under way, or nil
	tried   time.Time  // when the last fetch began
	failure error      // its outcome
}

// held is a set and where it came from. It is never changed.
type held struct {
	set      *keyring.KeySet
	etag     string
	since    time.Time // when its fetch began: what was published before that is in it
	lifetime time.Duration
	given    bool // by configuration, whenever that was written: it can't tell that a key id is unknown
}

// flight is one fetch; held and err are there once done is closed.
type flight struct {
	done chan struct{}
	held *held
	err  error
}

// New checks the configuration. It uses no network.
func New(c Config) (*Keys, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	k := &Keys{url: c.URL, now: c.Now, log: c.Log}
	if c.URL == "" && len(c.Initial) == 0 {
		return nil, errors.New("remotekeys: neither a URL nor a JWKS is given")
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return nil, errors.New("remotekeys: the URL must be absolute, http or https, without user or fragment")
		}
		k.client = client(c.HTTPClient)
	}
	if len(c.Initial) > 0 {
		set, err := keyring.ParseJWKS(c.Initial)
		if err != nil {
			return nil, fmt.Errorf("remotekeys: the JWKS given: %w", err)
		}
		k.held.Store(&held{set: set, since: c.Now().Round(0), lifetime: MaxAge, given: true})
	}
	return k, nil
}

func client(given *http.Client) *http.Client {
	c := http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: FetchTimeout}).DialContext,
		TLSHandshakeTimeout:    FetchTimeout,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 16 << 10,
	}}
	if given != nil {
		c = *given
	}
	// A redirect would move the trust in one host to whatever that host names.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Jar = nil
	return &c
}

// VerificationKey returns the key of that id. keyring.ErrUnknownKey says that a set fetched within RetryInterval does not
// have it; any other error is an outage. ctx bounds the wait alone: a fetch goes on for the others who wait for it.
func (k *Keys) VerificationKey(ctx context.Context, kid string) (keyring.VerificationKey, error) {
	h, err := k.usable(ctx)
	if err != nil {
		return keyring.VerificationKey{}, err
	}
	key, err := h.set.Key(kid)
	if err == nil || k.url == "" {
		return key, err
	}
	// The key may be newer than our copy.
	if h, err = k.younger(ctx, RetryInterval); err != nil {
		return keyring.VerificationKey{}, err
	}
	return h.set.Key(kid)
}

// usable returns a set that is fresh, or failing that one that is not too old.
func (k *Keys) usable(ctx context.Context) (*held, error) {
	h := k.held.Load()
	if h == nil {
		return k.younger(ctx, MaxAge)
	}
	if k.url == "" || h.age(k.now()) < h.lifetime {
		return h, nil
	}
	fresh, err := k.younger(ctx, h.lifetime)
	if err == nil {
		return fresh, nil
	}
	if h.age(k.now()) < MaxStale {
		return h, nil
	}
	return nil, err
}

// age counts by the wall clock. A clock that was set back makes a copy infinitely old.
func (h *held) age(now time.Time) time.Duration {
	if age := now.Round(0).Sub(h.since); age >= 0 {
		return age
	}
	return MaxStale
}

// younger returns a set that was fetched less than age ago, and fetches one at need.
func (k *Keys) younger(ctx context.Context, age time.Duration) (*held, error) {
	// Twice, because the fetch that it finds under way may have begun before a freeze, however long ago.
	for range 2 {
		h, f, err := k.join(age)
		if err != nil || h != nil {
			return h, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the JWKS: %w", context.Cause(ctx))
		}
		if f.err != nil {
			return nil, f.err
		}
		if f.held.age(k.now()) < age {
			return f.held, nil
		}
	}
	return nil, errors.New("fetching the JWKS: the answer was out of date when it arrived")
}

// join returns a set that is young enough, else the fetch that is under way, which it starts at need. It returns the last
// failure where another attempt would come too soon after that.
func (k *Keys) join(age time.Duration) (*held, *flight, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now().Round(0) // the wall clock's reading only
	h := k.held.Load()
	if h != nil && !h.given && h.age(now) < age {
		return h, nil, nil
	}
	if k.flight != nil {
		return nil, k.flight, nil
	}
	wait := RetryInterval
	if h == nil {
		wait = coldRetryInterval
	}
	if since := now.Sub(k.tried); k.failure != nil && since >= 0 && since < wait {
		return nil, nil, k.failure
	}
	k.tried = now
	k.flight = &flight{done: make(chan struct{})}
	go k.fly(k.flight, now, h)
	return nil, k.flight, nil
}

// fly fetches with a context of its own: no caller's end is another's failure.
func (k *Keys) fly(f *flight, now time.Time, old *held) {
	ctx, cancel := context.WithTimeout(context.Background(), FetchTimeout)
	defer cancel()
	f.held, f.err = k.fetch(ctx, now, old)
	if f.err != nil {
		f.err = fmt.Errorf("fetching the JWKS: %w", f.err)
		k.log.LogAttrs(ctx, slog.LevelWarn, "keys.fetch_failed", slog.String("cause", f.err.Error()))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.err == nil {
		k.held.Store(f.held)
	}
	k.failure, k.flight = f.err, nil
	close(f.done)
}

func (k *Keys) fetch(ctx context.Context, now time.Time, old *held) (*held, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "latchkey")
	conditional := old != nil && old.etag != ""
	if conditional {
		req.Header.Set("If-None-Match", old.etag)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()

	h := &held{since: now, lifetime: lifetime(res.Header)}
	if res.StatusCode == http.StatusNotModified && conditional {
		h.set, h.etag = old.set, old.etag
		return h, nil
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	if !isJSON(res.Header.Get("Content-Type")) {
		return nil, errors.New("the answer is not JSON")
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, keyring.MaxJWKS+1))
	if err != nil {
		return nil, err
	}
	if len(body) > keyring.MaxJWKS {
		return nil, fmt.Errorf("the JWKS is larger than %d bytes", keyring.MaxJWKS)
	}
	if h.set, err = keyring.ParseJWKS(body); err != nil {
		return nil, err
	}
	if etag := res.Header.Get("ETag"); len(etag) <= 256 {
		h.etag = etag
	}
	return h, nil
}

func isJSON(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// lifetime is how long an answer is fresh (RFC 9111 §4.2), from MinAge to MaxAge. Where it doesn't say, it is MaxAge: a key
// that we don't know has us look again anyway.
func lifetime(h http.Header) time.Duration {
	most := MaxAge
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return MinAge
		case "max-age":
			seconds, ok := parseSeconds(strings.Trim(value, `"`))
			if !ok {
				return MinAge
			}
			most = min(most, seconds)
		}
	}
	if age, ok := parseSeconds(h.Get("Age")); ok { // in a cache on the way
		most -= age
	}
	return max(most, MinAge)
}

// parseSeconds reads delta-seconds (RFC 9111 §1.2.2); more than a day counts as a day.
func parseSeconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(n, 24*60*60)) * time.Second, true
}
