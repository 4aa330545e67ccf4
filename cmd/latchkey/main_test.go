package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"latchkey": main})
}

// goRace spares each of the tool's many runs the second that the race detector waits at a process's end. What it has found
// is reported all the same, and makes the exit code 66.
const goRace = "atexit_sleep_ms=0"

// session is what a script has running.
type session struct {
	t        testing.TB
	dev      *process
	upstream *httptest.Server
}

// scripts runs the tool as a process of its own, by the scripts in a folder.
func scripts(t *testing.T, dir string, setup func(env *testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values["session"] = &session{t: env.T().(testing.TB)}
			env.Setenv("AWS_CONFIG_FILE", filepath.Join(env.WorkDir, "none"))
			env.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(env.WorkDir, "none"))
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Setenv("GORACE", goRace)
			return setup(env)
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"dev": cmdDev, "moto": cmdMoto, "signin": cmdSignIn, "mode": cmdMode, "setfrom": cmdSetFrom, "squat": cmdSquat,
			"errorline": cmdErrorLine, "usage": cmdUsage, "post": cmdPost, "whoami": cmdWhoami,
			"upstream": cmdUpstream, "call": cmdCall,
		},
	})
}

func TestScripts(t *testing.T) {
	scripts(t, "testdata/script", func(*testscript.Env) error { return nil })
}

// TestClient runs the same scripts on each of the stores.
func TestClient(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		scripts(t, "testdata/client", func(env *testscript.Env) error {
			dir := filepath.Join(env.WorkDir, defaultDir)
			env.Setenv("WHERE", `the store in \.latchkey`)
			env.Setenv("USERSWHERE", `the store in \.latchkey`)
			env.Setenv("ISSUERSWHERE", `the store in \.latchkey`)
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			store, err := boltstore.Open(filepath.Join(dir, storeFile))
			if err != nil {
				return err
			}
			return store.Close()
		})
	})
	t.Run("socket", func(t *testing.T) {
		scripts(t, "testdata/client", func(env *testscript.Env) error {
			env.Setenv("WHERE", `the store in \.latchkey`)
			env.Setenv("USERSWHERE", `the store in \.latchkey`)
			env.Setenv("ISSUERSWHERE", `the store in \.latchkey`)
			cmd := exec.Command("latchkey", "dev", "--port", "0")
			cmd.Dir = env.WorkDir
			p, err := start(cmd)
			if err != nil {
				return err
			}
			env.Defer(func() {
				if err := p.stop(); err != nil {
					t.Error(err)
				}
			})
			return nil
		})
	})
	t.Run("dynamodb", func(t *testing.T) {
		scripts(t, "testdata/client", func(env *testscript.Env) error {
			env.Setenv("WHERE", "the DynamoDB table clients")
			env.Setenv("USERSWHERE", "the DynamoDB table users")
			env.Setenv("ISSUERSWHERE", "the DynamoDB table issuers")
			env.Setenv("CLIENTS_TABLE", "clients")
			env.Setenv("USERS_TABLE", "users")
			env.Setenv("ISSUERS_TABLE", "issuers")
			env.Setenv("REVOCATIONS_TABLE", "revocations")
			return startMoto(t, env.Setenv)
		})
	})
}

