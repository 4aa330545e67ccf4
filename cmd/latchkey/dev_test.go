package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/internal/gateway"
)

// process is a running `latchkey dev`.
type process struct {
	cmd            *exec.Cmd
	welcome        string
	issuer, secret string
	log            *buffer // stderr
	exited         chan error
}

// buffer can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts `latchkey dev` and returns once it has printed all that it prints.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: &buffer{}, exited: make(chan error, 1)}
	cmd.Stderr = p.log
	cmd.Env = append(cmd.Environ(), "GORACE="+goRace)
	cmd.WaitDelay = 5 * time.Second
	stdout, stdoutWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = stdoutWriter
	err = cmd.Start()
	stdoutWriter.Close()
	if err != nil {
		return nil, err
	}
	go func() { p.exited <- cmd.Wait() }()
	lines := bufio.NewReader(stdout)
	for !strings.Contains(p.welcome, "\nThe other commands work meanwhile") {
		line, err := lines.ReadString('\n')
		p.welcome += line
		if err != nil {
			return nil, fmt.Errorf("dev ended (%v) after printing %q and logging %q", <-p.exited, p.welcome, p.log)
		}
	}
	go func() {
		defer stdout.Close()
		_, _ = io.Copy(io.Discard, lines)
	}()
	if p.issuer, err = submatch(`runs on (http://\S+),`, p.welcome); err == nil {
		p.secret, err = submatch(`client secret\s+(\S+)`, p.welcome)
	}
	return p, err
}

// stop ends it as Ctrl-C does; it must end well.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-p.exited:
		if err != nil {
			return fmt.Errorf("%w, after logging %s", err, p.log)
		}
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("it does not end: %w", p.kill())
	}
}

func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.exited
	return nil
}

func submatch(expression, text string) (string, error) {
	match := regexp.MustCompile(expression).FindStringSubmatch(text)
	if match == nil {
		return "", fmt.Errorf("no %s in %q", expression, text)
	}
	return match[1], nil
}

// TestDevFlow builds the tool, starts `latchkey dev`, and pastes what it prints into a shell, as a new user does.
func TestDevFlow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := filepath.Join(dir, "latchkey")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(bin, "dev")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PORT=0")
	p, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	var onDisk map[string]string
	data, err := os.ReadFile(filepath.Join(dir, ".latchkey", "demo.json"))
	if err != nil || json.Unmarshal(data, &onDisk) != nil {
		t.Fatalf("demo.json: %v %s", err, data)
	}
	for name, want := range map[string]string{
		"issuer": p.issuer, "token_endpoint": p.issuer + "/oauth2/token", "client_id": "demo", "client_secret": p.secret,
	} {
		if onDisk[name] != want {
			t.Errorf("demo.json: %s is %q, want %q", name, onDisk[name], want)
		}
	}
	if lines := strings.Count(p.welcome, "\n"); lines > 40 {
		t.Errorf("what it prints has %d lines: more than a screen", lines)
	}
	commands := pasteable(p.welcome)

	for _, shell := range []string{"bash", "zsh"} {
		path, err := exec.LookPath(shell)
		if err != nil && shell != "bash" {
			continue // where there is no zsh, nobody pastes into one
		}
		t.Run(shell, func(t *testing.T) { flow(t, startShell(t, path), p, commands) })
	}
	for _, secret := range []string{p.secret, "eyJ"} {
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}

// pasteable are the commands printed: the lines that four spaces set apart.
func pasteable(welcome string) []string {
	var commands []string
	for line := range strings.Lines(welcome) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSuffix(command, "\n"))
		}
	}
	return commands
}

