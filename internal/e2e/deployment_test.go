// Package e2e runs the functions as Lambda does: the built binaries on the Runtime API, frozen between invocations, with
// API Gateway in front and AWS behind, as far as those can be had on one machine.
package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

const (
	audience = "https://orders.example.com"
	scope    = "orders:read orders:write"

	authorizerTTL = 10 * time.Second // as in the template
)

// deployment is a stack as the template makes it.
type deployment struct {
	t        *testing.T
	aws      *testenv.CountingProxy // in front of the AWS emulator, for all functions but discovery
	feedAWS  *testenv.CountingProxy // the same for discovery, which works while others only wait for it
	front    *httptest.Server       // both APIs
	http     http.Handler           // the HTTP API: token, refresh, discovery
	rest     http.Handler           // the REST API: /whoami behind the authorizer
	issuer   string
	clients  client.Registry
	users    user.Registry
	issuers  issuer.Registry
	log      *dynamostore.RevocationStore // operators revoke through it
	feed     feed
	unjudged bool // answers are not held to what they must be: a function is about to die
	// spoil decides which requests for the JWKS and the feed fail, and how; nil: none.
	spoil atomic.Pointer[func(path string) (testenv.Fault, bool)]

	token, refresh, revoke, introspect, authorizer, discovery, rotate, whoami *lambdatest.Function

	env     map[string]string   // of all functions; each gets its own variables
	clock   string              // the file that the functions' clock is moved by
	moved   time.Duration       // by so much
	answers chan map[string]any // what custom resources told CloudFormation
}

// mode is a choice of the template's parameters.
type mode struct {
	accessKeys, refreshKeys string // secretsmanager or kms
	algorithm               string
}

// feed is what stands between the functions and the revocation feed.
type feed struct {
	down   atomic.Bool // it answers 503
	polls  atomic.Int64
	bytes  atomic.Int64
	source atomic.Pointer[revocation.Feed] // serves instead of discovery, if there is one
}

// deploy makes tables and secrets, starts the functions and has rotate make the first keys.
func deploy(t *testing.T, m mode) *deployment { return deployWith(t, m, nil) }

// deployWith is deploy with some variables of the functions set otherwise.
func deployWith(t *testing.T, m mode, set map[string]string) *deployment {
	t.Helper()
	d := &deployment{t: t, clock: filepath.Join(t.TempDir(), "clock"), answers: make(chan map[string]any, 10)}
	moto := testenv.Moto(t).Endpoint
	d.aws, d.feedAWS = testenv.Proxy(t, moto), testenv.Proxy(t, moto)
	cfg := testenv.AWSConfig(d.aws.Endpoint)

	tables := dynamostore.Tables{Clients: "clients", Keys: "keys", Revocations: "revocations"}
	db := dynamodb.NewFromConfig(cfg)
	d.must(dynamostore.CreateTables(t.Context(), db, tables))
	d.must(dynamostore.CreateGrantsTable(t.Context(), db, "grants"))
	d.must(dynamostore.CreateUserTables(t.Context(), db, "users", "signins"))
	d.must(dynamostore.CreateIssuerTables(t.Context(), db, "issuers", "assertions"))
	store, err := dynamostore.New(db, tables)
	d.must(err)
	d.log = store.RevocationStore
	d.log.Now = d.now
	d.clients = client.Registry{Store: store, Revocations: d.log, Now: d.now}
	users, err := dynamostore.NewUsers(db, "users")
	d.must(err)
	d.users = user.Registry{Store: users, Revocations: d.log, Now: d.now}
	issuers, err := dynamostore.NewIssuers(db, "issuers")
	d.must(err)
	d.issuers = issuer.Registry{Store: issuers, Revocations: d.log, Now: d.now}
	secrets := secretsmanager.NewFromConfig(cfg)
	secret := func(name string) string {
		out, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name})
		d.must(err)
		return *out.ARN
	}

	_, err = secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("signin-key"), SecretString: aws.String("as Secrets Manager makes one up"),
	})
	d.must(err)

	d.front = httptest.NewTLSServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.front.Close)
	d.issuer = d.front.URL
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	d.must(os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.front.Certificate().Raw}), 0o600))

	env := map[string]string{
		"ISSUER": d.issuer, "AUDIENCE": audience, "CLIENTS_TABLE": tables.Clients, "KEYS_TABLE": tables.Keys,
		"ACCESS_KEYS_SECRET": secret("access"), "REFRESH_KEYS_SECRET": secret("refresh"),
		"ACCESS_KEY_MODE": m.accessKeys, "REFRESH_KEY_MODE": m.refreshKeys, "ACCESS_KEY_ALGORITHM": m.algorithm,
		"AWS_ENDPOINT_URL": d.aws.Endpoint, "AWS_REGION": testenv.Region,
		"SSL_CERT_FILE": certificate, "LATCHKEY_TEST_CLOCK": d.clock,
		// A view reads the log from as long ago as a grant may last, day by day, which takes the emulator its time.
		"MAX_GRANT_LIFETIME": "24h", "REVOCATIONS_TABLE": tables.Revocations, "GRANTS_TABLE": "grants",
		"USERS_TABLE": "users", "SIGNINS_TABLE": "signins", "SIGNIN_KEY_SECRET": "signin-key", "ISSUERS_TABLE": "issuers", "ASSERTIONS_TABLE": "assertions",
		"KMS_KEY_NAME": "stack", "CORS_ORIGIN": "*",
	}
	maps.Copy(env, set)
	d.env = env
	d.startVerifiers()
	d.startRevoke()
	discovery := maps.Clone(env)
	discovery["AWS_ENDPOINT_URL"] = d.feedAWS.Endpoint
	d.discovery = d.start("discovery", discovery, "ISSUER", "KEYS_TABLE", "REVOCATIONS_TABLE")
	d.rotate = d.start("rotate", env, "KEYS_TABLE", "REVOCATIONS_TABLE", "ACCESS_KEYS_SECRET", "REFRESH_KEYS_SECRET", "ACCESS_KEY_MODE", "REFRESH_KEY_MODE",
		"ACCESS_KEY_ALGORITHM", "KMS_KEY_NAME", "MAX_STALENESS")
	d.whoami = d.start("whoami", env, "CORS_ORIGIN")
	d.gateways()
	d.customResource("Create")
	return d
}

