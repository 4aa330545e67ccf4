package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// modes are the template's choices that differ in what signs.
var modes = map[string]mode{
	"Secrets Manager, ES256":              {"secretsmanager", "secretsmanager", "ES256"},
	"Secrets Manager, EdDSA":              {"secretsmanager", "secretsmanager", "EdDSA"},
	"Secrets Manager, RS256":              {"secretsmanager", "secretsmanager", "RS256"},
	"access keys in KMS, ES256":           {"kms", "secretsmanager", "ES256"},
	"access keys in KMS, RS256":           {"kms", "secretsmanager", "RS256"},
	"access and refresh keys in KMS":      {"kms", "kms", "ES256"},
	"refresh keys in KMS, access at hand": {"secretsmanager", "kms", "ES256"},
}

// The whole flow, over HTTPS through API Gateway's stand-in, in each key mode.
func TestFlow(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, m)
			secret := d.register(client.Spec{ID: "shop"})

			// 1. Initial authentication.
			first := d.call("POST", oauth.PathToken, url.Values{"grant_type": {"client_credentials"}, "client_id": {"shop"}, "client_secret": {secret}}, "")
			first.is(200)
			held := first.field("refresh_token")
			// 2. Accessing resources.
			d.whoamiIs(200, first.field("access_token"), scope)
			d.whoamiIs(401, "", "")
			// 3. Refresh, without the secret. 4. Less scope, then more again.
			for _, ask := range []string{"orders:read", scope} {
				renewed := d.call("POST", oauth.PathRefresh, url.Values{
					"grant_type": {"refresh_token"}, "client_id": {"shop"}, "refresh_token": {held}, "scope": {ask},
				}, "")
				renewed.is(200)
				d.whoamiIs(200, renewed.field("access_token"), ask)
			}
			beyond := d.call("POST", oauth.PathRefresh, url.Values{
				"grant_type": {"refresh_token"}, "client_id": {"shop"}, "refresh_token": {held}, "scope": {"admin"},
			}, "")
			if beyond.is(400); beyond.field("error") != "invalid_scope" {
				t.Errorf("beyond the grant: %s", beyond.body)
			}
			// Altered, of the other kind, or past its time.
			d.whoamiIs(401, first.field("access_token")[:len(first.field("access_token"))-4]+"AAAA", "")
			d.whoamiIs(401, held, "")
			d.pass(15*time.Minute + 2*token.Leeway)
			d.whoamiIs(401, first.field("access_token"), "")

			// What is not served is told by the functions, and HEAD is.
			for request, status := range map[string]int{
				"GET " + oauth.PathToken: 405, "HEAD " + oauth.PathRefresh: 405, "PUT " + oauth.PathRevoke: 405, "GET " + oauth.PathIntrospect: 405,
				"HEAD " + oauth.PathMetadata: 200, "HEAD " + oauth.PathJWKS: 200, "POST " + oauth.PathJWKS: 405, "HEAD " + revocation.PathFeed: 200,
			} {
				method, path, _ := strings.Cut(request, " ")
				a := d.call(method, path, nil, "")
				if a.status != status || (a.header.Get("Allow") != "") != (status == 405) {
					t.Errorf("%s: %d, Allow %q, want %d", request, a.status, a.header.Get("Allow"), status)
				}
			}

			d.scanLogs(secret, held, first.field("access_token"))
		})
	}
}

// answer is what came back over HTTPS.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

func (a answer) is(status int) {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("got %d %s, want %d", a.status, a.body, status)
	}
}

func (a answer) field(name string) string { return reply{Body: a.body}.field(name) }

// call sends a request to the APIs.
func (d *deployment) call(method, path string, form url.Values, bearer string) answer {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.issuer+path, strings.NewReader(form.Encode()))
	d.must(err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := d.front.Client().Do(r)
	d.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	d.must(err)
	if !d.unjudged {
		attack.Judge(d.t, r, res.StatusCode, res.Header, body)
	}
	return answer{d.t, res.StatusCode, res.Header, string(body)}
}

// whoamiIs asks the protected resource and checks what the backend saw.
func (d *deployment) whoamiIs(status int, accessToken, scope string) {
	d.t.Helper()
	a := d.call("GET", "/whoami", nil, accessToken)
	if a.status != status {
		d.t.Errorf("/whoami: %d %s, want %d\n%s", a.status, a.body, status, d.authorizer.Logs())
		return
	}
	if status == 200 && (a.field("client_id") != "shop" || a.field("scope") != scope) {
		d.t.Errorf("/whoami: %s, want scope %s", a.body, scope)
	}
	if status == 200 && a.header.Get("Access-Control-Allow-Origin") != "*" {
		d.t.Errorf("/whoami: a page of another origin can't read its answer")
	}
	if status == 401 && a.header.Get("Www-Authenticate") != "Bearer" {
		d.t.Errorf("/whoami: a 401 with WWW-Authenticate %q", a.header.Get("Www-Authenticate"))
	}
}

