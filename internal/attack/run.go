package attack

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// World is a whole Latchkey, made by the test that runs the table.
type World struct {
	Handler http.Handler // serves every endpoint
	Clients *client.Registry
	Users   *user.Registry
	Clock   *clocktest.Clock // nil: the time goes by

	// What requests leave behind is judged where it can be read.
	Store string // the store's file; empty: it is elsewhere
	Log   *Log   // where Handler logs; nil: elsewhere

	Secrets Secrets
	clients map[string]string // their secrets
}

// Log takes log lines. The zero value is ready. Safe for many goroutines.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Take returns what was written since it was asked last.
func (l *Log) Take() string {
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// What the table's clients may have.
const (
	Orders   = "https://orders.example.com"
	Invoices = "https://invoices.example.com"
	password = "correct horse battery staple"
)

// Register makes the table's clients and users.
func (w *World) Register(t testing.TB) {
	t.Helper()
	everything := []string{oauth.GrantClientCredentials, oauth.GrantRefreshToken, oauth.GrantPassword}
	w.clients = map[string]string{}
	for _, spec := range []client.Spec{
		{ID: "shop", Grants: everything},
		{ID: "other"},
		{ID: "disabled"},
		{ID: "mute", Grants: []string{oauth.GrantRefreshToken}},
		{ID: "vault", RefreshMode: token.ModeSecret},
		{ID: "single", RefreshMode: token.ModeRotating},
		{ID: "bound", RefreshMode: token.ModeDPoP},
		{ID: "api", Introspects: []string{Orders}},
	} {
		spec.Scopes = oauth.Scope{"orders:read", "orders:write", "profile"}
		spec.Audiences = []string{Orders, Invoices}
		_, secret, err := w.Clients.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		w.clients[spec.ID] = secret
		w.Secrets.AddBasic(spec.ID, secret)
	}
	if _, err := w.Clients.SetDisabled(t.Context(), "disabled", true); err != nil {
		t.Fatal(err)
	}
	unknown, _ := client.NewSecret(time.Now())
	w.clients["nobody"] = unknown
	w.Secrets.Add("a secret", unknown)
	for _, name := range []string{"ada", "ada#1"} {
		if _, err := w.Users.Create(t.Context(), user.Spec{Username: strings.ReplaceAll(name, "#", "-"), Scopes: oauth.Scope{"orders:read"}, Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	w.Secrets.Add("a password", password)
	// What is made up at the first use of it is made up now: the feed's name, and the key of the counts of sign-ins.
	w.ask(t, http.MethodPost, tokenPath, "grant_type=password&username=ada&password="+url.QueryEscape(password), "shop")
	w.ask(t, http.MethodGet, feedPath, "", "")
}

// ask makes a good request, without a door.
func (w *World) ask(t testing.TB, method, path, body, id string) []byte {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	if id != "" {
		r.SetBasicAuth(id, w.clients[id])
	}
	rec := httptest.NewRecorder()
	w.Handler.ServeHTTP(rec, r)
	if rec.Code != http.StatusOK {
		t.Fatalf("%s %s by %s: %d %s", method, path, id, rec.Code, rec.Body)
	}
	return rec.Body.Bytes()
}

// Secret is a client's.
func (w *World) Secret(id string) string { return w.clients[id] }

// filler puts secrets and tokens in the place of what stands for them, by one sign-in of a client at most.
func (w *World) filler(t testing.TB) func(string) string {
	signedIn := map[string]*oauth.TokenResponse{}
	return func(text string) string {
		if strings.Contains(text, "{basic") {
			text = w.spellings().Replace(text)
		}
		return placeholder.ReplaceAllStringFunc(text, func(name string) string {
			m := placeholder.FindStringSubmatch(name)
			id, what := m[1], m[2]
			if what == "secret" {
				return w.clients[id]
			}
			if signedIn[id] == nil {
				signedIn[id] = w.SignIn(t, id)
			}
			if what == "access" {
				return signedIn[id].AccessToken
			}
			return signedIn[id].RefreshToken
		})
	}
}

// spellings puts good Basic credentials in the place of {basic}, and what only a lax decoder takes for them in that of others.
func (w *World) spellings() *strings.Replacer {
	good := base64.StdEncoding.EncodeToString([]byte("shop:" + w.clients["shop"])) // 64 bytes: the last digit has four bits to spare
	bare := strings.TrimRight(good, "=")
	last := bare[len(bare)-1]
	return strings.NewReplacer(
		"{basic}", good, "{basic unpadded}", bare, "{basic padded}", good+"=", "{basic other bits}", bare[:len(bare)-1]+string(last+1)+"==",
		"{basic spaced}", good[:8]+" "+good[8:], "{basic tabbed}", "	"+good, "{basic and more}", good+", x",
	)
}

// SignIn signs a client in.
func (w *World) SignIn(t testing.TB, id string) *oauth.TokenResponse {
	t.Helper()
	var answer oauth.TokenResponse
	body := w.ask(t, http.MethodPost, tokenPath, "grant_type=client_credentials", id)
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	w.keep(&answer)
	return &answer
}

func (w *World) keep(a *oauth.TokenResponse) {
	w.Secrets.Add("an access token", a.AccessToken)
	w.Secrets.Add("a refresh token", a.RefreshToken)
}

// door is a way in.
type door int

// The doors: a server as on a laptop, and API Gateway's two kinds with the handlers as Lambda functions behind them.
const (
	plain   door = 1 << iota
	httpAPI      // payload format 2.0, the body in base64
	restAPI      // payload format 1.0, the body as text
	all     = plain | httpAPI | restAPI
)

func (d door) String() string {
	return map[door]string{plain: "plain HTTP", httpAPI: "HTTP API", restAPI: "REST API"}[d]
}

// listen starts a server and returns its address.
func (w *World) listen(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.MaxHeaderBytes = 16 << 10 // as `latchkey dev` has it
	if w.Log != nil {
		s.Config.ErrorLog = slog.NewLogLogger(slog.NewJSONHandler(w.Log, nil), slog.LevelWarn)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// open starts a server for each door and returns its address.
func (w *World) open(t testing.TB) map[door]string {
	t.Helper()
	behind := func(kind gateway.Kind) http.Handler {
		api := gateway.API{Kind: kind, Now: w.Clock.Now, Log: slog.New(slog.NewJSONHandler(w.Log, nil))}
		for _, path := range slices.Concat(formPaths, publicPaths) {
			api.Routes = append(api.Routes, gateway.Route{Method: "ANY", Path: path, Function: lambdahttp.Handler(w.Handler)})
		}
		g, err := gateway.New(api)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	return map[door]string{
		plain: w.listen(t, w.Handler), httpAPI: w.listen(t, behind(gateway.HTTP)), restAPI: w.listen(t, behind(gateway.REST)),
	}
}

// Run sends every request of the table through every door that it is for, and returns how many it sent.
func (w *World) Run(t *testing.T) (sent map[string]int) {
	addresses := w.open(t)
	sent = map[string]int{}
	for class, cases := range Table() {
		for _, c := range cases {
			t.Run(class+"/"+c.name, func(t *testing.T) {
				for _, d := range []door{plain, httpAPI, restAPI} {
					if c.doors&d != 0 {
						w.try(t, addresses[d], c, d)
						sent[class]++
					}
				}
			})
		}
	}
	return sent
}

// Sample sends one of so many requests of the classes named to Handler, which is an HTTP API with functions behind it, and
// returns how many it sent.
func (w *World) Sample(t *testing.T, every int, classes ...string) (sent int) {
	t.Helper()
	address := w.listen(t, w.Handler)
	table, i := Table(), 0
	for _, class := range classes {
		for _, c := range table[class] {
			if c.doors&httpAPI == 0 {
				continue
			}
			if i++; i%every == 0 {
				t.Run(class+"/"+c.name, func(t *testing.T) { w.try(t, address, c, httpAPI) })
				sent++
			}
		}
	}
	return sent
}

// try sends one request and judges the answer, the log and the store.
func (w *World) try(t *testing.T, address string, c Case, d door) {
	t.Helper()
	if w.Clock != nil {
		w.Clock.Move(time.Second)
	}
	fill := w.filler(t)
	request := c.request.marshal("auth.example.com", fill, &w.Secrets)
	var before, after state
	if w.Store != "" {
		before = readState(t, w.Store)
	}
	w.Log.Take()
	res, body, err := send(address, request, c.request.method)
	if err != nil {
		t.Errorf("%s: %v", d, err)
		return
	}
	log := w.Log.Take()
	if w.Store != "" {
		after = readState(t, w.Store)
	}
	res.Header = ofOurs(res.Header)
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s: "+format+"\n%d %v\n%.500s\nlog: %.500s", append([]any{d, c.rfc}, append(args, res.StatusCode, res.Header, body, log)...)...)
	}

	want := c.expected(d)
	var answer struct {
		Error oauth.Code `json:"error"`
		oauth.TokenResponse
	}
	_ = json.Unmarshal(body, &answer) // what is no JSON is found by Breaches
	if res.StatusCode != want.status || answer.Error != want.code {
		fail("want %d %s", want.status, want.code)
	}
	for _, line := range c.headers {
		name, value, _ := strings.Cut(line, ": ")
		if got := strings.Join(res.Header.Values(name), ", "); got != value {
			fail("%s is %q, want %q", name, got, value)
		}
	}
	for _, part := range c.parts {
		if !strings.Contains(string(body), part) {
			fail("the body lacks %s", part)
		}
	}
	ours := !c.transport && res.StatusCode != http.StatusNotFound
	if ours {
		answer := Answer{
			Method: c.request.method, Path: c.request.path, Authorization: c.request.authorized(),
			Status: res.StatusCode, Header: res.Header, Body: body,
		}
		for _, breach := range append(Breaches(answer), undeclared(answer)...) {
			fail("%s", breach)
		}
	}
	w.keep(&answer.TokenResponse)
	if res.StatusCode >= 400 {
		shown := said(res.Header) + string(body)
		if what := w.Secrets.Find(shown); what != "" {
			fail("the refusal holds %s", what)
		}
		if echo := c.request.echoed(shown, fill); echo != "" {
			fail("the refusal repeats %q", echo)
		}
	}
	if w.Log != nil {
		w.judgeLog(fail, c, log, ours)
	}
	for _, key := range changes(t, before, after) {
		table, _, _ := strings.Cut(key, "/")
		counted := c.counted && table == "signins"
		if !counted && (!c.writes || res.StatusCode >= 400) {
			fail("the store changed: %s", key)
		}
	}
}

// judgeLog sees to it that a request cannot make the log say other than what was meant.
func (w *World) judgeLog(fail func(string, ...any), c Case, log string, ours bool) {
	if what := w.Secrets.Find(log); what != "" {
		fail("the log holds %s", what)
	}
	lines := 0
	for line := range strings.Lines(log) {
		lines++
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			fail("a line that is no JSON: %v", err)
		}
		if strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0 {
			fail("a line with control characters in it")
		}
		if len(line) > 4<<10 {
			fail("a line of %d bytes", len(line))
		}
	}
	if ours && slices.Contains(formPaths, c.request.path) && lines != 1 {
		fail("%d lines for one request", lines)
	}
}

// ofOurs are the headers as they were before a REST API renamed one of them, as it does with each function's.
func ofOurs(h http.Header) http.Header {
	const renamed = "X-Amzn-Remapped-Www-Authenticate"
	if values, ok := h[renamed]; ok {
		h = h.Clone()
		h["Www-Authenticate"] = values
	}
	return h
}

// said is all of the headers' text.
func said(h http.Header) string {
	var b strings.Builder
	_ = h.Write(&b) // a strings.Builder takes everything
	return b.String()
}

// canary is in what the table sends where nothing else would tell it from what an answer has of itself.
const canary = "zq7canary"

// words are sent, and are in fixed texts too.
var words = []string{
	oauth.GrantClientCredentials, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantJWTBearer, formType, oauth.PathToken, "application/json", "identity",
}

// echoed returns which part of the request the answer repeats.
func (r Request) echoed(shown string, fill func(string) string) string {
	parts := []string{canary, "X-Injected"}
	for _, p := range r.body {
		parts = append(parts, fill(p.value))
	}
	for _, h := range r.headers {
		parts = append(parts, fill(h.value))
	}
	values, _ := url.ParseQuery(r.query) // what can't be read is not looked for
	for _, v := range values {
		parts = append(parts, v...)
	}
	for _, p := range parts {
		if len(p) >= minSecret && !slices.Contains(words, p) && strings.Contains(strings.ToLower(shown), strings.ToLower(p)) {
			return p
		}
	}
	return ""
}

// Paths, short.
const (
	tokenPath, refreshPath, revokePath, introspectPath = oauth.PathToken, oauth.PathRefresh, oauth.PathRevoke, oauth.PathIntrospect
	feedPath                                           = revocation.PathFeed
)
