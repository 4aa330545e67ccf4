// Package discovery serves what anyone may know: the authorization server's metadata (RFC 8414) and the public keys
// (RFC 7517), both from the public-keys document alone, and the OpenAPI document, which needs nothing.
package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/openapi"
)

// MaxAge is how long others may keep an answer. Keys are published far longer than this before they sign.
const MaxAge = 5 * time.Minute

// Memory is how long the document is served from memory, so that a flood of requests is not a flood of reads.
const Memory = 5 * time.Second

// retryInterval is how long the failure of a read stands, likewise.
const retryInterval = time.Second

// maxStale is the age to which a document in memory is served while a newer one can't be read.
const maxStale = time.Hour

// Keys reads the public-keys document; keyring.ErrNoKeys where there is none yet.
type Keys interface {
	PublicKeys(ctx context.Context) (*keyring.PublicDocument, int64, error)
}

// Config says what is served.
type Config struct {
	Issuer string // a URL without a path
	// MTLSOrigin is where the same endpoints are reached by mutual TLS, a URL without a path. Empty: nowhere.
	MTLSOrigin string
	Keys       Keys

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

type server struct {
	Config

	mu       sync.Mutex
	document *keyring.PublicDocument
	read     time.Time // when document was
	tried    time.Time // the last attempt
	failure  error     // its outcome
}

// Handler serves the metadata under both its names, the JWKS and the OpenAPI document.
func Handler(c Config) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &server{Config: c}
	mux := http.NewServeMux()
	for path, answer := range map[string]func(*keyring.PublicDocument) any{
		oauth.PathMetadata:            s.metadata,
		oauth.PathOpenIDConfiguration: s.metadata,
		oauth.PathJWKS:                func(d *keyring.PublicDocument) any { return d.JWKS(s.Now()) },
	} {
		body := func(ctx context.Context) ([]byte, error) { return s.ofKeys(ctx, answer) }
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, body) })
	}
	document := sync.OnceValues(func() ([]byte, error) { return openapi.Document(c.Issuer) }) // most starts are for something else
	mux.HandleFunc(oauth.PathOpenAPI, func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, func(context.Context) ([]byte, error) { return document() })
	})
	return mux
}

// ofKeys is an answer made of the public-keys document.
func (s *server) ofKeys(ctx context.Context, answer func(*keyring.PublicDocument) any) ([]byte, error) {
	document, err := s.load(ctx)
	if err != nil {
		return nil, oauth.Errorf(oauth.Unavailable, "The public keys can't be read at the moment. Try again.").Because(err)
	}
	return json.Marshal(answer(document))
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, answer func(context.Context) ([]byte, error)) {
	// Anyone may read this from any origin: it is public and takes no credentials.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		oauth.WriteError(w, oauth.MethodNotAllowed("GET, HEAD"))
		return
	}
	body, err := answer(r.Context())
	if err != nil {
		cause := err
		if outage := (*oauth.Error)(nil); errors.As(err, &outage) {
			cause = outage.Unwrap() // of which the rest says nothing
		}
		s.Log.LogAttrs(r.Context(), slog.LevelError, "discovery.failed", slog.String("cause", cause.Error()))
		oauth.WriteError(w, err)
		return
	}
	sum := sha256.Sum256(body)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(MaxAge/time.Second)))
	h.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
	// ServeContent answers If-None-Match and HEAD (RFC 9110 §13.1.2).
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// load returns the document, from memory while that is recent enough, and a while longer when it can't be read.
func (s *server) load(ctx context.Context) (*keyring.PublicDocument, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now().Round(0)
	age := now.Sub(s.read)
	if s.document != nil && age >= 0 && age < Memory {
		return s.document, nil
	}
	err := s.failure
	if since := now.Sub(s.tried); err == nil || since < 0 || since >= retryInterval {
		var document *keyring.PublicDocument
		document, _, err = s.Keys.PublicKeys(ctx)
		s.tried, s.failure = now, err
		if errors.Is(ctx.Err(), context.Canceled) {
			s.failure = nil // one caller went away, which is no answer to the others
		}
		if err == nil {
			s.document, s.read = document, now
			return document, nil
		}
	}
	if s.document != nil && !errors.Is(err, keyring.ErrNoKeys) && age >= 0 && age < maxStale {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "discovery.stale", slog.String("cause", err.Error()), slog.Float64("age_s", age.Seconds()))
		return s.document, nil
	}
	return nil, err
}

func (s *server) metadata(d *keyring.PublicDocument) any {
	issuer := s.Issuer // has no trailing slash
	algorithms := []string{}
	for _, k := range d.JWKS(s.Now()).Keys {
		if alg := string(k.Algorithm); !slices.Contains(algorithms, alg) {
			algorithms = append(algorithms, alg)
		}
	}
	methods := []string{string(oauth.AuthBasic), string(oauth.AuthPost)} // where only secrets are taken
	m := oauth.Metadata{
		Issuer:                 s.Issuer,
		TokenEndpoint:          issuer + oauth.PathToken,
		JWKSURI:                issuer + oauth.PathJWKS,
		ResponseTypes:          []string{},
		GrantTypes:             []string{oauth.GrantClientCredentials, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantJWTBearer},
		TokenEndpointAuth:      append(slices.Clone(methods), string(oauth.AuthAssertion)),
		TokenEndpointAuthAlgs:  assertion.Algorithms,
		RevocationEndpoint:     issuer + oauth.PathRevoke,
		RevocationAuth:         methods,
		IntrospectionEndpoint:  issuer + oauth.PathIntrospect,
		IntrospectionAuth:      methods,
		SubjectTypes:           []string{"public"},
		SigningAlgorithms:      algorithms,
		DPoPAlgorithms:         dpop.Algorithms,
		LatchkeyRefresh:        issuer + oauth.PathRefresh,
		LatchkeyRefreshMethods: []string{string(oauth.AuthNone)},
	}
	if s.MTLSOrigin != "" {
		m.CertificateBound = true
		m.MTLSAliases = &oauth.MTLSAliases{TokenEndpoint: s.MTLSOrigin + oauth.PathToken, LatchkeyRefresh: s.MTLSOrigin + oauth.PathRefresh}
	}
	return m
}
