package upgrade

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/filekeys"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

var write = flag.String("write", "", "write testdata of the `release` at hand, which must not be there yet")

// golden is what a release left behind, beside the stores themselves: what its clients hold, and what is to become of that.
type golden struct {
	Release  string   `json:"release"`
	Issuer   string   `json:"issuer"`
	At       int64    `json:"at"` // seconds since 1970
	Held     []held   `json:"held"`
	Clients  []string `json:"clients"`
	Secret   string   `json:"secret"`   // of the client shop
	Password string   `json:"password"` // of the user ada
	// Assertions that the client jobs signs in with; the first had its use.
	Assertions []string        `json:"assertions"`
	IDToken    string          `json:"id_token"` // of another issuer, for the JWT bearer grant by web
	WebSecret  string          `json:"web_secret"`
	APISecret  string          `json:"api_secret"`
	DPoPKey    []byte          `json:"dpop_key"` // PKCS #8, of the client desk
	JWKS       json.RawMessage `json:"jwks"`
	Feed       json.RawMessage `json:"feed"` // the revocation feed's one page
}

// held are the tokens of a sign-in.
type held struct {
	Client  string `json:"client"`
	What    string `json:"what"` // in words
	Secret  string `json:"secret,omitempty"`
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
	// No longer good, for the reason that What says.
	AccessOver  bool `json:"access_over,omitempty"`
	RefreshOver bool `json:"refresh_over,omitempty"`
}

const certificate = "a certificate, as far as anybody here looks at it"

// places are where a release keeps its state.
var places = []string{"laptop", "aws"}

// laptop is the state in a folder.
func laptop(t *testing.T, dir string) *state {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(dir, "latchkey.db"))
	must(t, err)
	t.Cleanup(func() { s.Close() })
	keys := filepath.Join(dir, "keys.json")
	return &state{store: s, access: filekeys.New(keys, keyring.UseAccess), refresh: filekeys.New(keys, keyring.UseRefresh), signInKey: s.SignInKey}
}

// awsStore is the state on AWS, an emulator of which runs for one test.
type awsStore struct {
	*dynamostore.Store
	*dynamostore.UserStore
	*dynamostore.IssuerStore
	*dynamostore.GrantStore
	*dynamostore.SignInStore
	*dynamostore.AssertionStore
	db      *dynamodb.Client
	secrets *secretsmanager.Client
	stack   string // begins the names of its tables and secrets
}

var (
	tables  = []string{"clients", "users", "issuers", "grants", "signins", "assertions", "keys", "revocations"}
	secrets = []string{"access-keys", "refresh-keys", "signin-key"}
)

// onAWS is the state of a stack of its own, which is empty.
func onAWS(t *testing.T, endpoint string) *state {
	t.Helper()
	cfg := testenv.AWSConfig(endpoint)
	s := &awsStore{db: dynamodb.NewFromConfig(cfg), secrets: secretsmanager.NewFromConfig(cfg), stack: rand.Text() + "-"}
	name := func(s2 string) string { return s.stack + s2 }
	names := dynamostore.Tables{Clients: name("clients"), Keys: name("keys"), Revocations: name("revocations")}
	must(t, dynamostore.CreateTables(t.Context(), s.db, names))
	must(t, dynamostore.CreateGrantsTable(t.Context(), s.db, name("grants")))
	must(t, dynamostore.CreateUserTables(t.Context(), s.db, name("users"), name("signins")))
	must(t, dynamostore.CreateIssuerTables(t.Context(), s.db, name("issuers"), name("assertions")))
	var errs [6]error
	s.Store, errs[0] = dynamostore.New(s.db, names)
	s.UserStore, errs[1] = dynamostore.NewUsers(s.db, name("users"))
	s.IssuerStore, errs[2] = dynamostore.NewIssuers(s.db, name("issuers"))
	s.GrantStore, errs[3] = dynamostore.NewGrants(s.db, name("grants"))
	s.SignInStore, errs[4] = dynamostore.NewSignIns(s.db, name("signins"))
	s.AssertionStore, errs[5] = dynamostore.NewAssertions(s.db, name("assertions"))
	must(t, errors.Join(errs[:]...))
	for _, secret := range secrets {
		_, err := s.secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name(secret))})
		must(t, err)
	}
	return &state{
		store: s, access: secretkeys.New(s.secrets, name("access-keys"), keyring.UseAccess), refresh: secretkeys.New(s.secrets, name("refresh-keys"), keyring.UseRefresh),
		signInKey: func(ctx context.Context) ([]byte, error) { return secretkeys.Value(ctx, s.secrets, name("signin-key")) },
	}
}

