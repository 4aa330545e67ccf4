package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/iameval"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// conformance is what API Gateway answers, by what the built authorizer has answered it: outcomes by kinds of API. 101 is a
// WebSocket's 200. HTTP APIs have no 401 but for a missing identity source, for which they don't ask an authorizer; here it is
// asked, as one without an identity source is.
const conformance = `
outcome           rest-token  rest-request  http-1.0  http-2.0  http-2.0-simple  websocket  reason
valid                    200           200       200       200              200        101  -
missing                  401           401       403       403              403        401  missing
another-scheme           401           401       403       403              403        401  scheme
malformed                401           401       403       403              403        401  malformed
altered                  401           401       403       403              403        401  signature
expired                  401           401       403       403              403        401  expired
foreign-issuer           401           401       403       403              403        401  issuer
wrong-audience           401           401       403       403              403        401  audience
a-refresh-token          401           401       403       403              403        401  type
revoked                  401           401       403       403              403        401  revoked
missing-scope            403           403       403       403              403        403  scope
unknown-api              403           403       403       403              403        403  unknown_api
unknown-stage            403           403       403       403              403        403  unknown_api
unnamed-route            403           403       403       403              403          -  route
keys-outage              500           500       500       500              500        500  -
feed-outage              500           500       500       500              500        500  -
stale-feed               500           500       500       500              500        500  -
`

// An API of each kind, as in the event samples, with the same rules. Other than GET /whoami, which is the samples' route,
// they are there to be got into with another one's answer.
var (
	conformanceRoutes = []routes.Route{
		{Method: "GET", Path: "/whoami", AllOf: []string{"profile"}},
		{Method: "GET", Path: "/orders", AnyOf: [][]string{{"orders:read"}, {"profile", "email"}}},
		{Method: "POST", Path: "/orders", AllOf: []string{"orders:write"}},
		{Method: "GET", Path: "/orders/all", AllOf: []string{"profile", "orders:read"}},
		{Method: "DELETE", Path: "/orders", AllOf: []string{"admin"}},
		{Method: "GET", Path: "/open"},
	}
	conformanceVariables = append(slices.Clone(conformanceRoutes),
		routes.Route{Method: "GET", Path: "/users/{id}", AllOf: []string{"profile"}},
		routes.Route{Method: "GET", Path: "/users/{id}/keys", AllOf: []string{"admin"}},
		routes.Route{Method: "ANY", Path: "/files/{name+}", AllOf: []string{"admin"}},
	)
	conformanceSocket = []routes.Route{{Path: "$connect", AllOf: []string{"profile"}}}
)

// site is an issuer's, as the authorizer sees it: keys, a feed and a clock.
type site struct {
	t                  *testing.T
	server             *httptest.Server
	certificate        string // file
	clock              string // file
	moved              time.Duration
	access, refresh    keyring.SigningKey
	keysDown, feedDown atomic.Bool
}

// revoked is a log of one entry.
type revoked struct{ revocation.Entry }

func (revoked) Append(context.Context, revocation.Entry) error     { return nil }
func (revoked) FeedID(context.Context) (string, error)             { return "feed-1", nil }
func (revoked) Always(context.Context) ([]revocation.Entry, error) { return nil, nil }
func (r revoked) Entries(_ context.Context, from, until time.Time, yield func(revocation.Entry) bool) error {
	if !r.At.Before(from) && r.At.Before(until) {
		yield(r.Entry)
	}
	return nil
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, certificate: filepath.Join(t.TempDir(), "ca.pem"), clock: filepath.Join(t.TempDir(), "clock")}
	var public *keyring.PublicDocument
	s.access, public = signingKey(t, keyring.UseAccess, keyring.ES256)
	s.refresh, _ = signingKey(t, keyring.UseRefresh, keyring.HS256)
	jwks, err := json.Marshal(public.JWKS(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	feed := revocation.NewFeed(revocation.FeedConfig{Source: revoked{revocation.Grant("g_revoked", time.Now())}, Now: s.now})
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == oauth.PathJWKS && !s.keysDown.Load():
			w.Header().Set("Content-Type", "application/json")
			w.Write(jwks)
		case r.URL.Path == revocation.PathFeed && !s.feedDown.Load():
			feed.ServeHTTP(w, r)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.server.Close)
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
	if err := os.WriteFile(s.certificate, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func signingKey(t *testing.T, use keyring.Use, alg keyring.Algorithm) (keyring.SigningKey, *keyring.PublicDocument) {
	t.Helper()
	k, err := keyring.Generate(alg, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{k}}
	key, err := keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return d, nil },
	}).SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if use == keyring.UseRefresh {
		return key, nil
	}
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func (s *site) now() time.Time { return time.Now().Add(s.moved) }

