package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// moveHome makes a laptop's folder with an empty store.
func moveHome(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	store, err := boltstore.Open(filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ending runs a command line, which has to end with that exit code, and returns its stdout.
func ending(t *testing.T, code int, args ...string) string {
	t.Helper()
	got, stdout, stderr := tool(t, "", args...)
	if got != code {
		t.Fatalf("%v: exit code %d\n%s%s", args, got, stdout, stderr)
	}
	return stdout
}

// TestMove takes clients from a laptop to DynamoDB and on to another laptop: they come out as they went in, and sign in there
// with the secrets that they have.
func TestMove(t *testing.T) {
	endpoint := testenv.Dynalite(t)
	t.Setenv("AWS_ENDPOINT_URL", endpoint)
	t.Setenv("AWS_REGION", testenv.Region)
	t.Setenv("AWS_ACCESS_KEY_ID", testenv.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testenv.SecretAccessKey)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	db := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
	if err := dynamostore.CreateTables(t.Context(), db, dynamostore.Tables{Clients: "clients", Keys: "keys", Revocations: "revocations"}); err != nil {
		t.Fatal(err)
	}
	from, to := moveHome(t), moveHome(t)
	jwks := filepath.Join(from, "jwks.json")
	if err := os.WriteFile(jwks, []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	secretOf := func(out string) string {
		var c clientJSON
		if err := json.Unmarshal([]byte(out), &c); err != nil || c.Secret == "" {
			t.Fatalf("%v: %s", err, out)
		}
		return c.Secret
	}
	secrets := []string{secretOf(ending(t, 0, "client", "create", "shop", "--dir", from, "--json", "--scope", "orders:read orders:write", "--name", "Läden & Söhne",
		"--access-lifetime", "5m", "--introspects", "https://api.example.com"))}
	secrets = append(secrets, secretOf(ending(t, 0, "client", "rotate-secret", "shop", "--dir", from, "--json")))
	ending(t, 0, "client", "create", "keyed", "--dir", from, "--jwks", jwks, "--scope", "a")
	ending(t, 0, "client", "create", "workload", "--dir", from, "--workload-issuer", "https://id.example.com", "--workload-subject", "repo:a/b", "--refresh-mode", "dpop")
	ending(t, 0, "client", "create", "closed", "--dir", from)
	ending(t, 0, "client", "disable", "closed", "--dir", from)

	export := func(where ...string) (path string, records string) {
		path = filepath.Join(t.TempDir(), "clients.jsonl")
		ending(t, 0, append([]string{"client", "export", "-o", path}, where...)...)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, records, _ = strings.Cut(string(data), "\n") // the header has the time
		if strings.Contains(records, client.SecretPrefix) || strings.Contains(records, "handle") {
			t.Errorf("it has a secret or a handle: %s", records)
		}
		return path, regexp.MustCompile(`"updated_at":\d+`).ReplaceAllString(records, "")
	}
	table := []string{"--clients-table", "clients", "--revocations-table", "revocations"}
	first, want := export("--dir", from)
	if strings.Count(want, "\n") != 4 {
		t.Fatalf("exported %s", want)
	}
	ending(t, 0, append([]string{"client", "import", first, "--apply"}, table...)...)
	second, got := export(table...)
	if got != want {
		t.Errorf("on DynamoDB they are\n%s, and were\n%s", got, want)
	}
	ending(t, 0, "client", "import", second, "--apply", "--dir", to)
	if _, got := export("--dir", to); got != want {
		t.Errorf("back on a laptop they are\n%s, and were\n%s", got, want)
	}
	again := ending(t, 0, append([]string{"client", "import", first, "--apply"}, table...)...)
	if !strings.HasPrefix(again, "0 created, 0 replaced, 4 the same") {
		t.Errorf("the second time: %s", again)
	}

	// The doctor says of these tables what can be seen where next to nothing is told.
	seen := ending(t, 1, append([]string{"doctor", "--keys-table", "keys", "--no-flow"}, table...)...)
	for _, want := range []string{
		`(?m)^warning  aws `, `(?m)^failed   keys.public +no key is published`, `(?m)^ok       tables.clients +not to be seen: deletion protection, backups$`,
		`(?m)^ok       clock +this machine's is that of DynamoDB$`,
	} {
		if !regexp.MustCompile(want).MatchString(seen) {
			t.Errorf("no %s in\n%s", want, seen)
		}
	}

	store, err := boltstore.Open(filepath.Join(to, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	auth := client.NewAuthenticator(store, time.Now)
	for _, secret := range secrets {
		if r, err := auth.Authenticate(t.Context(), oauth.Credentials{ClientID: "shop", Secret: secret, Method: oauth.AuthBasic}); err != nil || r.Name != "Läden & Söhne" {
			t.Errorf("it does not sign in: %v", err)
		}
	}
}

// TestImportRevivesNothing: a client that was deleted and is imported again signs in with its secret, and the tokens that were
// out before stay refused, those of its successors' epochs too.
func TestImportRevivesNothing(t *testing.T) {
	t.Parallel()
	w := attacked(t, io.Discard)
	reg := w.Clients
	record, secret, err := reg.Create(t.Context(), client.Spec{ID: "moved", Scopes: oauth.Scope{"a"}, Audiences: []string{devAudience}})
	if err != nil {
		t.Fatal(err)
	}
	line, err := record.Export()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, authorization string, form url.Values) (int, map[string]any) {
		r := httptest.NewRequest(http.MethodPost, attackedIssuer+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		answer := httptest.NewRecorder()
		w.Handler.ServeHTTP(answer, r)
		var m map[string]any
		if err := json.Unmarshal(answer.Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		return answer.Code, m
	}
	signIn := func() string {
		t.Helper()
		status, m := ask(oauth.PathToken, "Basic "+base64.StdEncoding.EncodeToString([]byte("moved:"+secret)), url.Values{"grant_type": {"client_credentials"}})
		token, _ := m["refresh_token"].(string)
		if status != http.StatusOK || token == "" {
			t.Fatalf("sign-in: %d %v", status, m)
		}
		return token
	}
	renew := func(token string) (int, any) {
		status, m := ask(oauth.PathRefresh, "", url.Values{"grant_type": {"refresh_token"}, "client_id": {"moved"}, "refresh_token": {token}})
		return status, m["error"]
	}
	before := signIn()
	if status, _ := renew(before); status != http.StatusOK {
		t.Fatal("it can't be refreshed to begin with")
	}
	if err := reg.Delete(t.Context(), "moved"); err != nil {
		t.Fatal(err)
	}
	w.Clock.Move(obeyedWithin + client.RecordTTL)
	moved, err := client.ParseExport(line)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := reg.Import(t.Context(), moved, false, false); err != nil || result != client.MovedCreated {
		t.Fatalf("%s %v", result, err)
	}
	w.Clock.Move(time.Minute)
	after := signIn()
	if status, _ := renew(after); status != http.StatusOK {
		t.Error("what it signs in for after the import can't be refreshed")
	}
	if status, code := renew(before); status != http.StatusBadRequest || code != "invalid_grant" {
		t.Errorf("the old token: %d %v", status, code)
	}
	// Replaced by what takes its scope away, it stays itself: its epoch grows, and its tokens end.
	stored, err := reg.Get(t.Context(), "moved")
	if err != nil {
		t.Fatal(err)
	}
	moved.Scopes = oauth.Scope{"b"}
	if result, err := reg.Import(t.Context(), moved, true, false); err != nil || result != client.MovedReplaced {
		t.Fatalf("%s %v", result, err)
	}
	now, err := reg.Get(t.Context(), "moved")
	if err != nil || now.Epoch != stored.Epoch+1 || now.Handle != stored.Handle || now.Scopes.String() != "b" {
		t.Errorf("replaced, it is %+v (%v), and was %+v", now, err, stored)
	}
	w.Clock.Move(obeyedWithin)
	if status, code := renew(after); status != http.StatusBadRequest || code != "invalid_grant" {
		t.Errorf("a token with a scope that was taken away: %d %v", status, code)
	}
}
