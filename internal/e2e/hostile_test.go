package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/revoke"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const revokedGrant = "g_revoked"

// TestHostileTokens shows the corpus of package attack to the built functions, with keys from Secrets Manager, the table and
// the JWKS, and revocations from the feed. All come to the verdict that the corpus names, and say nothing of the token. All
// tokens are shown if there is time; else the first of each class and each fifth after it, as the same code is shown all in
// cmd/latchkey's tests.
func TestHostileTokens(t *testing.T) {
	d := deploy(t, secretsManager)
	access, refresh := d.ring(keyring.UseAccess), d.ring(keyring.UseRefresh)
	d.customResource("Create") // publishes them
	for _, e := range []revocation.Entry{
		revocation.Grant(revokedGrant, d.now()),
		revocation.SigningKey(access["revoked"].ID, d.now()), revocation.SigningKey(refresh["revoked"].ID, d.now()),
	} {
		d.must(d.log.Append(t.Context(), e))
	}
	shop, api := d.register(client.Spec{ID: "shop"}), d.register(client.Spec{ID: "api", Introspects: []string{audience}})
	var strayed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(elsewhere.Close)

	asks := func(f *lambdatest.Function, place func(http.Handler, *attack.Log) attack.Place) []attack.Place {
		h := &heard{function: f}
		return []attack.Place{h.discreet(place(h.endpoint(d), &h.log))}
	}
	ends := asks(d.revoke, func(h http.Handler, log *attack.Log) attack.Place { return attack.RevokePlace(h, log, "shop", shop) })
	every := 5
	if testenv.Long() {
		every = 1
	}
	show := func(typ string, ring map[string]attack.Key, other attack.Key, algs []keyring.Algorithm, places ...[]attack.Place) {
		f := &attack.Forge{
			Type: typ, Issuer: d.issuer, Audience: audience, Client: "shop", Keys: map[keyring.Algorithm]attack.Key{},
			Retired: ring["retired"], Revoked: ring["revoked"], Foreign: ring["foreign"], Other: other,
			RevokedGrant: revokedGrant, Elsewhere: elsewhere.URL, Every: every,
			Now: func() time.Time { d.pass(time.Second / revoke.Rate); return d.now() }, // no client may revoke too often
		}
		for _, alg := range algs {
			f.Keys[alg] = ring[string(alg)]
		}
		total := 0
		for _, n := range f.Judge(t, algs, places, false) {
			total += n
		}
		t.Logf("%s: %d tokens, each in %d places", typ, total, len(places))
	}
	show(token.TypeAccess, access, refresh["HS256"], []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA},
		d.authorizers(),
		asks(d.introspect, func(h http.Handler, log *attack.Log) attack.Place { return attack.IntrospectPlace(h, log, "api", api) }),
		ends, // the last, for it ends what it takes
	)
	show(token.TypeRefresh, refresh, access["ES256"], []keyring.Algorithm{keyring.HS256, keyring.ES256, keyring.RS256, keyring.EdDSA},
		asks(d.refresh, func(h http.Handler, log *attack.Log) attack.Place {
			return attack.RefreshPlace(h, log, oauth.PathRefresh, "shop")
		}),
		asks(d.token, func(h http.Handler, log *attack.Log) attack.Place {
			return attack.RefreshPlace(h, log, oauth.PathToken, "shop")
		}),
		ends,
	)
	if n := strayed.Load(); n > 0 {
		t.Errorf("%d requests to where a token said that its keys are", n)
	}
	basic := func(id, secret string) string { return base64.StdEncoding.EncodeToString([]byte(id + ":" + secret)) }
	d.scanLogs(shop, api, basic("shop", shop), basic("api", api))
}

// ring adds to a ring, in which one key signs, a key of each other algorithm that verifies, one that is retired and one that is
// to be revoked. It returns all by algorithm or state, and one that is in no ring.
func (d *deployment) ring(use keyring.Use) map[string]attack.Key {
	d.t.Helper()
	secret := map[keyring.Use]string{keyring.UseAccess: "ACCESS_KEYS_SECRET", keyring.UseRefresh: "REFRESH_KEYS_SECRET"}[use]
	vault := secretkeys.New(secretsmanager.NewFromConfig(testenv.AWSConfig(d.aws.Endpoint)), d.env[secret], use)
	document, revision, err := vault.Read(d.t.Context())
	d.must(err)
	signs := document.Keys[0]
	keys := map[string]attack.Key{string(signs.Algorithm): attack.NewKey(d.t, signs)}
	generate := func(name string, alg keyring.Algorithm) keyring.Key {
		k, err := keyring.Generate(alg, d.now().Add(-time.Hour))
		d.must(err)
		keys[name] = attack.NewKey(d.t, k)
		return k
	}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		if alg != signs.Algorithm {
			document.Keys = append(document.Keys, generate(string(alg), alg))
		}
	}
	retired := generate("retired", signs.Algorithm)
	retired.VerifyUntil = d.now().Unix() - 60
	document.Keys = append(document.Keys, retired, generate("revoked", signs.Algorithm))
	generate("foreign", keyring.ES256)
	d.must(vault.Replace(d.t.Context(), document, revision))
	return keys
}

// heard is a function whose logs are read as it writes them.
type heard struct {
	function *lambdatest.Function
	seen     int
	last     string // since it was asked the time before
	log      attack.Log
}

func (h *heard) listen() string {
	all := h.function.Logs()
	h.last, h.seen = all[h.seen:], len(all)
	return h.last
}

// endpoint passes requests on to API Gateway, what the function logs to the log, and holds the answers to what holds for all.
func (h *heard) endpoint(d *deployment) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := w.(*httptest.ResponseRecorder)
		d.http.ServeHTTP(rec, r)
		attack.Judge(d.t, r, rec.Code, rec.Header(), rec.Body.Bytes())
		if rec.Code >= 500 {
			d.t.Errorf("%s answers %d %s", r.URL.Path, rec.Code, rec.Body)
		}
		_, err := h.log.Write([]byte(h.listen()))
		d.must(err)
	})
}

// discreet is the place, which may neither log nor answer what it was shown.
func (h *heard) discreet(p attack.Place) attack.Place {
	judge := p.Judge
	p.Judge = func(t testing.TB, raw string) attack.Verdict {
		v := judge(t, raw)
		var shown attack.Secrets
		shown.Add("a token", raw)
		if what := shown.Find(h.last + v.Said); what != "" {
			t.Errorf("%s gives away %s: %s %s", p.Name, what, h.last, v.Said)
		}
		return v
	}
	return p
}

// authorizers are the authorizer by its kinds of events.
func (d *deployment) authorizers() []attack.Place {
	d.t.Helper()
	h := &heard{function: d.authorizer}
	invoke := func(ctx context.Context, payload []byte) ([]byte, error) {
		out, err := d.authorizer.Invoke(ctx, payload)
		var failed *lambdatest.FunctionError
		if errors.As(err, &failed) && failed.Message == authorizer.ErrUnauthorized.Error() {
			err = authorizer.ErrUnauthorized
		}
		return out, err
	}
	places := attack.AuthorizerPlaces(d.t, invoke, h.listen, "../../events", false)
	for i, p := range places {
		places[i] = h.discreet(p)
	}
	return places
}