// flow is what must come of the commands, one after the other.
func flow(t *testing.T, sh *shell, p *process, commands []string) {
	const all, part = `"scope":"orders:read orders:write"`, `"scope":"orders:read"`
	want := []struct {
		what    string
		has     []string
		hasNot  []string
		silence bool
	}{
		{what: "sign in", has: []string{`"token_type":"Bearer"`, `"refresh_token":"`, all}},
		{what: "keep the tokens", silence: true},
		{what: "whoami", has: []string{`"client_id":"demo"`, all, "HTTP 200"}},
		{what: "no token", has: []string{`"error":"invalid_token"`, "HTTP 401"}},
		{what: "refresh", has: []string{`"access_token":"`, all}, hasNot: []string{`"refresh_token"`}},
		{what: "keep the new token", silence: true},
		{what: "scope down", has: []string{`"access_token":"`, part}},
		{what: "scope up again", has: []string{`"access_token":"`, all}},
		{what: "altered", has: []string{`"error":"invalid_token"`, "HTTP 401"}},
		{what: "a user", has: []string{`"access_token":"`, `"refresh_token":"`, part}},
	}
	if len(commands) != len(want) {
		t.Fatalf("%d commands are printed, want %d:\n%s", len(commands), len(want), strings.Join(commands, "\n"))
	}
	for i, w := range want {
		out := sh.paste(commands[i])
		if w.silence && out != "" {
			t.Errorf("%s: %s\nprints %s", w.what, commands[i], out)
		}
		for _, text := range w.has {
			if !strings.Contains(out, text) {
				t.Errorf("%s: %s\nprints %s\nwithout %s", w.what, commands[i], out, text)
			}
		}
		for _, text := range w.hasNot {
			if strings.Contains(out, text) {
				t.Errorf("%s: %s\nprints %s\nwith %s", w.what, commands[i], out, text)
			}
		}
		if strings.Contains(commands[i], "/oauth2/refresh") && strings.Contains(commands[i], p.secret) {
			t.Errorf("%s: the secret is in %s", w.what, commands[i])
		}
	}
	if sh.paste(`[ "$ACCESS" ] && echo kept`) != "kept\n" {
		t.Error("no access token was kept")
	}
}

// shell is a running one, in which there are curl and sed and nothing else.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startShell(t *testing.T, path string) *shell {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"curl", "sed"} {
		file, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path)
	cmd.Env = []string{"PATH=" + bin, "HOME=" + bin}
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, outWriter, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = outWriter, outWriter
	err = cmd.Start()
	outWriter.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		out.Close()
	})
	return &shell{t, in, bufio.NewReader(out)}
}

// paste runs one line and returns what it prints, stderr too.
func (s *shell) paste(line string) string {
	s.t.Helper()
	const end = "the line is done"
	if _, err := fmt.Fprintf(s.in, "%s\necho '%s'\n", line, end); err != nil {
		s.t.Fatal(err)
	}
	var out string
	for {
		printed, err := s.out.ReadString('\n')
		if before, done := strings.CutSuffix(printed, end+"\n"); done {
			return out + before
		}
		if out += printed; err != nil {
			s.t.Fatalf("%s\nended the shell, having printed %s", line, out)
		}
	}
}

// TestDevRoutes holds dev to the template's routes.
func TestDevRoutes(t *testing.T) {
	t.Parallel()
	var served []string
	for _, r := range devRoutes {
		method := "ANY" // which the handler tells apart
		if r.path == pathWhoami {
			method = r.method // and the gateway the others
		}
		served = append(served, method+" "+r.path)
	}
	slices.Sort(served)
	if want := deploytest.Routes(t); !slices.Equal(served, want) {
		t.Errorf("dev serves\n%s\nthe template\n%s", strings.Join(served, "\n"), strings.Join(want, "\n"))
	}
}

