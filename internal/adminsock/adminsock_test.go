package adminsock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/adminsock"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// TestMain makes this binary, with the variable set, a process that dies and leaves its socket behind.
func TestMain(m *testing.M) {
	path := os.Getenv("ADMINSOCK_TEST_DIE")
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := adminsock.Listen(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestStore(t *testing.T) {
	open := func(t *testing.T) *adminsock.Store {
		dir := shortDir(t)
		local, err := boltstore.Open(filepath.Join(dir, "store.db"))
		must(t, err)
		t.Cleanup(func() { must(t, local.Close()) })
		path := filepath.Join(dir, "admin.sock")
		serve(t, path, adminsock.Handler(local))
		return dial(t, path)
	}
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t) })
	storetest.RunUsers(t, func(t *testing.T) user.Store { return open(t) })
	storetest.RunIssuers(t, func(t *testing.T) issuer.Store { return open(t) })
}

// shortDir is t.TempDir with a path that leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func serve(t *testing.T, path string, h http.Handler) {
	t.Helper()
	l, err := adminsock.Listen(path)
	must(t, err)
	server := &http.Server{Handler: h}
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
}

func dial(t *testing.T, path string) *adminsock.Store {
	t.Helper()
	s, err := adminsock.Dial(path)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func TestListenMode(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "admin.sock")
	l, err := adminsock.Listen(path)
	must(t, err)
	info, err := os.Lstat(path)
	must(t, err)
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v; want a socket of 0600", info.Mode())
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("beside the socket: %v", entries)
	}
	must(t, l.Close())
	if entries, err = os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

func TestListenLive(t *testing.T) {
	path := filepath.Join(shortDir(t), "admin.sock")
	serve(t, path, http.NotFoundHandler())
	_, err := adminsock.Listen(path)
	wantIs(t, err, adminsock.ErrRunning)
	dial(t, path) // it still works
}

func TestListenStale(t *testing.T) {
	path := filepath.Join(shortDir(t), "admin.sock")
	dying := exec.Command(os.Args[0])
	dying.Env = append(os.Environ(), "ADMINSOCK_TEST_DIE="+path)
	if out, err := dying.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("the dead process left no socket: %v", err)
	}
	_, err := adminsock.Dial(path)
	wantIs(t, err, adminsock.ErrNotRunning)
	serve(t, path, http.NotFoundHandler())
	dial(t, path)
}

// TestCloseLeavesAnothers closes a listener whose socket somebody replaced.
func TestCloseLeavesAnothers(t *testing.T) {
	path := filepath.Join(shortDir(t), "admin.sock")
	first, err := adminsock.Listen(path)
	must(t, err)
	must(t, os.Remove(path))
	serve(t, path, http.NotFoundHandler())
	must(t, first.Close())
	dial(t, path)
}

func TestListenRefuses(t *testing.T) {
	dir := shortDir(t)
	plain := filepath.Join(dir, "plain")
	must(t, os.WriteFile(plain, []byte("mine"), 0o600))
	long := filepath.Join(dir, strings.Repeat("d", 100))
	must(t, os.Mkdir(long, 0o700))
	for path, want := range map[string]string{
		plain:                                   "is not a socket",
		dir:                                     "is not a socket",
		filepath.Join(dir, "none", "s"):         "no such file",
		filepath.Join(long, "admin.sock"):       "too long",
		filepath.Join(dir, long[len(dir):]+"s"): "too long",
	} {
		l, err := adminsock.Listen(path)
		if err == nil {
			must(t, l.Close())
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v; want it to say %q", path, err, want)
		}
		if _, err := adminsock.Dial(path); !errors.Is(err, adminsock.ErrNotRunning) {
			t.Errorf("Dial(%s): %v; want ErrNotRunning", path, err)
		}
	}
	if content, err := os.ReadFile(plain); err != nil || string(content) != "mine" {
		t.Errorf("the file in the way: %q %v", content, err)
	}
	if entries, err := os.ReadDir(long); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// TestLongestPath listens at the longest path that is taken.
func TestLongestPath(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, strings.Repeat("s", 103-len(dir)-1))
	serve(t, path, http.NotFoundHandler())
	dial(t, path)
	if _, err := adminsock.Listen(path + "s"); err == nil || !strings.Contains(err.Error(), "shorter by 1 byte") {
		t.Error(err)
	}
}

func TestOtherRelease(t *testing.T) {
	path := filepath.Join(shortDir(t), "admin.sock")
	serve(t, path, http.NotFoundHandler())
	_, err := dial(t, path).Client(t.Context(), "c-1")
	wantFailure(t, err, "another release")
}

