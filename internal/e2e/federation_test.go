package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

const idp = "https://accounts.example.com"

// assertionKey is a key with its JWKS.
func assertionKey(t *testing.T) (*ecdsa.PrivateKey, assertion.KeySource) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	set, err := assertion.ParseKeys([]byte(fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))))
	if err != nil {
		t.Fatal(err)
	}
	return key, set
}

// asserts signs an assertion of now; claims are added.
func (d *deployment) asserts(key *ecdsa.PrivateKey, iss, sub, aud string, claims map[string]any) string {
	d.t.Helper()
	now := d.now().Unix()
	all := jwt.MapClaims{"iss": iss, "sub": sub, "aud": aud, "iat": now, "exp": now + 120, "jti": rand.Text()}
	for name, value := range claims {
		all[name] = value
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, all)
	t.Header["kid"] = "1"
	raw, err := t.SignedString(key)
	d.must(err)
	return raw
}

// Another issuer's word, and clients that share no secret, through the built functions.
func TestFederation(t *testing.T) {
	d := deploy(t, secretsManager)
	key, set := assertionKey(t)
	trusted := issuer.Record{URL: idp, Keys: set, Audiences: []string{"latchkey"}, Algorithms: []string{"ES256"}, Scopes: oauth.Scope{"orders:read"}}
	_, err := d.issuers.Add(t.Context(), trusted)
	d.must(err)
	secret := d.register(client.Spec{ID: "shop", Grants: []string{oauth.GrantJWTBearer, oauth.GrantRefreshToken}, AssertionIssuers: []string{idp}})
	own, ownSet := assertionKey(t)
	d.register(client.Spec{ID: "batch", Keys: ownSet, NoSecret: true})
	d.register(client.Spec{ID: "job", Identities: []client.Identity{{Issuer: idp, Claims: map[string]string{"repository_id": "74"}}}, NoSecret: true})

	bearer := func(raw string) answer {
		t.Helper()
		return d.call("POST", oauth.PathToken, url.Values{
			"grant_type": {oauth.GrantJWTBearer}, "client_id": {"shop"}, "client_secret": {secret}, "assertion": {raw},
		}, "")
	}
	signIn := func(id, raw string) answer {
		t.Helper()
		return d.call("POST", oauth.PathToken, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {id}, "client_assertion": {raw}, "client_assertion_type": {oauth.AssertionType},
		}, "")
	}
	word := d.asserts(key, idp, "somebody", "latchkey", nil)
	first := bearer(word)
	first.is(200)
	d.whoamiIs(200, first.field("access_token"), "orders:read")
	if a := d.call("GET", "/whoami", nil, first.field("access_token")); a.field("sub") != issuer.Subject(idp, "somebody") {
		t.Errorf("the backend is told %s", a.body)
	}
	mine := d.asserts(own, "batch", "batch", d.issuer, nil)
	signIn("batch", mine).is(200)
	job := signIn("job", d.asserts(key, idp, "repo:a/b", "latchkey", map[string]any{"repository_id": "74"}))
	job.is(200)
	// In another sandbox as well, each assertion has had its use.
	d.startVerifiers()
	d.gateways()
	if a := bearer(word); a.status != 400 || a.field("error") != "invalid_grant" {
		t.Errorf("a replay: %d %s", a.status, a.body)
	}
	if a := signIn("batch", mine); a.status != 401 || a.field("error") != "invalid_client" {
		t.Errorf("a replay of a client's: %d %s", a.status, a.body)
	}
	if a := signIn("job", d.asserts(key, idp, "repo:a/c", "latchkey", map[string]any{"repository_id": "75"})); a.status != 401 {
		t.Errorf("another repository: %d %s", a.status, a.body)
	}
	if a := bearer(d.asserts(own, idp, "somebody", "latchkey", nil)); a.field("error") != "invalid_grant" {
		t.Errorf("another key: %d %s", a.status, a.body)
	}

	// Trusted no more: what rests on its word ends, a job's grant too.
	d.must(d.issuers.Remove(t.Context(), idp))
	d.pass(bound)
	d.answersAre("the issuer is removed", "shop", first.field("access_token"), first.field("refresh_token"), 401, 400)
	d.answersAre("the issuer is removed", "job", job.field("access_token"), job.field("refresh_token"), 401, 400)
	if a := bearer(d.asserts(key, idp, "somebody", "latchkey", nil)); a.field("error") != "invalid_grant" {
		t.Errorf("after its removal: %d %s", a.status, a.body)
	}
	d.scanLogs(secret, word, mine, first.field("access_token"), first.field("refresh_token"))
}

// Keys that are said to be within our own network are never asked for, and that is an outage.
func TestFederationReachesNothing(t *testing.T) {
	d := deploy(t, secretsManager)
	key, _ := assertionKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	d.must(err)
	defer l.Close()
	reached := make(chan struct{}, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			_ = c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	d.must(err)
	for i, uri := range []string{"https://127.0.0.1:" + port, "https://localhost:" + port, "https://[::ffff:127.0.0.1]:" + port, "http://127.0.0.1:" + port, "https://169.254.169.254/latest/"} {
		iss := fmt.Sprintf("https://%d.example.com", i)
		_, err := d.issuers.Add(t.Context(), issuer.Record{URL: iss, Keys: assertion.KeySource(uri), Audiences: []string{"latchkey"}, Algorithms: []string{"ES256"}})
		d.must(err)
		id := fmt.Sprintf("shop-%d", i)
		secret := d.register(client.Spec{ID: id, Grants: []string{oauth.GrantJWTBearer}, AssertionIssuers: []string{iss}})
		start := time.Now()
		a := d.call("POST", oauth.PathToken, url.Values{
			"grant_type": {oauth.GrantJWTBearer}, "client_id": {id}, "client_secret": {secret}, "assertion": {d.asserts(key, iss, "x", "latchkey", nil)},
		}, "")
		if a.status != 503 || a.field("error") != "temporarily_unavailable" || time.Since(start) > 5*time.Second {
			t.Errorf("%s: %d %s", uri, a.status, a.body)
		}
	}
	if len(reached) != 0 {
		t.Errorf("%d connections were made", len(reached))
	}
	if logs := d.token.Logs(); strings.Count(logs, "not one of the public internet") < 4 || !strings.Contains(logs, "only https") {
		t.Errorf("the log does not say why:\n%s", logs)
	}
}
