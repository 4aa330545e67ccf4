package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/doctor"
	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
)

// ward is a deployment and what the doctor needs to look at it.
type ward struct {
	*deployment
	db      *dynamodb.Client
	secrets *secretsmanager.Client
}

// examination is the one that `latchkey doctor` makes for a deployment, without the wait.
func (w *ward) examination() *doctor.Examination {
	w.t.Helper()
	keys, err := dynamostore.NewKeys(w.db, "keys")
	w.must(err)
	e := &doctor.Examination{
		Issuer: w.issuer, API: w.issuer + "/whoami", Audience: audience,
		Access: w.vault("access", keyring.UseAccess), Refresh: w.vault("refresh", keyring.UseRefresh), Public: keys,
		DB: w.db, Clients: &client.Registry{Store: w.clients.Store, Revocations: w.log, Now: w.now},
		HTTP: w.front.Client(), Now: w.now,
		Wait: func(_ context.Context, d time.Duration) { w.pass(d) },
	}
	for _, concept := range doctor.Concepts {
		e.Tables = append(e.Tables, doctor.Table{Concept: concept, Name: concept})
	}
	return e
}

func (w *ward) vault(name string, use keyring.Use) *secretkeys.Vault {
	return secretkeys.New(w.secrets, name, use)
}

// name puts another table in the place of a concept's.
func name(e *doctor.Examination, concept, table string) {
	i := slices.IndexFunc(e.Tables, func(t doctor.Table) bool { return t.Concept == concept })
	e.Tables[i].Name = table
}

// examine runs an examination and returns what it found, by the check.
func (w *ward) examine(ctx context.Context, e *doctor.Examination) map[string]doctor.Finding {
	w.t.Helper()
	found := map[string]doctor.Finding{}
	e.Tell = func(f doctor.Finding) {
		if _, twice := found[f.Check]; twice {
			w.t.Errorf("%s is told twice", f.Check)
		}
		found[f.Check] = f
		if text := f.Detail + f.Fix; strings.Contains(text, "eyJ") || strings.Contains(text, client.SecretPrefix) || strings.Contains(text, "\n") {
			w.t.Errorf("%s says %q", f.Check, text)
		}
	}
	if err := e.Run(ctx); err != nil && ctx.Err() == nil {
		w.t.Fatal(err)
	}
	w.nobodyLeft()
	return found
}

// nobodyLeft looks for clients that an examination left behind.
func (w *ward) nobodyLeft() {
	w.t.Helper()
	for _, table := range []string{"clients", "others-clients"} {
		store, err := dynamostore.NewClients(w.db, table)
		w.must(err)
		list, err := (&client.Registry{Store: store}).List(w.t.Context())
		w.must(err)
		for _, r := range list {
			w.t.Errorf("client %s is left in the table %s", r.ID, table)
		}
	}
}

// protect has tables kept and cleared as the template has them.
func (w *ward) protect(tables ...string) {
	w.t.Helper()
	for _, table := range tables {
		_, err := w.db.UpdateTable(w.t.Context(), &dynamodb.UpdateTableInput{TableName: &table, DeletionProtectionEnabled: aws.Bool(true)})
		w.must(err)
		_, err = w.db.UpdateContinuousBackups(w.t.Context(), &dynamodb.UpdateContinuousBackupsInput{
			TableName: &table, PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
		})
		w.must(err)
		w.expire(table, true)
	}
}

func (w *ward) expire(table string, on bool) {
	w.t.Helper()
	_, err := w.db.UpdateTimeToLive(w.t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName: &table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires_at"), Enabled: aws.Bool(on)},
	})
	w.must(err)
}

// keep puts a ring of one key into a new secret.
func (w *ward) keep(secret string, k keyring.Key, err error) {
	w.t.Helper()
	w.must(err)
	_, err = w.secrets.CreateSecret(w.t.Context(), &secretsmanager.CreateSecretInput{Name: &secret})
	w.must(err)
	w.must(w.vault(secret, keyring.UseAccess).Create(w.t.Context(), &keyring.Document{
		Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{k},
	}))
}

// rediscover starts discovery with some variables set otherwise.
func (w *ward) rediscover(set map[string]string) {
	w.t.Helper()
	env := maps.Clone(w.env)
	env["AWS_ENDPOINT_URL"] = w.feedAWS.Endpoint
	maps.Copy(env, set)
	w.discovery = w.start("discovery", env, "ISSUER", "KEYS_TABLE", "REVOCATIONS_TABLE")
	w.gateways()
}