// cmdDev starts `latchkey dev` on a free port, with the flags given, and goes on when it answers: ISSUER and SECRET are then
// of what it printed, and dev.out is that. `dev stop` ends it and wants exit code 0; `dev kill` ends it as a power cut does.
func cmdDev(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("session").(*session)
	switch {
	case neg:
		ts.Fatalf("dev can't be negated")
	case slices.Equal(args, []string{"stop"}):
		ts.Check(s.dev.stop())
		return
	case slices.Equal(args, []string{"kill"}):
		ts.Check(s.dev.kill())
		return
	}
	cmd := exec.Command("latchkey", append([]string{"dev", "--port", "0"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	p, err := start(cmd)
	ts.Check(err)
	ts.Defer(func() { _ = p.kill() }) // which fails where the script has ended it
	s.dev = p
	ts.Check(os.WriteFile(ts.MkAbs("dev.out"), []byte(p.welcome), 0o600))
	ts.Setenv("ISSUER", p.issuer)
	ts.Setenv("SECRET", p.secret)
}

// cmdMoto starts AWS; see startMoto.
func cmdMoto(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(startMoto(ts.Value("session").(*session).t, ts.Setenv))
}

// startMoto starts AWS and sets the environment for it. There are the tables clients, users, signins, revocations, keys and
// kms-keys, the empty secrets access, refresh and access-kms, and KMSKEY, which signs ES256.
func startMoto(t testing.TB, setenv func(name, value string)) error {
	cfg := testenv.AWSConfig(testenv.Moto(t).Endpoint)
	ctx := t.Context()
	for _, keys := range []string{"keys", "kms-keys"} {
		if err := dynamostore.CreateTables(ctx, dynamodb.NewFromConfig(cfg), dynamostore.Tables{
			Clients: "clients", Keys: keys, Revocations: "revocations",
		}); err != nil {
			return err
		}
	}
	if err := dynamostore.CreateUserTables(ctx, dynamodb.NewFromConfig(cfg), "users", "signins"); err != nil {
		return err
	}
	if err := dynamostore.CreateIssuerTables(ctx, dynamodb.NewFromConfig(cfg), "issuers", "assertions"); err != nil {
		return err
	}
	for _, name := range []string{"access", "refresh", "access-kms"} {
		if _, err := secretsmanager.NewFromConfig(cfg).CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name}); err != nil {
			return err
		}
	}
	key, err := kms.NewFromConfig(cfg).CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	if err != nil {
		return err
	}
	setenv("AWS_ENDPOINT_URL", *cfg.BaseEndpoint)
	setenv("AWS_REGION", testenv.Region)
	setenv("AWS_ACCESS_KEY_ID", testenv.AccessKeyID)
	setenv("AWS_SECRET_ACCESS_KEY", testenv.SecretAccessKey)
	setenv("KMSKEY", *key.KeyMetadata.KeyId)
	return nil
}

// cmdSignIn is `signin ID SECRET`: a sign-in, of which the answer is on stdout; negated, one that is refused.
func cmdSignIn(ts *testscript.TestScript, neg bool, args []string) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {args[0]}, "client_secret": {args[1]}}
	resp, err := http.PostForm(ts.Getenv("ISSUER")+"/oauth2/token", form)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	want := http.StatusOK
	if neg {
		want = http.StatusUnauthorized
	}
	if resp.StatusCode != want {
		ts.Fatalf("%s %s", resp.Status, body)
	}
	fmt.Fprintf(ts.Stdout(), "%s", body)
}

// cmdPost is `post PATH STATUS NAME=VALUE...`: it sends a form, wants that status, and the answer is on stdout.
func cmdPost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: post PATH STATUS NAME=VALUE...")
	}
	form := url.Values{}
	for _, pair := range args[2:] {
		name, value, _ := strings.Cut(pair, "=")
		form.Set(name, value)
	}
	resp, err := http.PostForm(ts.Getenv("ISSUER")+args[0], form)
	ts.Check(err)
	answered(ts, resp, args[1])
}

// cmdWhoami is `whoami STATUS TOKEN`: it asks the sample API.
func cmdWhoami(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: whoami STATUS TOKEN")
	}
	req, err := http.NewRequest(http.MethodGet, ts.Getenv("ISSUER")+pathWhoami, nil)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+args[1])
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	answered(ts, resp, args[0])
}

