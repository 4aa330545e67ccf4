package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// A move to another domain by the built functions, in the steps of docs/move-domain.md: no token that is out ends by it, what is
// made carries the name of then, and at last the old name is dropped.
func TestMoveDomain(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	secret, single := d.register(client.Spec{ID: "shop"}), d.register(client.Spec{ID: "cart", RefreshMode: token.ModeRotating})
	api := d.register(client.Spec{ID: "api", Introspects: []string{audience}})
	old, moved := d.issuer, "https://auth.example.org"
	// As in the template: whatever the issuer is called, both are read at the API's own address.
	d.env["JWKS_URL"], d.env["REVOCATIONS_URL"] = old+oauth.PathJWKS, old+revocation.PathFeed
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	says := func(raw string) (c struct{ Iss string }) {
		t.Helper()
		data, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
		d.must(err)
		d.must(json.Unmarshal(data, &c))
		return c
	}
	active := func(access string) bool {
		t.Helper()
		r := d.post(d.introspect, oauth.PathIntrospect, url.Values{"token": {access}}, basic("api", api))
		return r.Status == 200 && strings.Contains(r.Body, `"active":true`)
	}

	first := d.signIn("shop", secret)
	held, cart := first.field("refresh_token"), d.signIn("cart", single).field("refresh_token")
	out := []string{first.field("access_token")} // all access tokens of shop
	step := func(issuer, others string) {
		t.Helper()
		d.env["ISSUER"], d.env["ACCEPTED_ISSUERS"] = issuer, others
		d.startVerifiers()
		d.startRevoke()
		d.gateways()
	}
	for _, s := range [][2]string{{old, moved}, {moved, old}} {
		step(s[0], s[1])
		signedIn, renewed := d.signIn("shop", secret), d.renew("shop", held)
		rotated := d.post(d.token, oauth.PathToken, url.Values{"grant_type": {"refresh_token"}, "client_id": {"cart"}, "refresh_token": {cart}}, "")
		for _, r := range []reply{signedIn, renewed, rotated} {
			if r.Status != 200 || says(r.field("access_token")).Iss != s[0] {
				t.Fatalf("as %s: %d %s", s[0], r.Status, r.Body)
			}
		}
		if cart = rotated.field("refresh_token"); says(cart).Iss != s[0] {
			t.Errorf("as %s, the successor of a rotating token is of %s", s[0], says(cart).Iss)
		}
		out = append(out, signedIn.field("access_token"), renewed.field("access_token"))
		for _, access := range out {
			d.whoamiIs(200, access, scope)
			if !active(access) {
				t.Errorf("as %s, a token of %s is not active", s[0], says(access).Iss)
			}
		}
	}

	// The client ends what it got under the old name.
	for _, what := range []string{out[0], held} {
		if r := d.post(d.revoke, oauth.PathRevoke, url.Values{"token": {what}}, basic("shop", secret)); r.Status != 200 {
			t.Fatalf("revoking: %d %s", r.Status, r.Body)
		}
	}
	d.pass(31 * time.Second)
	d.whoamiIs(401, out[0], "")
	if r := d.renew("shop", held); r.field("error") != string(oauth.InvalidGrant) {
		t.Errorf("its grant was revoked: %d %s", r.Status, r.Body)
	}
	d.whoamiIs(200, out[1], scope) // of the old name, and of another grant

	step(moved, "")
	d.whoamiIs(401, out[1], "")
	d.whoamiIs(200, out[3], scope)
	if active(out[1]) || !active(out[3]) {
		t.Error("introspection does not go by the name that is left")
	}
}