// TestDoctor has the doctor look at a deployment that is in order, and at others each of which is broken in one way.
func TestDoctor(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	cfg := testenv.AWSConfig(d.aws.Endpoint)
	w := &ward{d, dynamodb.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg)}
	w.protect(doctor.Concepts...)
	d.must(dynamostore.CreateTables(t.Context(), w.db, dynamostore.Tables{Clients: "others-clients", Keys: "others-keys", Revocations: "others-revocations"}))
	// The keys of another stack, old keys, and ones whose time is over.
	now := d.now()
	fresh, err := keyring.Generate(keyring.ES256, now.Add(-time.Hour))
	w.keep("others-access", fresh, err)
	public, err := (&keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{fresh}}).Public()
	d.must(err)
	others, err := dynamostore.NewKeys(w.db, "others-keys")
	d.must(err)
	d.must(others.PutPublicKeys(t.Context(), public, 0))
	old, err := keyring.Generate(keyring.ES256, now.Add(-100*24*time.Hour))
	w.keep("old-access", old, err)
	over, err := keyring.Generate(keyring.ES256, now.Add(-100*24*time.Hour))
	over.VerifyUntil = now.Add(-time.Hour).Unix()
	w.keep("over-access", over, err)
	_, err = w.secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("empty")})
	d.must(err)

	whole := []string{
		"keys.access", "keys.refresh", "keys.public", "tables.clients", "tables.users", "tables.signins", "tables.issuers", "tables.assertions",
		"tables.grants", "tables.keys", "tables.revocations", "issuer", "metadata", "clock", "jwks", "feed",
		"flow.client", "flow.sign-in", "flow.verify", "flow.api", "flow.refresh", "flow.revoke", "flow.refused", "flow.clean-up",
	}
	inOrder := func(t *testing.T, e *doctor.Examination, but string) {
		t.Helper()
		found := w.examine(t.Context(), e)
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, slices.Sorted(slices.Values(whole))) {
			t.Errorf("looked at %v, want %v", got, whole)
		}
		for check, f := range found {
			if f.Status != doctor.OK && check != but {
				t.Errorf("%+v", f)
			}
		}
	}
	t.Run("in order", func(t *testing.T) { inOrder(t, w.examination(), "flow.refused") })

	// what is broken; the check that says so; with what status; and a part of what it says.
	for _, row := range []struct {
		broken, check string
		status        doctor.Status
		says          string
		how           func(e *doctor.Examination) (mend func())
	}{
		{"no access keys", "keys.access", doctor.Failed, "there are no keys", func(e *doctor.Examination) func() {
			e.Access = w.vault("empty", keyring.UseAccess)
			return nil
		}},
		{"no secret", "keys.refresh", doctor.Failed, "there is no such secret", func(e *doctor.Examination) func() {
			e.Refresh = w.vault("nosuch", keyring.UseRefresh)
			return nil
		}},
		{"rotation stands still", "keys.access", doctor.Failed, "a new key is overdue by 10 days", func(e *doctor.Examination) func() {
			e.Access = w.vault("old-access", keyring.UseAccess)
			return nil
		}},
		{"no key signs", "keys.access", doctor.Failed, "no key signs now; there are: retired", func(e *doctor.Examination) func() {
			e.Access = w.vault("over-access", keyring.UseAccess)
			return nil
		}},
		{"the signing key is not published", "keys.public", doctor.Failed, fresh.ID + ", which is signing, is not published", func(e *doctor.Examination) func() {
			e.Access = w.vault("others-access", keyring.UseAccess)
			return nil
		}},
		{"the JWKS is another stack's", "jwks", doctor.Failed, "is served, and is none of the deployment's keys", func(*doctor.Examination) func() {
			w.rediscover(map[string]string{"KEYS_TABLE": "others-keys"})
			return func() { w.rediscover(nil) }
		}},
		{"the JWKS may not be cached", "jwks", doctor.Warning, "may not be cached", func(*doctor.Examination) func() {
			return w.cached("no-store")
		}},
		{"the JWKS is cached for too long", "jwks", doctor.Warning, "which may be cached for 24 hours", func(*doctor.Examination) func() {
			return w.cached("public, max-age=86400")
		}},
		{"tokens can't be verified", "flow.verify", doctor.Failed, "the token that was just issued: ", func(*doctor.Examination) func() {
			w.rediscover(map[string]string{"KEYS_TABLE": "others-keys"})
			return func() { w.rediscover(nil) }
		}},
		{"another issuer in the metadata", "metadata", doctor.Failed, "it says that its issuer is https://other.example.com", func(*doctor.Examination) func() {
			w.rediscover(map[string]string{"ISSUER": "https://other.example.com"})
			return func() { w.rediscover(nil) }
		}},
		{"a table is missing", "tables.users", doctor.Failed, "there is no such table", func(e *doctor.Examination) func() {
			name(e, "users", "nosuch")
			return nil
		}},
		{"a table in another's place", "tables.clients", doctor.Failed, "its key is username, and that of a table of clients is client_id", func(e *doctor.Examination) func() {
			name(e, "clients", "users")
			return nil
		}},
		{"TTL is off", "tables.revocations", doctor.Warning, "its TTL is off", func(*doctor.Examination) func() {
			w.expire("revocations", false)
			return func() { w.expire("revocations", true) }
		}},
		{"neither backed up nor protected", "tables.clients", doctor.Warning, "it is not protected from deletion, it is not backed up", func(e *doctor.Examination) func() {
			name(e, "clients", "others-clients")
			return nil
		}},
		{"the clock is ahead", "clock", doctor.Failed, ": nothing can be revoked from here", func(e *doctor.Examination) func() {
			e.Now = func() time.Time { return w.now().Add(2 * time.Minute) }
			return nil
		}},
		{"the clock is a little off", "clock", doctor.Warning, " seconds behind DynamoDB", func(e *doctor.Examination) func() {
			e.Now = func() time.Time { return w.now().Add(-10 * time.Second) }
			return nil
		}},
		{"with a clock that is off nothing is made", "flow", doctor.Skipped, "the clock is off", func(e *doctor.Examination) func() {
			e.Now = func() time.Time { return w.now().Add(2 * time.Minute) }
			return nil
		}},
		{"the feed is stale", "feed", doctor.Failed, "it is 5 minutes old", func(*doctor.Examination) func() {
			w.feed.source.Store(revocation.NewFeed(revocation.FeedConfig{Source: w.log, Now: func() time.Time { return w.now().Add(-5 * time.Minute) }}))
			return func() { w.feed.source.Store(nil) }
		}},
		{"the feed can't be reached", "feed", doctor.Failed, "status 503", func(*doctor.Examination) func() {
			w.feed.down.Store(true)
			return func() { w.feed.down.Store(false) }
		}},
		{"the clients table is another stack's", "flow.sign-in", doctor.Failed, "the issuer does not know the client", func(e *doctor.Examination) func() {
			store, err := dynamostore.NewClients(w.db, "others-clients")
			w.must(err)
			e.Clients.Store = store
			return nil
		}},
		{"an authorizer that lets everybody in", "flow.api", doctor.Failed, "it lets anyone in: to a token whose signature is wrong it answers 200", func(*doctor.Examination) func() {
			w.letIn()
			return w.gateways
		}},
		{"an API without an authorizer", "flow.api", doctor.Failed, "it lets anyone in: without a token it answers 404", func(e *doctor.Examination) func() {
			open := httptest.NewTLSServer(http.NotFoundHandler())
			e.API = open.URL + "/orders"
			e.HTTP = open.Client() // of both: one certificate serves all of httptest's servers
			return open.Close
		}},
		{"an API of another audience", "flow.api", doctor.Failed, "it answers 401 to a valid token for https://other.example.com", func(e *doctor.Examination) func() {
			e.Audience = "https://other.example.com"
			return nil
		}},
		{"the issuer is down", "metadata", doctor.Failed, "connection refused", func(e *doctor.Examination) func() {
			e.Issuer = "https://127.0.0.1:1"
			return nil
		}},
		{"the issuer is plain http", "issuer", doctor.Failed, "is plain http", func(e *doctor.Examination) func() {
			e.Issuer = "http://id.example.com"
			return nil
		}},
		{"the issuer has a path", "issuer", doctor.Failed, "is no issuer", func(e *doctor.Examination) func() {
			e.Issuer += "/"
			return nil
		}},
		{"something else answers", "metadata", doctor.Failed, "answers 404", func(e *doctor.Examination) func() {
			other := httptest.NewTLSServer(http.NotFoundHandler())
			e.Issuer = other.URL
			return other.Close
		}},
		{"AWS is down", "tables.clients", doctor.Failed, "DynamoDB DescribeTable: no answer", func(*doctor.Examination) func() {
			w.aws.Stop()
			return w.aws.Start
		}},
		{"sign-in is down", "flow.sign-in", doctor.Failed, "/oauth2/token answers 503", func(e *doctor.Examination) func() {
			// It makes its client by another way to DynamoDB than the functions.
			store, err := dynamostore.New(dynamodb.NewFromConfig(testenv.AWSConfig(w.feedAWS.Endpoint)),
				dynamostore.Tables{Clients: "clients", Keys: "keys", Revocations: "revocations"})
			w.must(err)
			e.Clients.Store, e.Clients.Revocations = store, store
			w.aws.Fail(testenv.Fault{Of: "DynamoDB", Form: testenv.Internal})
			return func() { w.aws.Mend() }
		}},
	} {
		t.Run(row.broken, func(t *testing.T) {
			e := w.examination()
			mend := row.how(e)
			found := map[string]doctor.Finding{}
			func() {
				if mend != nil {
					defer mend()
				}
				found = w.examineBroken(t, e)
			}()
			if f := found[row.check]; f.Status != row.status || !strings.Contains(f.Detail, row.says) {
				t.Errorf("%s: %+v, want %s and %q", row.check, f, row.status, row.says)
			}
		})
	}

	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		e := w.examination()
		e.Busy = func(what string) {
			if what == "refreshing" {
				cancel()
			}
		}
		found := w.examine(ctx, e) // which looks whether the client is gone
		if found["flow.clean-up"].Status != doctor.OK || found["flow.sign-in"].Status != doctor.OK {
			t.Errorf("found %+v", found)
		}
	})
	// With the wait, in which the clock moves. Then time has gone on for the functions, and for nobody else.
	t.Run("in order, with all the patience it takes", func(t *testing.T) {
		e := w.examination()
		e.Patience = doctor.DefaultPatience
		inOrder(t, e, "")
	})
	w.scanLogs()
}

