package authorizer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

var update = flag.Bool("update", false, "write the golden answers")

const (
	issuer   = "https://id.example.com"
	audience = "https://api.example.com"
)

// now is the time of the events in events/.
var now = time.Date(2026, 9, 1, 10, 15, 30, 0, time.UTC)

// world is an issuer with its keys, a JWKS on a real server, and a clock.
type world struct {
	t       testing.TB
	key     keyring.SigningKey
	refresh keyring.SigningKey
	jwks    []byte
	site    *httptest.Server
	down    atomic.Bool
	clock   atomic.Int64
	logs    lockedBuffer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	w.clock.Store(now.Unix())
	var d *keyring.Document
	w.key, d = newKey(t, keyring.UseAccess, keyring.ES256)
	w.refresh, _ = newKey(t, keyring.UseRefresh, keyring.HS256)
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	if w.jwks, err = json.Marshal(public.JWKS(now)); err != nil {
		t.Fatal(err)
	}
	w.site = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if w.down.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.Write(w.jwks)
	}))
	t.Cleanup(w.site.Close)
	return w
}

func newKey(t testing.TB, use keyring.Use, alg keyring.Algorithm) (keyring.SigningKey, *keyring.Document) {
	t.Helper()
	k, err := keyring.Generate(alg, now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{k}}
	s := keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return d, nil },
		Now:  func() time.Time { return now },
	})
	key, err := s.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key, d
}

func (w *world) now() time.Time { return time.Unix(w.clock.Load(), 0) }
func (w *world) at(at time.Time) *world {
	w.clock.Store(at.Unix())
	return w
}

// authorizer makes a new one: one that has just started, without any keys.
func (w *world) authorizer(simple bool) *authorizer.Authorizer {
	w.t.Helper()
	return w.with(authorizer.Config{SimpleResponses: simple})
}

