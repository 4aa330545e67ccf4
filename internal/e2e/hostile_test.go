package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// revocations is a log that is written already.
type revocations []revocation.Entry

func (revocations) Append(context.Context, revocation.Entry) error     { return nil }
func (revocations) FeedID(context.Context) (string, error)             { return "feed-1", nil }
func (revocations) Always(context.Context) ([]revocation.Entry, error) { return nil, nil }
func (r revocations) Entries(_ context.Context, from, until time.Time, yield func(revocation.Entry) bool) error {
	for _, e := range r {
		if !e.At.Before(from) && (until.IsZero() || e.At.Before(until)) && !yield(e) {
			break
		}
	}
	return nil
}

// TestHostileTokens shows tokens of every class in package attack's corpus to the built authorizer. All of them are shown to
// the same code, and in all other places, in cmd/latchkey's tests.
func TestHostileTokens(t *testing.T) {
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess}
	keys := map[string]attack.Key{}
	add := func(name string, alg keyring.Algorithm) {
		k, err := keyring.Generate(alg, time.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if name != "foreign" && name != "refresh" {
			d.Keys = append(d.Keys, k)
		}
		if name == "retired" {
			d.Keys[len(d.Keys)-1].VerifyUntil = time.Now().Add(-time.Minute).Unix()
		}
		keys[name] = attack.NewKey(t, k)
	}
	for name, alg := range map[string]keyring.Algorithm{
		"ES256": keyring.ES256, "RS256": keyring.RS256, "EdDSA": keyring.EdDSA, "revoked": keyring.ES256, "retired": keyring.ES256,
		"foreign": keyring.ES256, "refresh": keyring.HS256,
	} {
		add(name, alg)
	}
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(public.JWKS(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	feed := revocation.NewFeed(revocation.FeedConfig{Source: revocations{
		revocation.Grant("g_revoked", time.Now()), revocation.SigningKey(keys["revoked"].ID, time.Now()),
	}})
	strayed := make(chan string, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case oauth.PathJWKS:
			w.Header().Set("Content-Type", "application/json")
			w.Write(jwks)
		case revocation.PathFeed:
			feed.ServeHTTP(w, r)
		default:
			select {
			case strayed <- r.URL.Path:
			default:
			}
		}
	}))
	t.Cleanup(server.Close)
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	function := lambdatest.Start(t, lambdatest.Config{
		Name: "authorizer", Binary: lambdatest.Build(t, "../../functions/authorizer", "testclock"), Env: map[string]string{
			"ISSUER": server.URL, "AUDIENCE": audience, "SSL_CERT_FILE": certificate,
		},
	})
	invoke := func(ctx context.Context, payload []byte) ([]byte, error) {
		out, err := function.Invoke(ctx, payload)
		var failed *lambdatest.FunctionError
		if errors.As(err, &failed) && failed.Message == authorizer.ErrUnauthorized.Error() {
			err = authorizer.ErrUnauthorized
		}
		return out, err
	}
	seen := 0
	logged := func() string {
		all := function.Logs()
		defer func() { seen = len(all) }()
		return all[seen:]
	}
	f := &attack.Forge{
		Type: token.TypeAccess, Issuer: server.URL, Audience: audience, Client: "shop", Now: time.Now,
		Keys:    map[keyring.Algorithm]attack.Key{keyring.ES256: keys["ES256"], keyring.RS256: keys["RS256"], keyring.EdDSA: keys["EdDSA"]},
		Retired: keys["retired"], Revoked: keys["revoked"], Foreign: keys["foreign"], Other: keys["refresh"],
		RevokedGrant: "g_revoked", Elsewhere: server.URL + "/elsewhere",
	}
	shown := 0
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		shown += f.Sample(t, alg, 15, attack.AuthorizerPlaces(t, invoke, logged, "../../events", false))
	}
	t.Logf("%d tokens", shown)
	select {
	case path := <-strayed:
		t.Errorf("%s was asked for, as a token wanted it", path)
	default:
	}
}