// functions are all of them by name.
func (d *deployment) functions() map[string]*lambdatest.Function {
	return map[string]*lambdatest.Function{
		"token": d.token, "refresh": d.refresh, "revoke": d.revoke, "introspect": d.introspect, "authorizer": d.authorizer, "discovery": d.discovery, "rotate": d.rotate, "whoami": d.whoami,
	}
}

// scanLogs looks for what must not be in any log, and for lines that are not JSON.
func (d *deployment) scanLogs(secrets ...string) {
	d.t.Helper()
	for name, f := range d.functions() {
		for line := range strings.Lines(f.Logs()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil || m["event"] == nil {
				d.t.Errorf("%s logged a line that is not an outcome: %s", name, line)
			}
			for _, s := range secrets {
				if strings.Contains(line, s) {
					d.t.Errorf("%s logged a secret: %s", name, line)
				}
			}
		}
	}
}

// What CloudFormation tells rotate on update and delete leaves the keys as they are.
func TestKeysOutliveUpdateAndDelete(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	before := d.call("GET", oauth.PathJWKS, nil, "").body
	first := d.customResource("Create")
	for _, kind := range []string{"Update", "Delete", "Create"} {
		answer := d.customResource(kind)
		if kind != "Delete" && answer["PhysicalResourceId"] != first["PhysicalResourceId"] {
			// Another id would have CloudFormation delete the one before.
			t.Errorf("%s: the physical id changed from %v to %v", kind, first["PhysicalResourceId"], answer["PhysicalResourceId"])
		}
	}
	d.pass(time.Hour)
	if after := d.call("GET", oauth.PathJWKS, nil, "").body; after != before {
		t.Errorf("the JWKS was %s, is %s", before, after)
	}
}

// A cold authorizer that can't read the keys says 500, never 401; with the JWKS in its environment it needs
// no network for them.
func TestAuthorizerColdStart(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	secret := d.register(client.Spec{ID: "shop"})
	access := d.signIn("shop", secret).field("access_token")
	jwks := d.call("GET", oauth.PathJWKS, nil, "").body
	env := map[string]string{
		"ISSUER": d.issuer, "AUDIENCE": audience, "JWKS_URL": "https://127.0.0.1:1/jwks.json", "SSL_CERT_FILE": d.env["SSL_CERT_FILE"], "AWS_REGION": "us-east-1", "LATCHKEY_TEST_CLOCK": d.clock,
	}
	d.authorizer = d.start("authorizer", env, "ISSUER", "AUDIENCE", "JWKS_URL")
	d.gateways()
	if a := d.call("GET", "/whoami", nil, access); a.status != 500 {
		t.Errorf("keys out of reach: %d %s", a.status, a.body)
	}
	env["JWKS"] = jwks
	d.authorizer = d.start("authorizer", env, "ISSUER", "AUDIENCE", "JWKS_URL", "JWKS")
	d.gateways()
	d.whoamiIs(200, access, scope)
}

