package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// deployment is an issuer's keys, and its JWKS in a file.
type deployment struct {
	t       *testing.T
	source  *keyring.Source
	jwks    []byte
	file    string
	created time.Time
}

const (
	testIssuer   = "https://auth.acme.example"
	testAudience = "https://api.acme.example"
)

func deploy(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{t: t, created: time.Now().Add(-48 * time.Hour)}
	key, err := keyring.Generate(keyring.ES256, d.created)
	if err != nil {
		t.Fatal(err)
	}
	doc := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	d.source = keyring.NewSource(keyring.SourceConfig{Load: func(context.Context) (*keyring.Document, error) { return doc, nil }})
	public, err := doc.Public()
	if err != nil {
		t.Fatal(err)
	}
	if d.jwks, err = json.Marshal(public.JWKS(time.Now())); err != nil {
		t.Fatal(err)
	}
	d.file = filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(d.file, d.jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *deployment) key() keyring.SigningKey {
	d.t.Helper()
	key, err := d.source.SigningKey(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

// access signs a token that began then and ends so much later.
func (d *deployment) access(begins time.Time, life time.Duration) string {
	d.t.Helper()
	raw, err := (&token.Access{
		Grant:  token.Grant{GrantID: "g_1", ClientID: "orders-app", Subject: "orders-app", AuthTime: begins, Epochs: token.Epochs{{Handle: "c_1", N: 1}}},
		Issuer: testIssuer, Audience: []string{testAudience}, IssuedAt: begins, ExpiresAt: begins.Add(life), ID: "1", Scope: []string{"orders:read"},
	}).Sign(d.t.Context(), d.key())
	if err != nil {
		d.t.Fatal(err)
	}
	return raw
}

// signed signs whatever these are.
func (d *deployment) signed(header, claims string) string {
	d.t.Helper()
	input := encode(header) + "." + encode(claims)
	signature, err := d.key().Sign(d.t.Context(), []byte(input))
	if err != nil {
		d.t.Fatal(err)
	}
	return input + "." + encode(string(signature))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// tool runs the tool in this process, with nothing in its environment.
func tool(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs, func(string) string { return "" })
	return code, out.String(), errs.String()
}

func TestInspectSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	d, other := deploy(t), deploy(t)
	now := time.Now()
	good := d.access(now, 15*time.Minute)
	parts := strings.Split(good, ".")
	kid := d.key().ID
	header := func(typ, alg string) string { return `{"alg":"` + alg + `","kid":"` + kid + `","typ":"` + typ + `"}` }
	refresh, err := (&token.Refresh{
		Grant:  token.Grant{GrantID: "g_1", ClientID: "orders-app", Subject: "orders-app", AuthTime: now, Epochs: token.Epochs{{Handle: "c_1", N: 1}}},
		Issuer: testIssuer, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ID: "1", Resources: []string{testAudience}, Mode: token.ModeBearer,
		GrantEnds: now.Add(time.Hour), AccessLifetime: time.Minute,
	}).Sign(t.Context(), d.key())
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := client.NewSecret(now)
	checks := []string{"--issuer", testIssuer, "--audience", testAudience}

	for name, row := range map[string]struct {
		token string
		flags []string
		code  int
		says  string // a regular expression for the first line
	}{
		"valid":                 {good, checks, 0, `^Valid\. It expires in (15 minutes|14 minutes 5\d seconds)\.$`},
		"valid, as it was sent": {"Authorization: Bearer " + good + "\n", checks, 0, `^Valid\. `},
		"valid, in quotes":      {`"` + good + `"`, checks, 0, `^Valid\. `},
		"within the leeway":     {d.access(now.Add(-time.Minute-2*time.Second), time.Minute), checks, 0, `^Valid\. It expired [234] seconds ago, which the leeway of 5 seconds`},
		"expired":               {d.access(now.Add(-18*time.Minute), 15*time.Minute), checks, 3, `^Not valid\. It expired 3 minutes( \d seconds?)? ago, at 20.*Z\. Refresh it\.$`},
		"expired yesterday":     {d.access(now.Add(-30*time.Hour), time.Hour), checks, 3, `^Not valid\. It expired 1 day 5 hours ago`},
		"not yet":               {d.access(now.Add(10*time.Minute), time.Hour), checks, 3, `^Not valid\. It is not valid yet: it begins in (10 minutes|9 minutes 5\d seconds)\. One of the two clocks is wrong\.$`},
		"altered claims":        {parts[0] + "." + encode(`{"iss":"`+testIssuer+`","sub":"admin"}`) + "." + parts[2], checks, 3, `^Not valid\. It was altered, or not signed by the key that it names`},
		"altered signature":     {parts[0] + "." + parts[1] + "." + encode(strings.Repeat("x", 64)), checks, 3, `It was altered`},
		"cut off":               {good[:len(good)-40], checks, 3, `It was altered`},
		"without its signature": {parts[0] + "." + parts[1], checks, 3, `It is no JWT: that has three parts joined by two dots, and this has 1 dot\.$`},
		"broken in two lines":   {good[:100] + "\n" + good[100:], checks, 3, `There is white space within it`},
		"encrypted":             {"a.b.c.d.e", checks, 3, `It is an encrypted token`},
		"nothing like it":       {"opaque", checks, 3, `this has 0 dots\.$`},
		"a secret":              {secret, checks, 3, `This is no token but a client's secret\.`},
		"no base64":             {parts[0] + "." + parts[1] + ".???", checks, 3, `It was altered, or cut off when it was copied: not base64url\.$`},
		"another deployment's":  {other.access(now, time.Minute), checks, 3, `It was signed by a key that is not in the JWKS: its kid is ` + other.key().ID + `, and .*jwks\.json has ` + kid},
		"a refresh token":       {refresh, checks, 3, `^Not valid\. It is a refresh token\. APIs take access tokens`},
		"an ID token":           {d.signed(header("JWT", "ES256"), `{}`), checks, 3, `its header's typ is "JWT" where an access token has "at\+jwt"`},
		"alg none":              {d.signed(header("at+jwt", "none"), `{}`), checks, 3, `Its header says that it is signed with none, and its key is of another algorithm`},
		"no claims":             {d.signed(header("at+jwt", "ES256"), `{"iss":"`+testIssuer+`","aud":"`+testAudience+`"}`), checks, 3, `Its claims are not those of an access token: exp, iat or auth_time is missing\.$`},
		"another issuer":        {good, []string{"--issuer", testIssuer + "/"}, 3, `it is of https://auth\.acme\.example, and --issuer is https://auth\.acme\.example/\.`},
		"another name":          {good, []string{"--issuer", "https://id.acme.example", "--accepted-issuer", "https://x.example", "--accepted-issuer", testIssuer, "--audience", testAudience}, 0, `^Valid\. `},
		"of none of the names":  {good, []string{"--issuer", "https://id.acme.example", "--accepted-issuer", testIssuer + "/"}, 3, `--issuer is https://id\.acme\.example, --accepted-issuer https://auth\.acme\.example/\.`},
		"another name alone":    {good, []string{"--accepted-issuer", testIssuer}, 2, ""},
		"an empty name":         {good, []string{"--issuer", testIssuer, "--accepted-issuer", ""}, 2, ""},
		"another audience":      {good, []string{"--audience", "https://other.example"}, 3, `it is for https://api\.acme\.example, and --audience is https://other\.example\.$`},
		"no audience":           {d.signed(header("at+jwt", "ES256"), `{"iss":"`+testIssuer+`"}`), nil, 3, `It is for no audience`},
		"no issuer":             {d.signed(header("at+jwt", "ES256"), `{"aud":"a"}`), nil, 3, `Not valid`},
		"steering a terminal":   {d.signed(header(`\u001b[2J\u202e`, "ES256"), `{"iss":"\u001b[2J"}`), nil, 3, `its header's typ is "`},
		"nothing":               {"  \n", checks, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := tool(t, row.token, append([]string{"token", "inspect", "--jwks", d.file}, row.flags...)...)
			first, _, _ := strings.Cut(stdout, "\n")
			if code != row.code || !regexp.MustCompile(row.says).MatchString(first) {
				t.Errorf("exit code %d, %q, stderr %q; want %d, %q", code, first, stderr, row.code, row.says)
			}
			if code == 3 && stderr != "" {
				t.Errorf("stderr is %q", stderr)
			}
			if strings.ContainsAny(stdout, "\x1b\u202e") {
				t.Errorf("control characters get to the terminal: %q", stdout)
			}
			if strings.Contains(stdout, secret) {
				t.Error("the secret is shown")
			}
		})
	}
}

func TestInspectSaysWhatItIsBoundTo(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	now := time.Now()
	thumbprint := token.CertificateThumbprint([]byte("x"))
	for says, binding := range map[string]token.Confirmation{
		"": {},
		"It is bound to the key " + thumbprint + ": by itself it is worth nothing. Who calls an API with it has to send a DPoP proof": {JKT: thumbprint},
		"It is bound to the certificate " + thumbprint + ": by itself it is worth nothing. Who calls an API with it has to connect":   {X5T: thumbprint},
		"It is bound to the key " + thumbprint + " and the certificate " + thumbprint:                                                 {JKT: thumbprint, X5T: thumbprint},
	} {
		raw, err := (&token.Access{
			Grant:  token.Grant{GrantID: "g_1", ClientID: "orders-app", Subject: "orders-app", AuthTime: now, Epochs: token.Epochs{{Handle: "c_1", N: 1}}},
			Issuer: testIssuer, Audience: []string{testAudience}, IssuedAt: now, ExpiresAt: now.Add(time.Minute), ID: "1", Confirmation: binding,
		}).Sign(t.Context(), d.key())
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := tool(t, "Authorization: DPoP "+raw, "token", "inspect", "--jwks", d.file)
		if code != 0 || !strings.HasPrefix(stdout, "Valid. ") || !strings.Contains(stdout, says) || (says == "") == strings.Contains(stdout, "It is bound") {
			t.Errorf("%+v: exit code %d, %s%s", binding, code, stdout, stderr)
		}
	}
}

func TestInspectShowsWhatItSays(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	raw := d.access(time.Now(), 15*time.Minute)
	code, stdout, _ := tool(t, raw, "token", "inspect", "--jwks", d.file)
	for _, want := range []string{
		"Not checked: its issuer (--issuer), its audience (--audience) and whether it is revoked.\n", `"typ": "at+jwt"`, `"scope": "orders:read"`, "\nissued ", "\nexpires ",
	} {
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, without %q:\n%s", code, want, stdout)
		}
	}

	var out struct {
		Valid       *bool
		Reason      string
		Explanation string
		NotChecked  []string `json:"not_checked"`
		Header      struct{ Alg string }
		Claims      struct{ Scope string }
	}
	code, stdout, _ = tool(t, raw, "token", "inspect", "--jwks", d.file, "--json")
	if err := json.Unmarshal([]byte(stdout), &out); err != nil || code != exitOK || out.Valid == nil || !*out.Valid || out.Claims.Scope != "orders:read" || out.Reason != "" ||
		!slices.Equal(out.NotChecked, []string{"issuer", "audience", "revocation"}) {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
	code, stdout, _ = tool(t, "-", "token", "inspect", "--jwks", d.file, "--json", "--audience", "https://other.example", raw)
	if err := json.Unmarshal([]byte(stdout), &out); err != nil || code != exitInvalid || *out.Valid || out.Reason != "audience" || out.Explanation == "" || out.Header.Alg != "ES256" {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
	code, stdout, _ = tool(t, raw+"x", "token", "inspect", "--no-verify")
	if code != exitOK || !strings.HasPrefix(stdout, "Decoded only: nothing of this was verified.\n") || !strings.Contains(stdout, "orders:read") {
		t.Errorf("--no-verify: exit code %d, %s", code, stdout)
	}
}

// TestInspectRevoked: with --issuer, what its feed says counts, and without an answer there is no verdict.
func TestInspectRevoked(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	log, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var down atomic.Bool
	// A feed of its own a request, which remembers nothing.
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == oauthJWKS:
			_, _ = w.Write(d.jwks)
		case r.URL.Path == oauthFeed && !down.Load():
			revocation.NewFeed(revocation.FeedConfig{Source: log}).ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	defer issuer.Close()
	now := time.Now()
	raw, err := (&token.Access{
		Grant:  token.Grant{GrantID: "g_1", ClientID: "orders-app", Subject: "orders-app", AuthTime: now, Epochs: token.Epochs{{Handle: "c_1", N: 1}}},
		Issuer: issuer.URL, Audience: []string{testAudience}, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ID: "1",
	}).Sign(t.Context(), d.key())
	if err != nil {
		t.Fatal(err)
	}
	inspect := func(what string, code int, says string, flags ...string) {
		t.Helper()
		got, stdout, stderr := tool(t, raw, append([]string{"token", "inspect"}, flags...)...)
		if got != code || !strings.Contains(stdout+stderr, says) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", what, got, code, says, stdout, stderr)
		}
	}
	inspect("valid", exitOK, "Not checked: its audience (--audience).\n", "--issuer", issuer.URL)
	inspect("valid", exitOK, `"not_checked": [`+"\n    \"audience\"\n  ]", "--issuer", issuer.URL, "--json")
	if err := log.Append(t.Context(), revocation.Grant("g_1", now)); err != nil {
		t.Fatal(err)
	}
	inspect("revoked", exitInvalid, "Not valid. It is revoked: its grant was revoked. Sign in again.\n", "--issuer", issuer.URL)
	inspect("revoked", exitInvalid, `"reason": "revoked"`, "--issuer", issuer.URL, "--json")
	inspect("by a file of keys alone", exitOK, "whether it is revoked", "--issuer", issuer.URL, "--jwks", d.file)
	down.Store(true)
	inspect("no feed", exitFailed, "looking for revocations", "--issuer", issuer.URL)
}

func TestInspectFetchesKeys(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	raw := d.access(time.Now(), 15*time.Minute)
	served := func(handler http.HandlerFunc) string {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		return s.URL
	}
	good := served(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/jwks.json" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(d.jwks)
	})
	huge := served(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte(" "), keyring.MaxJWKS+2))
	})
	away := served(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://keys.example/", http.StatusFound)
	})
	failing := served(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	private := filepath.Join(t.TempDir(), "private.json")
	if err := os.WriteFile(private, []byte(`{"keys":[{"kty":"oct","kid":"1","k":"AAAA"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}

	for name, row := range map[string]struct {
		flags  []string
		code   int
		stderr string
	}{
		"a URL":            {[]string{"--jwks", good + "/.well-known/jwks.json"}, exitOK, ""},
		"an issuer":        {[]string{"--issuer", good}, exitInvalid, ""}, // of another name
		"not found":        {[]string{"--jwks", good}, exitFailed, "answered 404"},
		"an error":         {[]string{"--jwks", failing}, exitFailed, "answered 503"},
		"too large":        {[]string{"--jwks", huge}, exitFailed, "larger than"},
		"http from afar":   {[]string{"--jwks", "http://keys.example/jwks.json"}, exitFailed, "keys are fetched by https"},
		"redirected there": {[]string{"--jwks", away}, exitFailed, "keys are fetched by https"},
		"no such file":     {[]string{"--jwks", filepath.Join(t.TempDir(), "none")}, exitFailed, "no such file"},
		"not keys":         {[]string{"--jwks", os.Args[0]}, exitFailed, "larger than"},
		"a private key":    {[]string{"--jwks", private}, exitFailed, "compromised"},
		"both":             {[]string{"--jwks", good, "--no-verify"}, exitUsage, "no-verify"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := tool(t, raw, append([]string{"token", "inspect"}, row.flags...)...)
			if code != row.code || !strings.Contains(stderr, row.stderr) || strings.Count(stderr, "\n") > 2 {
				t.Errorf("exit code %d, stderr %q; want %d, %q", code, stderr, row.code, row.stderr)
			}
		})
	}
}