// examineBroken is examine for a deployment of which a part may not work, with which what was left can't be looked for.
func (w *ward) examineBroken(t *testing.T, e *doctor.Examination) map[string]doctor.Finding {
	t.Helper()
	found := map[string]doctor.Finding{}
	e.Tell = func(f doctor.Finding) { found[f.Check] = f }
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, made := found["flow.client"]; made && f.Status == doctor.OK && found["flow.clean-up"].Status != doctor.OK {
		t.Errorf("the client is left: %+v", found["flow.clean-up"])
	}
	return found
}

// letIn puts an authorizer before /whoami that allows whatever comes with a token.
func (w *ward) letIn() {
	w.t.Helper()
	var err error
	w.rest, err = gateway.New(gateway.API{Kind: gateway.REST, Now: w.now, Routes: []gateway.Route{
		{Method: "GET", Path: "/whoami", Function: w.whoami, Authorizer: &gateway.Authorizer{
			Function: anybody{}, Type: gateway.Request, IdentitySources: []string{"method.request.header.Authorization"},
		}},
	}})
	w.must(err)
}

// anybody is an authorizer that verifies nothing.
type anybody struct{}

func (anybody) Invoke(_ context.Context, event []byte) ([]byte, error) {
	var e struct {
		MethodARN string `json:"methodArn"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"principalId":"x","policyDocument":{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke","Effect":"Allow","Resource":%q}]},
		"context":{"client_id":"x","sub":"x","scope":"","grant_id":"g","jti":"j","exp":"9999999999"}}`, e.MethodARN), nil
}

// cached puts something in front of the HTTP API that says otherwise how long answers may be kept.
func (w *ward) cached(directive string) (mend func()) {
	behind := w.http
	w.http = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		whole := httptest.NewRecorder()
		behind.ServeHTTP(whole, r)
		maps.Copy(rw.Header(), whole.Header())
		rw.Header().Set("Cache-Control", directive)
		rw.WriteHeader(whole.Code)
		_, _ = rw.Write(whole.Body.Bytes())
	})
	return func() { w.http = behind }
}