// cmdUpstream is `upstream`: it starts a server that answers with what it was asked, as JSON, and sets UPSTREAM to its URL.
// `upstream stop` ends it.
func cmdUpstream(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("session").(*session)
	switch {
	case neg:
		ts.Fatalf("upstream can't be negated")
	case slices.Equal(args, []string{"stop"}):
		s.upstream.Close()
		return
	}
	s.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/moved"):
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		case strings.HasSuffix(r.URL.Path, "/huge"):
			w.Write(make([]byte, maxUpstreamAnswer+1))
		case strings.HasSuffix(r.URL.Path, "/binary"):
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Write(append([]byte{0xff, 0xfe}, body...))
		case strings.HasSuffix(r.URL.Path, "/cut"):
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
			w.WriteHeader(http.StatusTeapot)
			json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "host": r.Host, "header": r.Header, "body": string(body)})
		}
	}))
	ts.Defer(s.upstream.Close)
	ts.Setenv("UPSTREAM", s.upstream.URL)
}

// cmdCall is `call STATUS METHOD TARGET [-d BODY] [HEADER...]`: it sends a request to dev as it is written, not a byte of the
// target changed, and wants that status. The answer, with its header, is on stdout.
func cmdCall(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: call STATUS METHOD TARGET [-d BODY] [HEADER...]")
	}
	host := strings.TrimPrefix(ts.Getenv("ISSUER"), "http://")
	status, method, target, rest, body := args[0], args[1], args[2], args[3:], ""
	if len(rest) > 1 && rest[0] == "-d" {
		body, rest = rest[1], rest[2:]
	}
	conn, err := net.Dial("tcp", host)
	ts.Check(err)
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n", method, target, host, len(body))
	for _, header := range rest {
		fmt.Fprintf(conn, "%s\r\n", header)
	}
	fmt.Fprintf(conn, "\r\n%s", body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	ts.Check(err)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		fmt.Fprintf(ts.Stdout(), "%s: %s\n", name, strings.Join(resp.Header[name], ", "))
	}
	answered(ts, resp, status)
}

func answered(ts *testscript.TestScript, resp *http.Response, status string) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if strconv.Itoa(resp.StatusCode) != status {
		ts.Fatalf("%s %s, want %s", resp.Status, body, status)
	}
	fmt.Fprintf(ts.Stdout(), "%s", body)
}

// cmdMode is `mode 0600 FILE...`: the files have these permissions.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Lstat(ts.MkAbs(name))
		ts.Check(err)
		if got := info.Mode().Perm(); (got == os.FileMode(want)) == neg {
			ts.Fatalf("%s has mode %04o", name, got)
		}
	}
}

// cmdSetFrom is `setfrom NAME FILE REGEXP`: sets a variable to what the regular expression's group matches in a file.
func cmdSetFrom(ts *testscript.TestScript, _ bool, args []string) {
	match, err := submatch(args[2], ts.ReadFile(args[1]))
	ts.Check(err)
	ts.Setenv(args[0], match)
}

// cmdSquat sets TAKEN to a port of 127.0.0.1 that is in use.
func cmdSquat(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv("TAKEN", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// cmdErrorLine is `errorline CODE latchkey ARG...`: it ends with that exit code, with nothing on stdout, and with one line
// on stderr that begins with "latchkey: ".
func cmdErrorLine(ts *testscript.TestScript, neg bool, args []string) {
	fails(ts, neg, args[0], 1, args[1:])
}

// cmdUsage is `usage latchkey ARG...`: the same with exit code 2, and a second line.
func cmdUsage(ts *testscript.TestScript, neg bool, args []string) {
	fails(ts, neg, "2", 2, args)
}

func fails(ts *testscript.TestScript, neg bool, wantCode string, wantLines int, args []string) {
	if neg {
		ts.Fatalf("this can't be negated")
	}
	err := ts.Exec(args[0], args[1:]...)
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != wantCode || stdout != "" || !strings.HasPrefix(stderr, "latchkey: ") || strings.Count(stderr, "\n") != wantLines {
		ts.Fatalf("exit code %s, stdout %q, stderr %q", code, stdout, stderr)
	}
	fmt.Fprint(ts.Stderr(), stderr) // for the script to look at
}