// TestDevGatewayResponses holds what dev answers in API Gateway's place to the template's gateway responses.
func TestDevGatewayResponses(t *testing.T) {
	t.Parallel()
	types := map[string]gateway.ResponseType{
		"UNAUTHORIZED": gateway.Unauthorized, "ACCESS_DENIED": gateway.AccessDenied,
		"AUTHORIZER_CONFIGURATION_ERROR": gateway.AuthorizerConfigurationError, "AUTHORIZER_FAILURE": gateway.AuthorizerConfigurationError,
	}
	for _, bound := range []bool{false, true} {
		parameters := map[string]string{}
		if bound {
			parameters["ApiOrigins"] = "execute-api"
		}
		stack, err := deploytest.Load(t).Deploy(parameters)
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for id, r := range stack.Resources {
			kind, ok := types[fmt.Sprint(r.Properties["ResponseType"])]
			if !ok {
				continue
			}
			compared++
			own := gatewayResponses(bound)[kind]
			if fmt.Sprint(own.Status) != r.Properties["StatusCode"] {
				t.Errorf("%s: status %d, the template has %v", id, own.Status, r.Properties["StatusCode"])
			}
			if body := r.Properties["ResponseTemplates"].(map[string]any)["application/json"]; own.Body != body {
				t.Errorf("%s: %s, the template has %v", id, own.Body, body)
			}
			headers := r.Properties["ResponseParameters"].(map[string]any)
			for _, name := range []string{"WWW-Authenticate", "Retry-After"} {
				want, _ := headers["gatewayresponse.header."+name].(string)
				if got := own.Header[name]; got != strings.Trim(want, "'") {
					t.Errorf("%s: %s: %s, the template has %s", id, name, got, want)
				}
			}
		}
		if compared != len(types) {
			t.Errorf("%d gateway responses compared, want %d", compared, len(types))
		}
	}
}

// TestDevDPoP has APIs that take DPoP-bound tokens, upstreams by their rules or by the flag, and the sample: a token's own
// client gets through, and a thief does not, right after it.
func TestDevDPoP(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Latchkey-Client-Id"))
	}))
	t.Cleanup(up.Close)
	dir := t.TempDir()
	const rules = "version: 1\napis:\n  - {api: '*', stage: '*', bound: true, routes: {'GET /orders/{id}': 'orders:read'}}\n"
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("rules", func(t *testing.T) {
		testDPoP(t, dir, "/orders/1", 401, "--upstream", up.URL, "--rules", "rules.yaml")
	})
	t.Run("flag", func(t *testing.T) { testDPoP(t, t.TempDir(), "/any", 200, "--upstream", up.URL, "--dpop") })
	t.Run("sample", func(t *testing.T) { testDPoP(t, t.TempDir(), pathWhoami, 200) })
}

// testDPoP asks for a path of dev with these arguments; bearer is what comes of a token that is bound to no key.
func testDPoP(t *testing.T, dir, path string, bearer int, args ...string) {
	cmd := exec.Command("latchkey", append([]string{"dev", "--port", "0"}, args...)...)
	cmd.Dir = dir
	p, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop() })
	do := func(method, path, body string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, p.issuer+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(data)
	}
	key := dpoptest.New(t, "ES256")
	signIn := func(proof ...dpoptest.Object) (*http.Response, string) {
		t.Helper()
		header := []string{"Content-Type", "application/x-www-form-urlencoded"}
		if proof != nil {
			header = append(header, "DPoP", key.Proof("POST", p.issuer+"/oauth2/token", time.Now(), proof...))
		}
		return do("POST", "/oauth2/token", "grant_type=client_credentials&client_id=demo&client_secret="+p.secret, header...)
	}
	resp, answer := signIn(dpoptest.Object{})
	if nonce := resp.Header.Get("DPoP-Nonce"); nonce != "" {
		resp, answer = signIn(dpoptest.Object{"nonce": nonce})
	}
	access, err := submatch(`"access_token":"([^"]+)"`, answer)
	if err != nil || !strings.Contains(answer, `"token_type":"DPoP"`) {
		t.Fatalf("%s %s", resp.Status, answer)
	}
	_, answer = signIn()
	unbound, err := submatch(`"access_token":"([^"]+)"`, answer)
	if err != nil {
		t.Fatal(err)
	}

	proof := func() string { return key.Proof("GET", p.issuer+path, time.Now(), dpoptest.For(access)) }
	used := proof()
	for _, call := range []struct {
		what   string
		header []string
		status int
	}{
		{"its own client", []string{"Authorization", "DPoP " + access, "DPoP", used}, 200},
		{"the token alone", []string{"Authorization", "Bearer " + access}, 401},
		{"without a proof", []string{"Authorization", "DPoP " + access}, 401},
		{"with a proof that was used", []string{"Authorization", "DPoP " + access, "DPoP", used}, 401},
		{"with a proof for another request", []string{"Authorization", "DPoP " + access, "DPoP", key.Proof("GET", p.issuer+"/orders/2", time.Now(), dpoptest.For(access))}, 401},
		{"with another key", []string{"Authorization", "DPoP " + access, "DPoP", dpoptest.New(t, "ES256").Proof("GET", p.issuer+path, time.Now(), dpoptest.For(access))}, 401},
		{"a bearer token", []string{"Authorization", "Bearer " + unbound}, bearer},
		{"its own client again", []string{"Authorization", "DPoP " + access, "DPoP", proof()}, 200},
	} {
		resp, body := do("GET", path, "", call.header...)
		if resp.StatusCode != call.status || call.status == 200 && !strings.Contains(body, "demo") {
			t.Errorf("%s: %s %s, want %d", call.what, resp.Status, body, call.status)
		}
		if call.status == 401 && !strings.Contains(resp.Header.Get("WWW-Authenticate"), "DPoP ") {
			t.Errorf("%s: the challenge is %s", call.what, resp.Header.Get("WWW-Authenticate"))
		}
	}
}