// kept is all that is on AWS, as AWS has it: a table's items, each attribute S or N, and secrets.
type kept struct {
	Tables  map[string][]map[string]map[string]string `json:"tables"`
	Secrets map[string]string                         `json:"secrets"`
}

func (s *awsStore) dump(t *testing.T) *kept {
	t.Helper()
	k := &kept{Tables: map[string][]map[string]map[string]string{}, Secrets: map[string]string{}}
	for _, table := range tables {
		out, err := s.db.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String(s.stack + table)})
		must(t, err)
		for _, found := range out.Items {
			item := map[string]map[string]string{}
			for name, value := range found {
				switch v := value.(type) {
				case *types.AttributeValueMemberS:
					item[name] = map[string]string{"S": v.Value}
				case *types.AttributeValueMemberN:
					item[name] = map[string]string{"N": v.Value}
				default:
					t.Fatalf("%s has an attribute %s of another type", table, name)
				}
			}
			k.Tables[table] = append(k.Tables[table], item)
		}
	}
	for _, name := range secrets {
		out, err := s.secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String(s.stack + name), VersionStage: aws.String("AWSCURRENT")})
		must(t, err)
		k.Secrets[name] = *out.SecretString
	}
	return k
}

func (s *awsStore) restore(t *testing.T, k *kept) {
	t.Helper()
	for table, items := range k.Tables {
		for _, item := range items {
			written := map[string]types.AttributeValue{}
			for name, value := range item {
				if n, ok := value["N"]; ok {
					written[name] = &types.AttributeValueMemberN{Value: n}
				} else {
					written[name] = &types.AttributeValueMemberS{Value: value["S"]}
				}
			}
			_, err := s.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(s.stack + table), Item: written})
			must(t, err)
		}
	}
	for name, value := range k.Secrets {
		s.putSecret(t, name, value)
	}
}

func (s *awsStore) putSecret(t *testing.T, name, value string) {
	t.Helper()
	_, err := s.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(s.stack + name), SecretString: &value})
	must(t, err)
}

// releases are those whose state is in testdata.
func releases(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	if len(list) == 0 {
		t.Fatal("there is no release's state in testdata")
	}
	return list
}

// load returns a copy of what a release left in a place, and a clock a few seconds later.
func load(t *testing.T, moto, release, place string) (*golden, *state, *clocktest.Clock) {
	t.Helper()
	from := filepath.Join("testdata", release, place)
	var g golden
	readJSON(t, filepath.Join(from, "held.json"), &g)
	clock := new(clocktest.Clock)
	clock.Move(time.Unix(g.At, 0).Sub(start) + 10*time.Second)
	if place == "laptop" {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(from)))
		must(t, os.Chmod(filepath.Join(dir, "keys.json"), 0o600)) // git keeps no such modes
		return &g, laptop(t, dir), clock
	}
	s := onAWS(t, moto)
	var k kept
	readJSON(t, filepath.Join(from, "aws.json"), &k)
	s.store.(*awsStore).Store.RevocationStore.Now = clock.Now
	s.store.(*awsStore).restore(t, &k)
	return &g, s, clock
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, json.Unmarshal(data, v))
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	must(t, err)
	must(t, os.WriteFile(path, append(data, '\n'), 0o644))
}