// startVerifiers starts the functions that verify tokens, once more if they run: in new sandboxes, with nothing in memory.
func (d *deployment) startVerifiers() {
	d.t.Helper()
	issuer := []string{"ISSUER", "ACCEPTED_ISSUERS"}
	keys := []string{"ACCESS_KEYS_SECRET", "REFRESH_KEYS_SECRET", "ACCESS_KEY_MODE", "REFRESH_KEY_MODE"}
	view := []string{"MAX_ACCESS_TOKEN_LIFETIME", "MAX_GRANT_LIFETIME", "REVOCATIONS_URL", "REVOCATIONS_POLL_INTERVAL", "MAX_STALENESS"}
	d.token = d.start("token", d.env, slices.Concat(issuer, keys, view, []string{
		"CLIENTS_TABLE", "USERS_TABLE", "SIGNINS_TABLE", "SIGNIN_KEY_SECRET", "ISSUERS_TABLE", "ASSERTIONS_TABLE", "GRANTS_TABLE", "REVOCATIONS_TABLE",
	})...)
	d.refresh = d.start("refresh", d.env, slices.Concat(issuer, keys, view)...)
	d.authorizer = d.start("authorizer", d.env, slices.Concat(issuer, view, []string{"AUDIENCE", "JWKS_URL", "STALE_REVOCATIONS"})...)
	d.introspect = d.start("introspect", d.env, slices.Concat(issuer, view, []string{"CLIENTS_TABLE", "KEYS_TABLE"})...)
}

func (d *deployment) startRevoke() {
	d.t.Helper()
	d.revoke = d.start("revoke", d.env, "ISSUER", "ACCEPTED_ISSUERS", "CLIENTS_TABLE", "KEYS_TABLE", "REVOCATIONS_TABLE", "REFRESH_KEYS_SECRET", "REFRESH_KEY_MODE")
}

// now is the functions' time.
func (d *deployment) now() time.Time { return time.Now().Add(d.moved) }

func (d *deployment) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// start starts a function with the variables named, and those that stand for Lambda's own.
func (d *deployment) start(name string, env map[string]string, names ...string) *lambdatest.Function {
	d.t.Helper()
	own := map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256"} // as in the template
	for _, n := range append(names, "AWS_ENDPOINT_URL", "AWS_REGION", "SSL_CERT_FILE", "LATCHKEY_TEST_CLOCK") {
		own[n] = env[n]
	}
	return lambdatest.Start(d.t, lambdatest.Config{
		Name: name, Binary: lambdatest.Build(d.t, "../../functions/"+name, "testclock"), Env: own, Timeout: 20 * time.Second,
	})
}

// pass moves the functions' clock.
func (d *deployment) pass(by time.Duration) {
	d.t.Helper()
	d.moved += by
	// Written whole or not at all: a function may be reading it.
	d.must(os.WriteFile(d.clock+".new", []byte(d.moved.String()), 0o600))
	d.must(os.Rename(d.clock+".new", d.clock))
}

// serve is API Gateway, and what CloudFormation gives custom resources to answer to.
func (d *deployment) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", d.now().UTC().Format(http.TimeFormat))
	if r.Method == http.MethodPut && r.URL.Path == "/cloudformation" {
		var answer map[string]any
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err != nil {
			d.t.Errorf("CloudFormation was told %q: %v", body, err)
		}
		d.answers <- answer
		return
	}
	if choose := d.spoil.Load(); choose != nil && strings.HasPrefix(r.URL.Path, "/.well-known/") {
		if f, hit := (*choose)(r.URL.Path); hit {
			f.Serve(w, r, d.http)
			return
		}
	}
	switch r.URL.Path {
	case "/whoami":
		d.rest.ServeHTTP(w, r)
		return
	case revocation.PathFeed:
		d.feed.serve(w, r, d.http)
		return
	}
	d.http.ServeHTTP(w, r)
}