// with is authorizer, of another configuration.
func (w *world) with(c authorizer.Config) *authorizer.Authorizer {
	w.t.Helper()
	log := slog.New(slog.NewJSONHandler(&w.logs, nil))
	keys, err := remotekeys.New(remotekeys.Config{URL: w.site.URL, Now: w.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	c.VerifierFor = func(audiences []string) (authorizer.Verifier, error) {
		return token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: audiences, Keys: keys, Now: w.now})
	}
	if c.Verifier, err = c.VerifierFor([]string{audience}); err != nil {
		w.t.Fatal(err)
	}
	c.Now, c.Log = w.now, log
	a, err := authorizer.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func claims() *token.Access {
	return &token.Access{
		Grant:    token.Grant{GrantID: "g_1", ClientID: "demo", Subject: "u_ada", AuthTime: now, Epochs: token.Epochs{{Handle: "h", N: 1}}},
		Issuer:   issuer,
		Audience: []string{audience}, IssuedAt: now, ExpiresAt: now.Add(15 * time.Minute), ID: "t_1",
		Scope: []string{"orders:read", "orders:write"},
	}
}

// token signs the claims, as change leaves them.
func (w *world) token(change func(*token.Access)) string {
	w.t.Helper()
	c := claims()
	if change != nil {
		change(c)
	}
	raw, err := c.Sign(w.t.Context(), w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since it was last called.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

// line returns the one line that was logged.
func (w *world) line() map[string]any {
	w.t.Helper()
	text := w.logs.take()
	var line map[string]any
	if strings.Count(text, "\n") != 1 || json.Unmarshal([]byte(text), &line) != nil {
		w.t.Fatalf("the log is not one line of JSON: %q", text)
	}
	return line
}

// form is one of the forms of events and answers.
type form struct {
	name, fixture string
	setting       bool // SimpleResponses
}

// unauthorized says that the kind has a 401 for bad tokens.
func (f form) unauthorized() bool { return !strings.HasPrefix(f.name, "http") }

// simple says that the answers are simple responses.
func (f form) simple() bool { return f.name == "http-simple" }

var forms = []form{
	{"rest-token", "authorizer-rest-token.json", false},
	{"rest-request", "authorizer-rest-request.json", false},
	{"http-policy", "authorizer-http-v2.json", false},
	{"http-simple", "authorizer-http-v2.json", true},
	{"http-1.0", "authorizer-http-v1.json", true}, // which has policies alone
	{"websocket", "authorizer-websocket.json", true},
}

// event is the fixture with another Authorization header.
func event(t testing.TB, f form, authorization string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../events", f.fixture))
	if err != nil {
		t.Fatal(err)
	}
	const placeholder = `"Bearer example-access-token"`
	if !bytes.Contains(data, []byte(placeholder)) {
		t.Fatalf("%s has no %s", f.fixture, placeholder)
	}
	value, err := json.Marshal(authorization)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(data, []byte(placeholder), value)
}

// answer is all forms of answers together.
type answer struct {
	PrincipalID    string            `json:"principalId"`
	Context        map[string]string `json:"context"`
	IsAuthorized   *bool             `json:"isAuthorized"`
	PolicyDocument *struct {
		Version   string
		Statement []struct {
			Effect, Action string
			Resource       []string
			Condition      map[string]map[string]string
		}
	} `json:"policyDocument"`
}

func parse(t *testing.T, out []byte) answer {
	t.Helper()
	var a answer
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("the answer %s: %v", out, err)
	}
	return a
}

// refused checks that the answer is its form's refusal of a bad token.
func refused(t *testing.T, f form, out []byte, err error, reason string) {
	t.Helper()
	if f.unauthorized() {
		if out != nil || err == nil || err.Error() != "Unauthorized" {
			t.Fatalf("Invoke = %s, %v, want the error Unauthorized", out, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Invoke: %v, want an answer that denies", err)
	}
	a := parse(t, out)
	if a.Context["reason"] != reason {
		t.Errorf("the context's reason is %q, want %q", a.Context["reason"], reason)
	}
	if f.simple() {
		if a.IsAuthorized == nil || *a.IsAuthorized || a.PolicyDocument != nil {
			t.Errorf("the answer is %s, want isAuthorized false", out)
		}
		return
	}
	if a.PolicyDocument == nil || len(a.PolicyDocument.Statement) != 1 || a.IsAuthorized != nil {
		t.Fatalf("the answer is %s, want a policy of one statement", out)
	}
	s := a.PolicyDocument.Statement[0]
	if s.Effect != "Deny" || s.Action != "execute-api:Invoke" || len(s.Condition) > 0 || a.PrincipalID == "" ||
		len(s.Resource) != 1 || s.Resource[0] != "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/$default/*" {
		t.Errorf("the statement is %+v, want an explicit deny of the whole stage", s)
	}
}

// code is RFC 6750's for a reason.
func code(reason string) any {
	switch reason {
	case "missing", "scheme", "identity_source":
		return nil
	case "repeated":
		return "invalid_request"
	}
	return "invalid_token"
}

func TestAnswers(t *testing.T) {
	w := newWorld(t)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			out, err := w.authorizer(f.setting).Invoke(t.Context(), event(t, f, "Bearer "+w.token(nil)))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, f.name+".json", out)
			line := w.line()
			for name, want := range map[string]string{
				"msg": "authorizer.allowed", "client_id": "demo", "sub": "u_ada", "grant_id": "g_1", "jti": "t_1",
				"scope": "orders:read orders:write", "level": "INFO",
			} {
				if line[name] != want {
					t.Errorf("the log's %s is %v, want %q", name, line[name], want)
				}
			}
			if _, ok := line["latency_ms"].(float64); !ok {
				t.Errorf("the log's latency_ms is %v", line["latency_ms"])
			}
		})
		t.Run(f.name+"-refused", func(t *testing.T) {
			out, err := w.authorizer(f.setting).Invoke(t.Context(), event(t, f, "Bearer x"))
			refused(t, f, out, err, "malformed")
			if !f.unauthorized() {
				golden(t, f.name+"-refused.json", out)
			}
			w.logs.take()
		})
	}
}

func golden(t *testing.T, name string, out []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, out, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the answer differs from %s:\n%s", path, b.Bytes())
	}
}

// flip changes one character of a part of a token to another of the alphabet.
func flip(raw string, part int) string {
	parts := strings.Split(raw, ".")
	b := []byte(parts[part])
	if b[5]++; !strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", string(b[5])) {
		b[5] = 'A'
	}
	parts[part] = string(b)
	return strings.Join(parts, ".")
}