// TestDevRefuses is about what is no route, and what API Gateway would not pass on.
func TestDevRefuses(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("latchkey", "dev", "--port", "0")
	cmd.Dir = t.TempDir()
	p, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop() })
	for request, want := range map[string]struct {
		status int
		allow  string
	}{
		"POST /":                    {405, "GET, HEAD"},
		"HEAD /":                    {200, ""},
		"GET /index.html":           {404, ""},
		"GET /oauth2":               {404, ""},
		"POST /oauth2/token/":       {404, ""},
		"POST //oauth2/token":       {404, ""},
		"POST /oauth2/./token":      {404, ""},
		"GET /whoami/":              {404, ""},
		"GET /admin.sock":           {404, ""},
		"GET /oauth2/token":         {405, "POST"},
		"DELETE /oauth2/refresh":    {405, "POST"},
		"HEAD /oauth2/refresh":      {405, "POST"},
		"OPTIONS /oauth2/revoke":    {405, "POST"},
		"PUT /oauth2/introspect":    {405, "POST"},
		"POST " + oauthJWKS:         {405, "GET, HEAD"},
		"DELETE " + oauthFeed:       {405, "GET, HEAD"},
		"HEAD " + oauthJWKS:         {200, ""},
		"HEAD " + oauthFeed:         {200, ""},
		"POST /whoami":              {403, ""},
		"POST /oauth2/token":        {415, ""},
		"GET " + oauthJWKS:          {200, ""},
		"GET /whoami?access_token=": {401, ""},
	} {
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, p.issuer+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want.status || resp.Header.Get("Allow") != want.allow || method != http.MethodHead && !json.Valid(body) {
			t.Errorf("%s: %s, Allow %q, %s (%v); want %d, Allow %q, JSON", request, resp.Status, resp.Header.Get("Allow"), body, err, want.status, want.allow)
		}
	}
}

const (
	oauthJWKS = "/.well-known/jwks.json"
	oauthFeed = "/.well-known/latchkey-revocations"
)

// TestDevCORS: a page of another origin may ask the sample API, as it may on AWS, and read what it is told.
func TestDevCORS(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("latchkey", "dev", "--port", "0")
	cmd.Dir = t.TempDir()
	p, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop() })
	signedIn, err := http.PostForm(p.issuer+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"demo"}, "client_secret": {p.secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer signedIn.Body.Close()
	var tokens struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(signedIn.Body).Decode(&tokens); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		method, name, value string
		status              int
	}{
		{"OPTIONS", "Access-Control-Request-Method", "GET", 204},
		{"GET", "Authorization", "Bearer " + tokens.Access, 200},
		{"GET", "Authorization", "Bearer x", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), row.method, p.issuer+pathWhoami, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://app.example.com")
		req.Header.Set(row.name, row.value)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != row.status || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s %s: %s %v", row.method, row.value, resp.Status, h)
		}
		if row.status == 204 && (h.Get("Access-Control-Allow-Methods") != "GET,OPTIONS" || h.Get("Access-Control-Allow-Headers") != "Authorization,DPoP") {
			t.Errorf("the preflight: %v", h)
		}
	}
}