func (f *feed) serve(w http.ResponseWriter, r *http.Request, discovery http.Handler) {
	f.polls.Add(1)
	if f.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if source := f.source.Load(); source != nil {
		discovery = source
	}
	discovery.ServeHTTP(&countingWriter{w, &f.bytes}, r)
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// gateways puts API Gateway before the functions, with the template's routes.
func (d *deployment) gateways() {
	d.t.Helper()
	var err error
	d.http, err = gateway.New(gateway.API{Kind: gateway.HTTP, Now: d.now, Routes: []gateway.Route{
		{Method: "ANY", Path: oauth.PathToken, Function: d.token},
		{Method: "ANY", Path: oauth.PathRefresh, Function: d.refresh},
		{Method: "ANY", Path: oauth.PathRevoke, Function: d.revoke},
		{Method: "ANY", Path: oauth.PathIntrospect, Function: d.introspect},
		{Method: "ANY", Path: oauth.PathMetadata, Function: d.discovery},
		{Method: "ANY", Path: oauth.PathOpenIDConfiguration, Function: d.discovery},
		{Method: "ANY", Path: oauth.PathJWKS, Function: d.discovery},
		{Method: "ANY", Path: revocation.PathFeed, Function: d.discovery},
		{Method: "ANY", Path: oauth.PathOpenAPI, Function: d.discovery},
	}})
	d.must(err)
	d.rest, err = gateway.New(gateway.API{Kind: gateway.REST, Now: d.now, Routes: []gateway.Route{
		{Method: "GET", Path: "/whoami", Function: d.whoami, Authorizer: &gateway.Authorizer{
			Function: d.authorizer, Type: gateway.Request, TTL: authorizerTTL,
			IdentitySources: []string{"method.request.header.Authorization"},
		}},
	}})
	d.must(err)
}

// customResource has CloudFormation ask rotate, and returns what it answered.
func (d *deployment) customResource(kind string) map[string]any {
	d.t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(d.t), "events", "rotate-custom-resource-"+strings.ToLower(kind)+".json"))
	d.must(err)
	var event map[string]any
	d.must(json.Unmarshal(data, &event))
	event["ResponseURL"] = d.front.URL + "/cloudformation"
	payload, err := json.Marshal(event)
	d.must(err)
	if _, err := d.rotate.Invoke(d.t.Context(), payload); err != nil {
		d.t.Fatalf("rotate: %v\n%s", err, d.rotate.Logs())
	}
	answer := <-d.answers
	if answer["Status"] != "SUCCESS" {
		d.t.Fatalf("%s: CloudFormation was told %v\n%s", kind, answer, d.rotate.Logs())
	}
	return answer
}

// register makes a client as an operator does.
func (d *deployment) register(spec client.Spec) (secret string) {
	d.t.Helper()
	parsed, err := oauth.ParseScope(scope)
	d.must(err)
	spec.Scopes, spec.Audiences = parsed, []string{audience}
	_, secret, err = d.clients.Create(d.t.Context(), spec)
	d.must(err)
	return secret
}

// reply is an answer of a function to an HTTP event.
type reply struct {
	Status int    `json:"statusCode"`
	Body   string `json:"body"`
}

func (r reply) field(name string) string {
	var m map[string]any
	_ = json.Unmarshal([]byte(r.Body), &m)
	s, _ := m[name].(string)
	return s
}

// post invokes a function with an HTTP API event, without the gateway, which would only take time.
func (d *deployment) post(f *lambdatest.Function, path string, form url.Values, authorization string) reply {
	d.t.Helper()
	headers := map[string]string{"content-type": "application/x-www-form-urlencoded"}
	if authorization != "" {
		headers["authorization"] = authorization
	}
	payload, err := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "ANY " + path, "rawPath": path, "headers": headers,
		"requestContext":  map[string]any{"requestId": "r", "stage": "$default", "http": map[string]any{"method": "POST", "path": path, "sourceIp": "203.0.113.7"}},
		"body":            base64.StdEncoding.EncodeToString([]byte(form.Encode())),
		"isBase64Encoded": true,
	})
	d.must(err)
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	out, err := f.Invoke(ctx, payload)
	if err != nil {
		d.t.Fatalf("invoke: %v\n%s", err, f.Logs())
	}
	var r reply
	d.must(json.Unmarshal(out, &r))
	return r
}

func (d *deployment) signIn(id, secret string) reply {
	d.t.Helper()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	return d.post(d.token, oauth.PathToken, url.Values{"grant_type": {"client_credentials"}}, basic)
}

func (d *deployment) renew(id, refreshToken string) reply {
	d.t.Helper()
	return d.post(d.refresh, oauth.PathRefresh, url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "refresh_token": {refreshToken}}, "")
}