// TestBadAnswers has a server break off, and talk nonsense.
func TestBadAnswers(t *testing.T) {
	document, err := record("c-1").Marshal()
	must(t, err)
	line := fmt.Sprintf(`{"revision":1,"document":%s}`+"\n", document)
	for name, test := range map[string]struct{ body, want string }{
		"nothing":        {"", "ends too soon"},
		"half a line":    {line[:20], "answer"},
		"no end":         {line, "ends too soon"},
		"nonsense":       {"nonsense\n", "answer"},
		"no document":    {"{}\n", "answer"},
		"another fault":  {`{"failure":"from the future"}` + "\n", "from the future"},
		"a fault's text": {line + `{"failure":"failed","text":"disk on fire"}` + "\n", "disk on fire"},
		"too long":       {`{"text":"` + strings.Repeat("x", 2<<20) + `"}` + "\n", "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "admin.sock")
			serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, test.body) }))
			wantFailure(t, dial(t, path).Clients(t.Context(), func(*client.Stored) bool { return true }), test.want)
		})
	}
	t.Run("hung up", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "admin.sock")
		serve(t, path, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		s := dial(t, path)
		_, err := s.Client(t.Context(), "c-1")
		wantFailure(t, err, "`latchkey dev` does not answer")
		wantFailure(t, s.CreateClient(t.Context(), record("c-1")), "`latchkey dev` does not answer")
	})
}

// TestGone ends the server under a command that is connected.
func TestGone(t *testing.T) {
	path := filepath.Join(shortDir(t), "admin.sock")
	l, err := adminsock.Listen(path)
	must(t, err)
	s := dial(t, path)
	must(t, l.Close())
	_, err = s.Client(t.Context(), "c-1")
	wantFailure(t, err, "`latchkey dev` does not answer")
	_, err = adminsock.Dial(path)
	wantIs(t, err, adminsock.ErrNotRunning)
}

func TestBadRequests(t *testing.T) {
	dir := shortDir(t)
	local, err := boltstore.Open(filepath.Join(dir, "store.db"))
	must(t, err)
	t.Cleanup(func() { must(t, local.Close()) })
	path := filepath.Join(dir, "admin.sock")
	serve(t, path, adminsock.Handler(local))
	raw := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer raw.CloseIdleConnections()
	document, err := record("c-1").Marshal()
	must(t, err)
	good := fmt.Sprintf(`{"document":%s}`, document)
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"too large":        {"POST", "/v1/create-client", strings.Repeat(" ", 2<<20) + good, 200, "too large"},
		"nonsense":         {"POST", "/v1/create-client", "nonsense", 200, `"failure":"failed"`},
		"nothing":          {"POST", "/v1/delete-client", "", 200, `"failure":"failed"`},
		"no document":      {"POST", "/v1/update-client", "{}", 200, `"failure":"failed"`},
		"no keys":          {"POST", "/v1/put-public-keys", "{}", 200, `"failure":"failed"`},
		"a list's request": {"POST", "/v1/clients", "nonsense", 200, `"failure":"failed"`},
		"GET":              {"GET", "/v1/create-client", "", 405, ""},
		"no operation":     {"POST", "/v1/drop", "{}", 404, ""},
		"another version":  {"POST", "/v2/create-client", good, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, "http://latchkey"+test.path, bytes.NewReader([]byte(test.body)))
			must(t, err)
			resp, err := raw.Do(r)
			must(t, err)
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			must(t, err)
			if resp.StatusCode != test.status || !strings.Contains(string(answer), test.want) {
				t.Errorf("%d %s; want %d and %s", resp.StatusCode, answer, test.status, test.want)
			}
		})
	}
	must(t, local.Clients(t.Context(), func(c *client.Stored) bool { t.Errorf("client %s was created", c.ID); return true }))
	if _, _, err := local.PublicKeys(t.Context()); !errors.Is(err, keyring.ErrNoKeys) {
		t.Errorf("public keys: %v", err)
	}
}

func record(id string) *client.Record {
	return &client.Record{
		Version: client.RecordVersion, ID: id, Audiences: []string{"https://api.example.com"},
		Grants: []string{oauth.GrantClientCredentials}, RefreshMode: token.ModeBearer, Epoch: 1, Handle: "c_handle",
	}
}

func wantFailure(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "http://") {
		t.Errorf("%v; want it to say %q", err, want)
	}
}

func wantIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v; want: %v", err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