// TestWrite writes what the release at hand leaves behind.
func TestWrite(t *testing.T) {
	if *write == "" {
		t.Skip("without -write nothing is written: see `make golden`")
	}
	if !fs.ValidPath(*write) || strings.Contains(*write, "/") {
		t.Fatalf("%q is no release", *write)
	}
	root := filepath.Join("testdata", *write)
	if _, err := os.Stat(root); err == nil {
		t.Fatalf("%s is there: what a release has written is never written again", root)
	}
	for _, place := range places {
		dir := filepath.Join(root, place)
		must(t, os.MkdirAll(dir, 0o755))
		clock := new(clocktest.Clock)
		var g *golden
		if place == "laptop" {
			g = live(t, laptop(t, dir), clock)
		} else {
			s := onAWS(t, testenv.Moto(t).Endpoint)
			a := s.store.(*awsStore)
			a.Store.RevocationStore.Now = clock.Now
			a.putSecret(t, "signin-key", "as Secrets Manager makes one up")
			g = live(t, s, clock)
			writeJSON(t, filepath.Join(dir, "aws.json"), a.dump(t))
		}
		g.Release = *write
		writeJSON(t, filepath.Join(dir, "held.json"), g)
	}
}

// live has a deployment live for some hours, so that there is something of everything that it keeps.
func live(t *testing.T, s *state, clock *clocktest.Clock) *golden {
	t.Helper()
	ctx := t.Context()
	g := &golden{Issuer: "https://id.example.com", Password: "correct horse battery staple"}
	newKey := func(alg keyring.Algorithm) func(context.Context, time.Time) (keyring.Key, error) {
		return func(_ context.Context, from time.Time) (keyring.Key, error) { return keyring.Generate(alg, from) }
	}
	_, err := (&keyring.First{
		Access: s.access, Refresh: s.refresh, Public: s, NewAccess: newKey(keyring.ES256), NewRefresh: newKey(keyring.HS256), Now: clock.Now,
	}).Make(ctx)
	must(t, err)
	rotate := func(alg keyring.Algorithm) {
		t.Helper()
		for _, r := range rotators(s, clock, alg) {
			_, err := r.Run(ctx, true)
			must(t, err)
		}
	}

	// Clients of every refresh mode, a user and an issuer.
	clients := client.Registry{Store: s, Revocations: s, Now: clock.Now}
	secretOf := map[string]string{}
	register := func(spec client.Spec) {
		t.Helper()
		spec.Name, spec.Scopes, spec.Audiences = "The client "+spec.ID, oauth.Scope{"orders:read", "orders:write"}, []string{audience, "https://stock.example.com"}
		_, secretOf[spec.ID], err = clients.Create(ctx, spec)
		must(t, err)
		g.Clients = append(g.Clients, spec.ID)
	}
	jobs, idp := dpoptest.New(t, "ES256"), dpoptest.New(t, "ES256")
	register(client.Spec{ID: "shop"})
	register(client.Spec{ID: "desk", RefreshMode: token.ModeDPoP})
	register(client.Spec{ID: "till", RefreshMode: token.ModeMTLS})
	register(client.Spec{ID: "cart", RefreshMode: token.ModeRotating})
	register(client.Spec{ID: "vault", RefreshMode: token.ModeSecret, SecretLifetime: 365 * 24 * time.Hour})
	register(client.Spec{ID: "gone"})
	register(client.Spec{ID: "jobs", NoSecret: true, Keys: keySource(t, jobs, "jobs-1"), Grants: []string{oauth.GrantClientCredentials}})
	register(client.Spec{ID: "web", Grants: []string{oauth.GrantPassword, oauth.GrantJWTBearer, oauth.GrantRefreshToken}, AssertionIssuers: []string{"https://accounts.example.com"}})
	register(client.Spec{ID: "api", Introspects: []string{audience}})
	g.Secret, g.WebSecret, g.APISecret = secretOf["shop"], secretOf["web"], secretOf["api"]
	users := user.Registry{Store: s, Revocations: s, Now: clock.Now}
	ada, err := users.Create(ctx, user.Spec{Username: "ada", Name: "Ada", Scopes: oauth.Scope{"orders:read"}, Password: g.Password})
	must(t, err)
	issuers := issuer.Registry{Store: s, Revocations: s, Now: clock.Now}
	_, err = issuers.Add(ctx, issuer.Record{
		URL: "https://accounts.example.com", Keys: keySource(t, idp, "idp-1"), Audiences: []string{"latchkey"}, Algorithms: []string{"ES256"},
		Scopes: oauth.Scope{"orders:read"}, Users: map[string]issuer.LocalUser{"00u1": {Username: "ada", ID: ada.ID}},
	})
	must(t, err)
	desk := dpoptest.New(t, "ES256")
	g.DPoPKey, err = x509.MarshalPKCS8PrivateKey(desk.Private)
	must(t, err)

	svc := serve(t, s, clock, g.Issuer)
	signIn := func(id, what string, pairs ...string) *held {
		t.Helper()
		h := how{id: id, secret: secretOf[id]}
		switch id {
		case "desk":
			h.proof = desk.Proof("POST", g.Issuer+oauth.PathToken, clock.Now())
		case "till":
			h.certificate = certificate
		}
		if pairs == nil {
			pairs = []string{"grant_type", oauth.GrantClientCredentials}
		}
		a := svc.post(t, oauth.PathToken, h, pairs...)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", id, a.status, a.body)
		}
		g.Held = append(g.Held, held{Client: id, What: what, Secret: secretOf[id], Access: a.AccessToken, Refresh: a.RefreshToken})
		return &g.Held[len(g.Held)-1]
	}
	everybody := func(when string) {
		t.Helper()
		for _, id := range []string{"shop", "desk", "till", "cart", "vault"} {
			signIn(id, when)
		}
		signIn("web", "ada by her password, "+when, "grant_type", oauth.GrantPassword, "username", "ada", "password", g.Password)
	}

	// The first keys sign for an hour yet; then the next ones do, and others are published.
	rotate(keyring.EdDSA)
	clock.Move(keyring.DefaultAccessLead - 5*time.Minute)
	svc = serve(t, s, clock, g.Issuer)
	everybody("by the first keys")
	clock.Move(5*time.Minute + time.Second)
	svc = serve(t, s, clock, g.Issuer)
	rotate(keyring.RS256)
	everybody("by the keys of now")

	// What ended, in each way.
	revokes := func(h *held, what string) {
		t.Helper()
		if a := svc.post(t, oauth.PathRevoke, how{id: h.Client, secret: h.Secret}, "token", what); a.status != http.StatusOK {
			t.Fatalf("revoking: %d %s", a.status, a.body)
		}
	}
	h := signIn("shop", "its access token was revoked")
	h.AccessOver = true
	revokes(h, h.Access)
	h = signIn("shop", "its grant was revoked")
	h.AccessOver, h.RefreshOver = true, true
	revokes(h, h.Refresh)
	h = signIn("gone", "its client was disabled")
	h.AccessOver, h.RefreshOver = true, true
	_, err = clients.SetDisabled(ctx, "gone", true)
	must(t, err)
	h = signIn("cart", "its refresh token had its use")
	h.RefreshOver = true // once the time to ask again is over
	a := svc.post(t, oauth.PathToken, how{}, "grant_type", "refresh_token", "client_id", "cart", "refresh_token", h.Refresh)
	if a.status != http.StatusOK {
		t.Fatalf("cart: %d %s", a.status, a.body)
	}
	g.Held = append(g.Held, held{Client: "cart", What: "the successor of one that had its use", Access: a.AccessToken, Refresh: a.RefreshToken})
	for _, e := range []revocation.Entry{
		revocation.Subject("u_somebody", clock.Now(), clock.Now()), revocation.Issuer("https://another.example.com", clock.Now(), clock.Now()),
		revocation.SigningKey("a key that is no longer", clock.Now()), revocation.Before(start.Add(-time.Hour), clock.Now()),
	} {
		must(t, s.Append(ctx, e))
	}
	if a := svc.post(t, oauth.PathToken, how{id: "web", secret: g.WebSecret}, "grant_type", oauth.GrantPassword, "username", "ada", "password", "wrong"); a.Error != oauth.InvalidGrant {
		t.Fatalf("a wrong password: %d %s", a.status, a.body)
	}

	// What is held for the time after, and what time does to what is held.
	clock.Move(40 * time.Second)
	svc = serve(t, s, clock, g.Issuer)
	now := clock.Now().Unix()
	for range 3 {
		claims := dpoptest.Object{"iss": "jobs", "sub": "jobs", "aud": g.Issuer, "jti": token.NewID(""), "iat": now, "exp": now + 290}
		g.Assertions = append(g.Assertions, jobs.Sign(dpoptest.Object{"alg": "ES256", "kid": "jobs-1", "typ": "JWT"}, claims))
	}
	if a := svc.byAssertion(t, g.Assertions[0]); a.status != http.StatusOK {
		t.Fatalf("jobs: %d %s", a.status, a.body)
	}
	g.IDToken = idp.Sign(dpoptest.Object{"alg": "ES256", "kid": "idp-1", "typ": "JWT"}, dpoptest.Object{
		"iss": "https://accounts.example.com", "sub": "00u1", "aud": "latchkey", "jti": token.NewID(""), "iat": now, "exp": now + 290,
	})
	g.JWKS = json.RawMessage(svc.get(t, g.Issuer, oauth.PathJWKS))
	feed := httptest.NewServer(revocation.NewFeed(revocation.FeedConfig{Source: s, Window: 48 * time.Hour, Log: discard, Now: clock.Now}))
	defer feed.Close()
	res, err := feed.Client().Get(feed.URL + revocation.PathFeed)
	must(t, err)
	defer res.Body.Close()
	g.Feed, err = io.ReadAll(res.Body)
	must(t, err)
	g.At = now
	return g
}