// swapPayload puts other claims under the signature.
func swapPayload(raw, from, to string) string {
	parts := strings.Split(raw, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString(bytes.ReplaceAll(payload, []byte(from), []byte(to)))
	return strings.Join(parts, ".")
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	good := w.token(nil)
	other, _ := newKey(t, keyring.UseAccess, keyring.ES256)
	unknownKey, err := claims().Sign(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	other.ID = w.key.ID
	wrongKey, err := claims().Sign(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	c := claims()
	r := token.Refresh{
		Grant: c.Grant, Issuer: issuer, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ID: "r_1", Scope: c.Scope,
		Resources: []string{audience}, Mode: token.ModeBearer, GrantEnds: now.Add(time.Hour), AccessLifetime: time.Minute,
	}
	refreshToken, err := r.Sign(t.Context(), w.refresh)
	if err != nil {
		t.Fatal(err)
	}
	r.Issuer = issuer
	refreshByAccessKey, err := r.Sign(t.Context(), w.key)
	if err != nil {
		t.Fatal(err)
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"`+w.key.ID+`","typ":"at+jwt"}`)) + "." +
		strings.Split(good, ".")[1] + "."

	tests := []struct{ name, authorization, reason string }{
		{"another scheme", "Basic " + good, "scheme"},
		{"no scheme", good, "scheme"},
		{"empty", "", "scheme"},
		{"DPoP scheme", "DPoP " + good, "binding"},
		{"scheme alone", "Bearer", "credentials"},
		{"scheme and space", "Bearer ", "credentials"},
		{"scheme with a tab", "Bearer\t" + good, "scheme"},
		{"tab after space", "Bearer \t" + good, "credentials"},
		{"space before", " Bearer " + good, "scheme"},
		{"space after", "Bearer " + good + " ", "credentials"},
		{"two tokens", "Bearer " + good + " " + good, "credentials"},
		{"joined headers", "Bearer " + good + ",Bearer " + good, "credentials"},
		{"joined with Basic", "Basic eDp5,Bearer " + good, "scheme"},
		{"a parameter", "Bearer token=\"" + good + "\"", "credentials"},
		{"line break", "Bearer " + good + "\n", "credentials"},
		{"not ASCII", "Bearer " + good + "é", "credentials"},
		{"only padding", "Bearer ==", "credentials"},
		{"not a JWT", "Bearer abc", "malformed"},
		{"too long", "Bearer " + strings.Repeat("a", token.MaxLength+1), "malformed"},
		{"padded", "Bearer " + good + "=", "malformed"},
		{"a fourth part", "Bearer " + good + ".e30", "malformed"},
		{"altered header", "Bearer " + flip(good, 0), "malformed"},
		{"altered signature", "Bearer " + flip(good, 2), "signature"},
		{"altered subject", "Bearer " + swapPayload(good, "u_ada", "u_eve"), "signature"},
		{"of another key", "Bearer " + wrongKey, "signature"},
		{"unknown kid", "Bearer " + unknownKey, "unknown_key"},
		{"alg none", "Bearer " + none, "algorithm"},
		{"wrong issuer", "Bearer " + w.token(func(a *token.Access) { a.Issuer = issuer + "/" }), "issuer"},
		{"wrong audience", "Bearer " + w.token(func(a *token.Access) { a.Audience = []string{issuer} }), "audience"},
		{"expired", "Bearer " + w.token(func(a *token.Access) {
			a.AuthTime, a.IssuedAt, a.ExpiresAt = now.Add(-time.Hour), now.Add(-time.Hour), now.Add(-token.Leeway)
		}), "expired"},
		{"not yet", "Bearer " + w.token(func(a *token.Access) { a.IssuedAt = now.Add(token.Leeway + time.Second) }), "not_yet_valid"},
		{"no client", "Bearer " + w.token(func(a *token.Access) { a.ClientID = "" }), "claims"},
		{"a refresh token", "Bearer " + refreshToken, "type"},
		{"a refresh token of the access key", "Bearer " + refreshByAccessKey, "type"},
	}
	for _, f := range forms {
		a := w.authorizer(f.setting)
		for _, test := range tests {
			t.Run(f.name+"/"+test.name, func(t *testing.T) {
				if f.name == "rest-token" && test.authorization == "" {
					test.reason = "missing"
				}
				out, err := a.Invoke(t.Context(), event(t, f, test.authorization))
				refused(t, f, out, err, test.reason)
				text := w.logs.take()
				var line map[string]any
				if err := json.Unmarshal([]byte(text), &line); err != nil {
					t.Fatal(err)
				}
				if line["msg"] != "authorizer.refused" || line["reason"] != test.reason || line["error"] != code(test.reason) || line["cause"] == "" {
					t.Errorf("the log is %s, want the reason %q", text, test.reason)
				}
				for part := range strings.SplitSeq(strings.TrimPrefix(test.authorization, "Bearer "), ".") {
					if len(part) > 8 && (strings.Contains(text, part) || strings.Contains(string(out), part)) {
						t.Errorf("the log or the answer has a part of the token: %s %s", text, out)
					}
				}
			})
		}
	}
}

func TestAcceptedSpellings(t *testing.T) {
	w := newWorld(t)
	good := w.token(nil)
	for _, f := range forms {
		for _, authorization := range []string{"bearer " + good, "BEARER " + good, "Bearer   " + good} {
			if _, err := w.authorizer(f.setting).Invoke(t.Context(), event(t, f, authorization)); err != nil {
				t.Errorf("%s: %.8s…: %v", f.name, authorization, err)
			}
		}
	}
}

// The edges of a token's life. A simple response has the verifier's leeway; a policy ends at exp, and so does the 200.
func TestEdgesOfLife(t *testing.T) {
	w := newWorld(t)
	raw := w.token(nil)
	end := claims().ExpiresAt
	for _, f := range forms {
		last := end.Add(-time.Second)
		if f.simple() {
			last = end.Add(token.Leeway - time.Second)
		}
		a := w.authorizer(f.setting)
		for _, at := range []time.Time{now.Add(-token.Leeway), last} {
			w.at(at)
			if out, err := a.Invoke(t.Context(), event(t, f, "Bearer "+raw)); err != nil || bytes.Contains(out, []byte("false")) {
				t.Errorf("%s at %s: %s, %v, want it allowed", f.name, at.Format(time.TimeOnly), out, err)
			}
		}
		for at, reason := range map[time.Time]string{
			now.Add(-token.Leeway - time.Second): "not_yet_valid", last.Add(time.Second): "expired",
		} {
			w.at(at)
			out, err := a.Invoke(t.Context(), event(t, f, "Bearer "+raw))
			refused(t, f, out, err, reason)
		}
	}
}

func TestOutageIsNoRefusal(t *testing.T) {
	w := newWorld(t)
	raw := w.token(nil)
	w.down.Store(true)
	for _, f := range forms {
		a := w.authorizer(f.setting)
		out, err := a.Invoke(t.Context(), event(t, f, "Bearer "+raw))
		if out != nil || !errors.Is(err, authorizer.ErrUnavailable) || err.Error() != "latchkey: keys or revocations unavailable" {
			t.Errorf("%s: Invoke = %s, %v, want ErrUnavailable", f.name, out, err)
		}
		line := w.line()
		if line["msg"] != "authorizer.failed" || line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["cause"]), "status 503") {
			t.Errorf("%s: the log is %v", f.name, line)
		}
		// What is bad whatever the keys are is still a refusal.
		out, err = a.Invoke(t.Context(), event(t, f, "Bearer "+raw+".x"))
		refused(t, f, out, err, "malformed")
		w.logs.take()
	}
}

// replaced returns the fixture with a piece of its text replaced.
func replaced(t *testing.T, f form, authorization, old, new string) []byte {
	t.Helper()
	data := event(t, f, authorization)
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%s has no %s", f.fixture, old)
	}
	return bytes.ReplaceAll(data, []byte(old), []byte(new))
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	good := "Bearer " + w.token(nil)
	quoted := `"` + good + `"`
	request, http2, http1 := forms[1], forms[2], forms[4]
	tests := []struct {
		name   string
		form   form
		event  []byte
		reason string // empty: allowed
	}{
		{"REST, as sent", request, replaced(t, request, good, `"Authorization"`, `"aUTHORIZATION"`), ""},
		{"REST, none", request, replaced(t, request, good, `"Authorization"`, `"X-Authorization"`), "missing"},
		{"REST, twice", request, replaced(t, request, good, "[\n      "+quoted, "[\"Bearer x\",\n      "+quoted), "repeated"},
		{"REST, the same twice", request, replaced(t, request, good, "[\n      "+quoted, "["+quoted+",\n      "+quoted), "repeated"},
		{"REST, two spellings", request, replaced(t, request, good, `"multiValueHeaders": {`, `"multiValueHeaders": {"authorization": [`+quoted+`],`), "repeated"},
		{"REST, no values", request, replaced(t, request, good, "[\n      "+quoted+"\n    ]", `[]`), "missing"},
		{"REST, single values only", request, replaced(t, request, good, `"multiValueHeaders"`, `"other"`), ""},
		{"REST, multi values win", request, replaced(t, request, good, "[\n      "+quoted, `["Basic eDp5"`), "scheme"},
		{"REST, null headers", request, []byte(`{"type":"REQUEST","methodArn":"arn:aws:execute-api:r:1:a/s/GET/","resource":"/","httpMethod":"GET","headers":null,"multiValueHeaders":null}`), "missing"},
		{"HTTP 1.0, as sent", http1, replaced(t, http1, good, `"Authorization"`, `"authorization"`), ""},
		{"HTTP 1.0, twice", http1, replaced(t, http1, good, "[\n      "+quoted, "[\"Bearer x\",\n      "+quoted), "repeated"},
		{"HTTP 1.0, single values only", http1, replaced(t, http1, good, `"multiValueHeaders"`, `"other"`), ""},
		{"HTTP 1.0, identity source of another header", http1, replaced(t, http1, good, `"identitySource": `+quoted, `"identitySource": "key-1"`), "identity_source"},
		{"HTTP 1.0, several identity sources", http1, replaced(t, http1, good, `"identitySource": `+quoted, `"identitySource": "GET /whoami,`+good+`"`), ""},
		{"HTTP 1.0, no identity source", http1, replaced(t, http1, good, `"identitySource": `+quoted, `"identitySource": ""`), ""},
		{"HTTP, as sent", http2, replaced(t, http2, good, `"authorization"`, `"Authorization"`), ""},
		{"HTTP, none", http2, replaced(t, http2, good, `"authorization"`, `"x-authorization"`), "missing"},
		{"HTTP, identity source of another header", http2, replaced(t, http2, good, "[\n    "+quoted+"\n  ]", `["key-1"]`), "identity_source"},
		{"HTTP, several identity sources", http2, replaced(t, http2, good, "[\n    "+quoted+"\n  ]", `["GET /whoami",`+quoted+`]`), ""},
		{"HTTP, no identity source", http2, replaced(t, http2, good, "[\n    "+quoted+"\n  ]", `null`), ""},
		{"HTTP, token in the identity source alone", http2, replaced(t, http2, good, `"authorization": `+quoted+`,`, ``), "missing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w.logs.take()
			out, err := w.authorizer(false).Invoke(t.Context(), test.event)
			if test.reason != "" {
				refused(t, test.form, out, err, test.reason)
				if got := w.line()["reason"]; got != test.reason {
					t.Errorf("the log's reason is %v, want %s", got, test.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a := parse(t, out); a.PolicyDocument == nil || a.PolicyDocument.Statement[0].Effect != "Allow" {
				t.Errorf("the answer is %s, want an allow", out)
			}
		})
	}
}

// Where a WebSocket's token may be.
func TestWebSocketToken(t *testing.T) {
	w := newWorld(t)
	good := w.token(nil)
	ws := forms[5]
	const inHeaders, inQuery = `"multiValueHeaders": {`, `"multiValueQueryStringParameters": {`
	const authorization = `"Authorization": ["Bearer TOKEN"],`
	for _, test := range []struct {
		name, setting, old, new string
		reason                  string // empty: allowed
	}{
		{"header", "header", inHeaders, authorization, ""},
		{"header, with another place on", "protocol", inHeaders, authorization, ""},
		{"none", "header", inHeaders, ``, "missing"},
		{"protocol, turned off", "header", inHeaders, `"Sec-WebSocket-Protocol": ["latchkey.bearer, TOKEN"],`, "missing"},
		{"query, turned off", "header", inQuery, `"access_token": ["TOKEN"],`, "missing"},
		{"protocol", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["latchkey.bearer, TOKEN"],`, ""},
		{"protocol, without a space", "protocol", inHeaders, `"sec-websocket-protocol": ["latchkey.bearer,TOKEN"],`, ""},
		{"protocol, among others", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["chat.v2, latchkey.bearer, TOKEN, chat.v1"],`, ""},
		{"protocol, in two lines", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["chat, latchkey.bearer", "TOKEN"],`, ""},
		{"protocol, alone", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["latchkey.bearer"],`, "credentials"},
		{"protocol, another", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["bearer, TOKEN"],`, "missing"},
		{"protocol, in another case", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["Latchkey.Bearer, TOKEN"],`, "missing"},
		{"protocol, twice", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["latchkey.bearer, TOKEN, latchkey.bearer, TOKEN"],`, "repeated"},
		{"protocol, no token", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["latchkey.bearer, x y"],`, "credentials"},
		{"protocol, a bad token", "protocol", inHeaders, `"Sec-WebSocket-Protocol": ["latchkey.bearer, x.y.z"],`, "malformed"},
		{"protocol and header", "protocol", inHeaders, authorization + `"Sec-WebSocket-Protocol": ["latchkey.bearer, TOKEN"],`, "repeated"},
		{"query", "query:access_token", inQuery, `"access_token": ["TOKEN"],`, ""},
		{"query, twice", "query:access_token", inQuery, `"access_token": ["TOKEN", "TOKEN"],`, "repeated"},
		{"query, in another case", "query:access_token", inQuery, `"Access_Token": ["TOKEN"],`, "missing"},
		{"query, empty", "query:access_token", inQuery, `"access_token": [""],`, "credentials"},
		{"query, when protocol is on", "protocol", inQuery, `"access_token": ["TOKEN"],`, "missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			setting, err := authorizer.ParseWebSocketToken(test.setting)
			if err != nil {
				t.Fatal(err)
			}
			a := w.authorizer(false)
			a.WebSocketToken = setting
			// The fixture's own header out of the way, then the case's in.
			payload := replaced(t, ws, "x", `"Authorization"`, `"X-Other"`)
			payload = bytes.Replace(payload, []byte(test.old), []byte(test.old+strings.ReplaceAll(test.new, "TOKEN", good)), 1)
			payload = bytes.ReplaceAll(payload, []byte("],}"), []byte("]}"))
			w.logs.take()
			out, err := a.Invoke(t.Context(), payload)
			if test.reason != "" {
				refused(t, ws, out, err, test.reason)
				if line := w.line(); line["reason"] != test.reason {
					t.Errorf("the log is %v, want the reason %s", line, test.reason)
				}
				return
			}
			if err != nil || !bytes.Contains(out, []byte(`"Allow"`)) {
				t.Errorf("Invoke = %s, %v, want an allow", out, err)
			}
		})
	}
	// No other kind takes a token from there.
	a := w.authorizer(false)
	a.WebSocketToken = authorizer.WebSocketToken{Query: "access_token"}
	payload := replaced(t, forms[1], "Bearer "+good, `"Authorization"`, `"X-Other"`)
	payload = bytes.Replace(payload, []byte(inQuery), []byte(inQuery+`"access_token": ["`+good+`"]`), 1)
	if out, err := a.Invoke(t.Context(), payload); !errors.Is(err, authorizer.ErrUnauthorized) {
		t.Errorf("REST, a token in the query: %s, %v", out, err)
	}
	for _, bad := range []string{"", "Header", "query", "query:", "query:a b", "query:a=b", "protocol:x", "header,protocol"} {
		if got, err := authorizer.ParseWebSocketToken(bad); err == nil {
			t.Errorf("ParseWebSocketToken(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestUnknownEvents(t *testing.T) {
	w := newWorld(t)
	a := w.authorizer(false)
	good := "Bearer " + w.token(nil)
	const arn = `"arn:aws:execute-api:eu-central-1:123456789012:a/s/GET/"`
	tests := map[string][]byte{
		"nothing":             nil,
		"not JSON":            []byte("{"),
		"null":                []byte("null"),
		"an object":           []byte("{}"),
		"a request":           []byte(`{"version":"2.0","routeKey":"GET /"}`),
		"no type":             replaced(t, forms[0], good, `"type"`, `"kind"`),
		"TOKEN of HTTP":       []byte(`{"type":"TOKEN","version":"2.0","methodArn":` + arn + `}`),
		"version 3":           replaced(t, forms[2], good, `"version": "2.0"`, `"version": "3.0"`),
		"HTTP 1.0, no route":  []byte(`{"version":"1.0","type":"REQUEST","methodArn":` + arn + `,"httpMethod":"GET"}`),
		"WebSocket's message": replaced(t, forms[5], good, `"CONNECT"`, `"MESSAGE"`),
		"WebSocket, no type":  []byte(`{"type":"REQUEST","methodArn":"arn:aws:execute-api:r:1:a/s/$connect","headers":{}}`),
		"WebSocket's route":   replaced(t, forms[5], good, `prod/$connect`, `prod/sendmessage`),
		"WebSocket of REST":   replaced(t, forms[5], good, `prod/$connect`, `prod/GET/$connect`),
		"both ARNs":           replaced(t, forms[2], good, `"routeArn"`, `"methodArn":`+arn+`,"routeArn"`),
		"no ARN":              replaced(t, forms[0], good, `"methodArn"`, `"arn"`),
		"another service":     replaced(t, forms[0], good, `execute-api`, `lambda`),
		"too short":           []byte(`{"type":"TOKEN","methodArn":"arn:aws:execute-api:r:1:a/s"}`),
		"no API":              []byte(`{"type":"TOKEN","methodArn":"arn:aws:execute-api:r:1:/s/GET/"}`),
		"no account":          []byte(`{"type":"TOKEN","methodArn":"arn:aws:execute-api:r::a/s/GET/"}`),
		"a wildcard":          []byte(`{"type":"TOKEN","methodArn":"arn:aws:execute-api:r:1:a/*/GET/"}`),
		"a wildcard API":      []byte(`{"type":"TOKEN","methodArn":"arn:aws:execute-api:r:1:?/s/GET/"}`),
		"a policy variable":   []byte(`{"type":"TOKEN","methodArn":"arn:aws:execute-api:r:1:a/${aws:username}/GET/"}`),
		"broken headers":      replaced(t, forms[2], good, `"headers": {`, `"headers": {"a",`),
	}
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := a.Invoke(t.Context(), payload)
			if out != nil || !errors.Is(err, authorizer.ErrUnknownEvent) {
				t.Errorf("Invoke = %s, %v, want ErrUnknownEvent", out, err)
			}
			if line := w.line(); line["msg"] != "authorizer.failed" {
				t.Errorf("the log is %v", line)
			}
		})
	}
}

// The policy names this API and stage and no other, whatever stands in the path, which is the caller's.
func TestPolicyResource(t *testing.T) {
	w := newWorld(t)
	a := w.authorizer(false)
	good := "Bearer " + w.token(nil)
	for arn, want := range map[string]string{
		"arn:aws:execute-api:eu-central-1:123456789012:abc/prod/GET/whoami":          "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/*",
		"arn:aws-cn:execute-api:cn-north-1:123456789012:abc/prod/GET/":               "arn:aws-cn:execute-api:cn-north-1:123456789012:abc/prod/*",
		"arn:aws-us-gov:execute-api:us-gov-west-1:1:abc/v1.2_x-y/POST/a/b/c":         "arn:aws-us-gov:execute-api:us-gov-west-1:1:abc/v1.2_x-y/*",
		"arn:aws:execute-api:r:1:abc/prod/GET/x:y/arn:aws:execute-api:r:1:evil/*/*":  "arn:aws:execute-api:r:1:abc/prod/*",
		"arn:aws:execute-api:r:1:abc/prod/GET/*":                                     "arn:aws:execute-api:r:1:abc/prod/*",
		"arn:aws:execute-api:r:1:abc/prod/GET//../../../evil/prod/GET/admin?x=y#z%2": "arn:aws:execute-api:r:1:abc/prod/*",
	} {
		payload, err := json.Marshal(map[string]string{"type": "TOKEN", "methodArn": arn, "authorizationToken": good})
		if err != nil {
			t.Fatal(err)
		}
		out, err := a.Invoke(t.Context(), payload)
		if err != nil {
			t.Fatalf("%s: %v", arn, err)
		}
		if got := parse(t, out).PolicyDocument.Statement[0].Resource; len(got) != 1 || got[0] != want {
			t.Errorf("%s: the resource is %v, want %s", arn, got, want)
		}
	}
	// An HTTP API's $default route has an ARN without a path.
	out, err := a.Invoke(t.Context(), replaced(t, forms[2], good, "$default/GET/whoami", "$default/$default"))
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, out).PolicyDocument.Statement[0].Resource[0]; !strings.HasSuffix(got, ":a1b2c3d4e5/$default/*") {
		t.Errorf("the resource of the $default route is %s", got)
	}
}

func TestPolicyDoesNotDependOnTheRoute(t *testing.T) {
	w := newWorld(t)
	a := w.authorizer(false)
	good := "Bearer " + w.token(nil)
	one, err1 := a.Invoke(t.Context(), event(t, forms[1], good))
	two, err2 := a.Invoke(t.Context(), replaced(t, forms[1], good, "/GET/whoami", "/DELETE/admin"))
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, two) {
		t.Errorf("two routes of a stage get different answers (%v):\n%s\n%s", err, one, two)
	}
}

// A client can make an event large; it still is a matter of microseconds, and many small headers are no fault of ours.
func TestManyHeaders(t *testing.T) {
	w := newWorld(t)
	var many strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&many, `"h%d": ["x"],`, i)
	}
	payload := replaced(t, forms[1], "Bearer "+w.token(nil), `"multiValueHeaders": {`, `"multiValueHeaders": {`+many.String())
	if _, err := w.authorizer(false).Invoke(t.Context(), payload); err != nil {
		t.Error(err)
	}
}

type verifierFunc func(context.Context, string) (*token.Access, error)

func (f verifierFunc) Verify(ctx context.Context, raw string) (*token.Access, error) {
	return f(ctx, raw)
}

func TestPanicIsOurTrouble(t *testing.T) {
	var logs lockedBuffer
	a, err := authorizer.New(authorizer.Config{
		Verifier: verifierFunc(func(context.Context, string) (*token.Access, error) { panic("secret") }),
		Log:      slog.New(slog.NewJSONHandler(&logs, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range forms {
		out, err := a.Invoke(t.Context(), event(t, f, "Bearer abc"))
		if out != nil || !errors.Is(err, authorizer.ErrInternal) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: Invoke = %s, %v, want ErrInternal", f.name, out, err)
		}
		if text := logs.take(); !strings.Contains(text, `"stack"`) || !strings.Contains(text, "authorizer.failed") {
			t.Errorf("%s: the log is %s", f.name, text)
		}
	}
}

func TestNewNeedsAVerifier(t *testing.T) {
	if a, err := authorizer.New(authorizer.Config{}); err == nil || a != nil {
		t.Errorf("New = %v, %v, want an error", a, err)
	}
}

func TestConcurrently(t *testing.T) {
	w := newWorld(t)
	good, bad := w.token(nil), w.token(func(a *token.Access) { a.Issuer = "https://other.example" })
	a := w.authorizer(false)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 25 {
				f := forms[i%3]
				if _, err := a.Invoke(t.Context(), event(t, f, "Bearer "+good)); err != nil {
					t.Errorf("%s: %v", f.name, err)
				}
				out, err := a.Invoke(t.Context(), event(t, f, "Bearer "+bad))
				if f.unauthorized() != (err != nil) || bytes.Contains(out, []byte("Allow")) {
					t.Errorf("%s: a bad token: %s, %v", f.name, out, err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzInvoke(f *testing.F) {
	for _, form := range forms {
		data, err := os.ReadFile(filepath.Join("../../events", form.fixture))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	a, err := authorizer.New(authorizer.Config{
		Verifier: verifierFunc(func(context.Context, string) (*token.Access, error) {
			return nil, &token.InvalidError{Reason: token.ReasonMalformed}
		}),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, err := a.Invoke(t.Context(), payload)
		if errors.Is(err, authorizer.ErrInternal) || bytes.Contains(out, []byte("Allow")) || bytes.Contains(out, []byte("true")) {
			t.Errorf("Invoke(%q) = %s, %v", payload, out, err)
		}
	})
}