func (s *site) pass(by time.Duration) {
	s.t.Helper()
	s.moved += by
	if err := os.WriteFile(s.clock, []byte(s.moved.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// authorizer starts the built function, with the rules in a file.
func (s *site) authorizer(simple bool, rules *routes.Set) *lambdatest.Function {
	s.t.Helper()
	data, err := rules.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), "rules.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return lambdatest.Start(s.t, lambdatest.Config{
		Name: "authorizer", Binary: lambdatest.Build(s.t, "../../functions/authorizer", "testclock"), Env: map[string]string{
			"ISSUER": s.server.URL, "AUDIENCE": audience, "ROUTES_FILE": file, "SIMPLE_RESPONSES": fmt.Sprint(simple),
			"SSL_CERT_FILE": s.certificate, "LATCHKEY_TEST_CLOCK": s.clock,
		},
	})
}

// token signs the usual claims, as change leaves them.
func (s *site) token(change func(*token.Access)) string {
	s.t.Helper()
	a := &token.Access{
		Grant: token.Grant{
			GrantID: "g_1", ClientID: "shop", Subject: "shop", AuthTime: s.now(), Epochs: token.Epochs{{Handle: "h", N: 1}},
		},
		Issuer: s.server.URL, Audience: []string{audience}, IssuedAt: s.now(), ExpiresAt: s.now().Add(5 * time.Minute), ID: "t_1",
		Scope: oauth.Scope{"profile"},
	}
	if change != nil {
		change(a)
	}
	raw, err := a.Sign(s.t.Context(), s.access)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

func (s *site) refreshToken() string {
	s.t.Helper()
	r := &token.Refresh{
		Grant:  token.Grant{GrantID: "g_1", ClientID: "shop", Subject: "shop", AuthTime: s.now(), Epochs: token.Epochs{{Handle: "h", N: 1}}},
		Issuer: s.server.URL, IssuedAt: s.now(), ExpiresAt: s.now().Add(time.Hour), ID: "r_1", Scope: oauth.Scope{"profile"},
		Resources: []string{audience}, Mode: token.ModeBearer, GrantEnds: s.now().Add(time.Hour), AccessLifetime: time.Minute,
	}
	raw, err := r.Sign(s.t.Context(), s.refresh)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// kindOf is a kind of API with its event sample.
type kindOf struct{ name, sample string }

func (k kindOf) simple() bool { return k.name == "http-2.0-simple" }
func (k kindOf) http() bool   { return strings.HasPrefix(k.name, "http") }

var kinds = []kindOf{
	{"rest-token", "authorizer-rest-token.json"},
	{"rest-request", "authorizer-rest-request.json"},
	{"http-1.0", "authorizer-http-v1.json"},
	{"http-2.0", "authorizer-http-v2.json"},
	{"http-2.0-simple", "authorizer-http-v2.json"},
	{"websocket", "authorizer-websocket.json"},
}

// target is the route that a request is for, with a path of it.
type target struct{ method, template, path string }

var whoamiTarget = target{"GET", "/whoami", "/whoami"}

// event is the sample with another Authorization header and another route, its identity sources those that the form of the
// answer needs; and what it is for.
func (k kindOf) event(t *testing.T, form routes.Form, authorization string, at target) (payload []byte, arn string) {
	t.Helper()
	data, err := os.ReadFile("../../events/" + k.sample)
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	arnOf := func(name string) string {
		if k.name != "websocket" {
			e[name] = strings.Replace(e[name].(string), "GET/whoami", at.method+at.path, 1)
		}
		return e[name].(string)
	}
	sources := []any{authorization}
	if form == routes.FormRoute || k.simple() {
		sources = append(sources, at.method+" "+at.template)
	}
	switch k.name {
	case "http-2.0", "http-2.0-simple":
		arn = arnOf("routeArn")
		e["routeKey"], e["rawPath"], e["identitySource"] = at.method+" "+at.template, at.path, sources
		e["requestContext"].(map[string]any)["http"].(map[string]any)["method"] = at.method
	case "http-1.0":
		arn = arnOf("methodArn")
		joined := authorization
		if len(sources) == 2 {
			joined += "," + sources[1].(string)
		}
		e["identitySource"], e["authorizationToken"] = joined, joined
		e["resource"], e["path"], e["httpMethod"] = at.template, at.path, at.method
	case "rest-request":
		arn = arnOf("methodArn")
		e["resource"], e["path"], e["httpMethod"] = at.template, at.path, at.method
	default:
		arn = arnOf("methodArn")
	}
	if payload, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	const placeholder = `"Bearer example-access-token"`
	if authorization == "" {
		payload = bytes.ReplaceAll(payload, []byte(`"authorization":`+placeholder), []byte(`"x-none":"x"`))
		payload = bytes.ReplaceAll(payload, []byte(`"Authorization":`+placeholder), []byte(`"X-None":"x"`))
		payload = bytes.ReplaceAll(payload, []byte(`"Authorization":[`+placeholder+`]`), []byte(`"X-None":["x"]`))
		payload = bytes.ReplaceAll(payload, []byte(placeholder), []byte(`""`))
	}
	quoted, err := json.Marshal(authorization)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(payload, []byte(placeholder), quoted), arn
}

// answers is an authorizer's answer, as API Gateway takes it.
type answers struct {
	status int // 401 and 500; else it depends on the request
	simple *bool
	policy *iameval.Policy
	raw    []byte
}

func (k kindOf) read(t *testing.T, out []byte, err error) answers {
	t.Helper()
	if err != nil {
		e, ok := err.(*lambdatest.FunctionError)
		if !ok {
			t.Fatal(err)
		}
		if e.Message == "Unauthorized" && !k.http() {
			return answers{status: 401}
		}
		return answers{status: 500}
	}
	if len(out) > 8<<10 {
		t.Errorf("an answer of %d bytes", len(out))
	}
	var a struct {
		PrincipalID    string
		PolicyDocument json.RawMessage
		IsAuthorized   *bool
		Context        map[string]string
	}
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if k.simple() {
		if a.IsAuthorized == nil || a.PolicyDocument != nil {
			t.Fatalf("not a simple response: %s", out)
		}
		return answers{simple: a.IsAuthorized, raw: out}
	}
	p, err := iameval.Parse(a.PolicyDocument)
	if err != nil || a.PrincipalID == "" || a.IsAuthorized != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return answers{policy: p, raw: out}
}

// on is what API Gateway answers a request by it, now or from its cache.
func (a answers) on(k kindOf, arn string, now time.Time) int {
	allowed := 200
	if k.name == "websocket" {
		allowed = 101
	}
	switch {
	case a.status != 0:
		return a.status
	case a.simple != nil && *a.simple:
		return allowed
	case a.policy != nil && a.policy.Decide(iameval.Request{Action: "execute-api:Invoke", Resource: arn, Now: now}) == iameval.Allowed:
		return allowed
	}
	return 403
}

// reason is that of the last outcome in the function's log.
func reason(t *testing.T, f *lambdatest.Function) string {
	t.Helper()
	var last string
	for line := range strings.Lines(f.Logs()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("a line that is not JSON: %s", line)
		}
		if event, _ := m["event"].(string); strings.HasPrefix(event, "authorizer.") {
			last, _ = m["reason"].(string)
		}
	}
	return last
}

func conformanceRules(t *testing.T, form routes.Form) *routes.Set {
	t.Helper()
	list := conformanceRoutes
	if form == routes.FormRoute {
		list = conformanceVariables
	}
	set, err := routes.New([]routes.API{
		{ID: "f6g7h8i9j0", Stage: "prod", Complete: true, Routes: list},
		{ID: "a1b2c3d4e5", Stage: "$default", Complete: true, Routes: list},
		{ID: "w1x2y3z4a5", Stage: "prod", Routes: conformanceSocket},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := set.APIs[0].Form; got != form {
		t.Fatalf("the rules have form %s, want %s", got, form)
	}
	return set
}

// Every outcome for every kind of API, by the function as it is built for deployment.
func TestAuthorizerConformance(t *testing.T) {
	table := map[string]map[string]string{}
	var head []string
	for line := range strings.Lines(strings.TrimSpace(conformance)) {
		cells := strings.Fields(line)
		if head == nil {
			head = cells
			continue
		}
		table[cells[0]] = map[string]string{}
		for i, cell := range cells[1:] {
			table[cells[0]][head[i+1]] = cell
		}
	}
	for _, form := range []routes.Form{routes.FormToken, routes.FormRoute} {
		s := newSite(t)
		s.pass(0)
		rules := conformanceRules(t, form)
		warm := map[bool]*lambdatest.Function{false: s.authorizer(false, rules), true: s.authorizer(true, rules)}
		good := s.token(nil)
		tokens := map[string]string{
			"missing": "", "another-scheme": "Basic " + good, "malformed": "Bearer x.y.z", "altered": "Bearer " + good[:len(good)-4] + "AAAA",
			"expired": "Bearer " + s.token(func(a *token.Access) {
				a.AuthTime, a.IssuedAt, a.ExpiresAt = s.now().Add(-time.Hour), s.now().Add(-time.Hour), s.now().Add(-token.Leeway-time.Second)
			}),
			"foreign-issuer":  "Bearer " + s.token(func(a *token.Access) { a.Issuer = "https://id.example.org" }),
			"wrong-audience":  "Bearer " + s.token(func(a *token.Access) { a.Audience = []string{"https://api.example.org"} }),
			"a-refresh-token": "Bearer " + s.refreshToken(),
			"revoked":         "Bearer " + s.token(func(a *token.Access) { a.GrantID = "g_revoked" }),
			"missing-scope":   "Bearer " + s.token(func(a *token.Access) { a.Scope = oauth.Scope{"orders:read"} }),
		}
		invoke := func(f *lambdatest.Function, k kindOf, outcome string) {
			t.Helper()
			want, row := table[outcome][k.name], fmt.Sprintf("form %s, %s, %s", form, outcome, k.name)
			if want == "" {
				t.Fatalf("%s is not in the table", outcome)
			}
			if want == "-" {
				return
			}
			authorization, ok := tokens[outcome]
			if !ok {
				authorization = "Bearer " + good
			}
			at := whoamiTarget
			if outcome == "unnamed-route" {
				at = target{"GET", "/secret", "/secret"}
			}
			payload, arn := k.event(t, form, authorization, at)
			switch outcome {
			case "unknown-api":
				for _, id := range []string{"f6g7h8i9j0", "a1b2c3d4e5", "w1x2y3z4a5"} {
					payload, arn = bytes.ReplaceAll(payload, []byte(id), []byte("z9z9z9z9z9")), strings.ReplaceAll(arn, id, "z9z9z9z9z9")
				}
			case "unknown-stage":
				for _, stage := range []string{"f6g7h8i9j0/prod", "a1b2c3d4e5/$default", "w1x2y3z4a5/prod"} {
					other := stage[:11] + "test"
					payload, arn = bytes.ReplaceAll(payload, []byte(stage), []byte(other)), strings.ReplaceAll(arn, stage, other)
				}
			}
			out, err := f.Invoke(t.Context(), payload)
			a := k.read(t, out, err)
			wantReason := table[outcome]["reason"]
			if k.name == "rest-token" {
				// A TOKEN event does not say which route is asked for: what a list leaves out is denied by API Gateway alone, and an
				// answer about the route is not to be had.
				switch {
				case (outcome == "missing-scope" || outcome == "unnamed-route") && form == routes.FormToken:
					wantReason = "-"
				case form == routes.FormRoute && (outcome == "valid" || outcome == "missing-scope" || outcome == "unnamed-route"):
					want, wantReason = "403", "kind"
				}
			}
			if got := fmt.Sprint(a.on(k, arn, s.now())); got != want {
				t.Errorf("%s: %s, want %s: %s, %v", row, got, want, out, err)
			}
			got := reason(t, f)
			if got == "" {
				got = "-"
			}
			if got != wantReason {
				t.Errorf("%s: the log's reason is %s, want %s", row, got, wantReason)
			}
			for _, part := range strings.Split(authorization, ".") {
				if len(part) > 16 && (strings.Contains(f.Logs(), part) || bytes.Contains(out, []byte(part))) {
					t.Errorf("%s: a part of the token is in the log or the answer", row)
				}
			}
		}
		outages := []string{"keys-outage", "feed-outage", "stale-feed"}
		n := 0
		for _, k := range kinds {
			for outcome := range table {
				if !slices.Contains(outages, outcome) {
					invoke(warm[k.simple()], k, outcome)
					n++
				}
			}
		}
		for _, outcome := range outages {
			s.keysDown.Store(outcome == "keys-outage")
			s.feedDown.Store(outcome != "keys-outage")
			cold := map[bool]*lambdatest.Function{false: s.authorizer(false, rules), true: s.authorizer(true, rules)}
			if outcome == "stale-feed" {
				cold = warm // what they hold is too old
				s.pass(revocation.MaxStaleness + time.Second)
			}
			for _, k := range kinds {
				invoke(cold[k.simple()], k, outcome)
				n++
			}
		}
		t.Logf("form %s: %d cells", form, n)
	}
}

// An answer that API Gateway has kept, applied to every other route, and after the token's end.
func TestAuthorizerReplay(t *testing.T) {
	for _, form := range []routes.Form{routes.FormToken, routes.FormRoute} {
		s := newSite(t)
		s.pass(0)
		rules := conformanceRules(t, form)
		functions := map[bool]*lambdatest.Function{false: s.authorizer(false, rules), true: s.authorizer(true, rules)}
		var targets []target
		for i := range rules.APIs[0].Routes {
			r := &rules.APIs[0].Routes[i]
			method := strings.Replace(r.Method, "ANY", "PUT", 1)
			targets = append(targets, target{method, r.Path, strings.NewReplacer("{id}", "7", "{name+}", "a/b").Replace(r.Path)})
		}
		targets = append(targets, target{"GET", "/secret", "/secret"}, target{"GET", "/users/{id}", "/users/me"})
		for _, scope := range []string{"profile", "profile orders:read", "orders:write email", "admin", "none"} {
			raw := s.token(func(a *token.Access) { a.Scope = strings.Fields(scope) })
			for _, k := range kinds {
				if k.name == "websocket" || k.name == "rest-token" && form == routes.FormRoute {
					continue // one route; no answer
				}
				fresh := map[target]answers{}
				arns := map[target]string{}
				for _, at := range targets {
					payload, arn := k.event(t, form, "Bearer "+raw, at)
					out, err := functions[k.simple()].Invoke(t.Context(), payload)
					fresh[at], arns[at] = k.read(t, out, err), arn
				}
				for _, asked := range targets {
					for _, then := range targets {
						now := s.now()
						afresh := fresh[then].on(k, arns[then], now)
						rule := rules.APIs[0].Route(then.method, then.template)
						if should := map[bool]int{true: 200, false: 403}[rule != nil && rule.Allows(strings.Fields(scope))]; afresh != should {
							t.Errorf("form %s, %s, scope %q: %v is answered %d, want %d", form, k.name, scope, then, afresh, should)
						}
						if k.simple() && asked != then {
							continue // the route's key is in the cache's
						}
						kept := fresh[asked].on(k, arns[then], now)
						// One answer for all, or one for the route that stays shut for others.
						if kept != afresh && (form == routes.FormToken || kept != 403) {
							t.Errorf("form %s, %s, scope %q: the answer for %v says %d of %v, afresh it is %d", form, k.name, scope, asked, kept, then, afresh)
						}
						last, end := s.now().Add(4*time.Minute), s.now().Add(5*time.Minute+time.Second)
						if got := fresh[asked].on(k, arns[then], last); got != kept {
							t.Errorf("form %s, %s: before its end the answer for %v says %d of %v, before %d", form, k.name, asked, got, then, kept)
						}
						if got := fresh[asked].on(k, arns[then], end); got != 403 && !k.simple() {
							t.Errorf("form %s, %s: after the token's end the answer for %v says %d of %v", form, k.name, asked, got, then)
						}
					}
				}
			}
		}
	}
}