// rotators are those of both rings.
func rotators(s *state, clock *clocktest.Clock, alg keyring.Algorithm) []*keyring.Rotator {
	rotator := func(v keyring.Vault, public keyring.PublicStore, alg keyring.Algorithm, lead time.Duration) *keyring.Rotator {
		return &keyring.Rotator{
			Vault: v, Public: public, Revocations: s, Revoked: s, Now: clock.Now, Log: discard,
			NewKey: func(_ context.Context, _ string, from time.Time) (keyring.Key, error) {
				return keyring.Generate(alg, from)
			},
			Schedule: keyring.Schedule{Lead: lead, Period: keyring.DefaultPeriod, Cap: 30 * 24 * time.Hour},
		}
	}
	return []*keyring.Rotator{
		rotator(s.access, s, alg, keyring.DefaultAccessLead), rotator(s.refresh, nil, keyring.HS256, keyring.DefaultAccessLead),
	}
}

// keySource is a client's or an issuer's one key.
func keySource(t *testing.T, k *dpoptest.Key, kid string) assertion.KeySource {
	t.Helper()
	jwk := k.JWK()
	jwk["kid"], jwk["alg"] = kid, k.Alg
	data, err := json.Marshal(map[string]any{"keys": []any{jwk}})
	must(t, err)
	source, err := assertion.ParseKeys(data)
	must(t, err)
	return source
}

func (s *service) byAssertion(t *testing.T, assertion string) answer {
	t.Helper()
	return s.post(t, oauth.PathToken, how{}, "grant_type", oauth.GrantClientCredentials,
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion)
}

// deskKey is the client desk's.
func (g *golden) deskKey(t *testing.T) *dpoptest.Key {
	t.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(g.DPoPKey)
	must(t, err)
	k := dpoptest.New(t, "ES256")
	k.Private = parsed.(crypto.Signer)
	return k
}