// golang.org/x/oauth2 works unchanged: sign-in, and a TokenSource that refreshes.
func TestXOAuth2(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	secret := d.register(client.Spec{ID: "shop"})
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, d.front.Client())

	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		cc := clientcredentials.Config{ClientID: "shop", ClientSecret: secret, TokenURL: d.issuer + oauth.PathToken, Scopes: []string{"orders:read"}, AuthStyle: style}
		signedIn, err := cc.Token(ctx)
		if err != nil {
			t.Fatalf("style %d: %v", style, err)
		}
		d.whoamiIs(200, signedIn.AccessToken, "orders:read")
		if signedIn.RefreshToken == "" || signedIn.Expiry.IsZero() {
			t.Fatalf("style %d: %+v", style, signedIn)
		}

		config := oauth2.Config{ClientID: "shop", ClientSecret: secret, Endpoint: oauth2.Endpoint{TokenURL: d.issuer + oauth.PathToken, AuthStyle: style}}
		expired := *signedIn
		expired.Expiry = time.Now().Add(-time.Minute)
		source := config.TokenSource(ctx, &expired)
		renewed, err := source.Token()
		if err != nil {
			t.Fatalf("style %d: %v", style, err)
		}
		if renewed.AccessToken == signedIn.AccessToken || renewed.RefreshToken != signedIn.RefreshToken {
			t.Errorf("style %d: got %+v", style, renewed)
		}
		d.whoamiIs(200, renewed.AccessToken, "orders:read")
	}

	// Without the secret, at the endpoint that takes none.
	cc := clientcredentials.Config{ClientID: "shop", ClientSecret: secret, TokenURL: d.issuer + oauth.PathToken}
	signedIn, err := cc.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	public := oauth2.Config{ClientID: "shop", Endpoint: oauth2.Endpoint{TokenURL: d.issuer + oauth.PathRefresh, AuthStyle: oauth2.AuthStyleInParams}}
	renewed, err := public.TokenSource(ctx, &oauth2.Token{RefreshToken: signedIn.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	d.whoamiIs(200, renewed.AccessToken, scope)

	// A wrong secret is told in the terms that the client library knows.
	cc.ClientSecret, _ = client.NewSecret(time.Now())
	_, err = cc.Token(ctx)
	if e, ok := err.(*oauth2.RetrieveError); !ok || e.ErrorCode != "invalid_client" {
		t.Errorf("a wrong secret: %v", err)
	}
}

// An independent library verifies our tokens with what is published, and nothing else.
func TestIndependentVerification(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, m)
			secret := d.register(client.Spec{ID: "shop"})
			raw := d.signIn("shop", secret).field("access_token")

			var metadata struct {
				Issuer  string `json:"issuer"`
				JWKSURI string `json:"jwks_uri"`
			}
			d.must(json.Unmarshal([]byte(d.call("GET", oauth.PathOpenIDConfiguration, nil, "").body), &metadata))
			var set jose.JSONWebKeySet
			d.must(json.Unmarshal([]byte(d.call("GET", strings.TrimPrefix(metadata.JWKSURI, metadata.Issuer), nil, "").body), &set))

			parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(m.algorithm)})
			d.must(err)
			var claims jwt.Claims
			d.must(parsed.Claims(&set, &claims))
			d.must(claims.Validate(jwt.Expected{Issuer: metadata.Issuer, AnyAudience: jwt.Audience{audience}, Subject: "shop", Time: time.Now()}))
			if typ := parsed.Headers[0].ExtraHeaders[jose.HeaderType]; typ != "at+jwt" {
				t.Errorf("typ %v", typ)
			}
			if err := parsed.Claims(&jose.JSONWebKeySet{}, &claims); err == nil {
				t.Error("it verifies without a key: the check means nothing")
			}
		})
	}
}

// What the metadata promises is what the endpoints do, and the other way round.
func TestMetadataIsTrue(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	var metadata oauth.Metadata
	d.must(json.Unmarshal([]byte(d.call("GET", oauth.PathMetadata, nil, "").body), &metadata))
	path := strings.TrimPrefix(metadata.TokenEndpoint, metadata.Issuer)
	for _, grantType := range append(metadata.GrantTypes, "implicit", "authorization_code") {
		a := d.call("POST", path, url.Values{"grant_type": {grantType}}, "")
		served := a.field("error") != "unsupported_grant_type"
		promised := slices.Contains(metadata.GrantTypes, grantType)
		if served != promised {
			t.Errorf("%s: promised %v, served %v", grantType, promised, served)
		}
	}
	if a := d.call("GET", oauth.PathOpenIDConfiguration, nil, ""); a.body != d.call("GET", oauth.PathMetadata, nil, "").body {
		t.Error("the two documents differ")
	}
	refresh := strings.TrimPrefix(metadata.LatchkeyRefresh, metadata.Issuer)
	if a := d.call("POST", refresh, url.Values{"grant_type": {"refresh_token"}}, ""); a.field("error") != "invalid_request" {
		t.Errorf("the refresh endpoint: %d %s", a.status, a.body)
	}
}

// Deployed binaries, and the tool, have no clock that can be moved: that code is under a build tag which only these tests set.
func TestDeployedBinariesHaveNoTestClock(t *testing.T) {
	for _, name := range []string{
		"functions/token", "functions/refresh", "functions/revoke", "functions/introspect", "functions/authorizer", "functions/discovery",
		"functions/rotate", "functions/whoami", "cmd/latchkey",
	} {
		for _, tags := range [][]string{nil, {"testclock"}} {
			binary, err := os.ReadFile(lambdatest.Build(t, "../../"+name, tags...))
			if err != nil {
				t.Fatal(err)
			}
			if has := strings.Contains(string(binary), "LATCHKEY_TEST_CLOCK"); has != (tags != nil) {
				t.Errorf("%s, tags %v: has the test clock: %v", name, tags, has)
			}
		}
	}
}
