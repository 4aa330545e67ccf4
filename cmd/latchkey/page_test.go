package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// chromium is a browser of Chromium's kind, Debian's chromium for one. Without any the test is skipped, but in CI.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no Chromium on this machine: apt-get install chromium"
	if os.Getenv("LATCHKEY_CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// TestPage has testdata/page.mjs click through the page of `latchkey dev` in a browser, whose clock and the server's stand still
// and are moved as one. With LATCHKEY_SCREENSHOT=1 it takes the README's picture, and others into build/.
func TestPage(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	clock, logged := new(clocktest.Clock), new(buffer)
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	store, err := boltstore.Open(filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	keys := openLaptopKeys(dir)
	if _, err := (&app{now: clock.Now}).first(t.Context(), keys, store, keyring.ES256); err != nil {
		t.Fatal(err)
	}
	clients := &client.Registry{Store: store, Revocations: store, Now: clock.Now}
	d, err := makeDemo(t.Context(), clients, &user.Registry{Store: store, Revocations: store, Now: clock.Now}, dir, server.URL, nil, clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	handler, err = devHandler(devConfig{
		Issuer: server.URL, Clients: store, Users: store, SignIns: store, SignInKey: store.SignInKey,
		Issuers: store, Assertions: store, Public: store, Grants: store, Revocations: store, Keys: keys,
		Bound: true, Log: jsonlog.New(logged), Now: clock.Now, // as in dev
	})
	if err != nil {
		t.Fatal(err)
	}
	mover := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("by"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		clock.Move(d)
	}))
	t.Cleanup(mover.Close)

	pictures := "" // none
	if os.Getenv("LATCHKEY_SCREENSHOT") == "1" {
		pictures = filepath.Join(testenv.Root(t), "build")
	}
	given := map[string]any{
		"url": server.URL, "mover": mover.URL, "secret": d.ClientSecret, "browser": browser, "now": clock.Now().UnixMilli(),
		"pictures": pictures,
	}
	runNode(t, "testdata/page.mjs", given)
	for _, secret := range []string{d.ClientSecret, "eyJ"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	if pictures != "" {
		if err := os.Rename(filepath.Join(pictures, "dev-page.png"), filepath.Join(testenv.Root(t), "docs", "images", "dev-page.png")); err != nil {
			t.Fatal(err)
		}
	}
}

// runNode runs a script, with in as JSON on its stdin and the packages of testenv beside it.
func runNode(t *testing.T, script string, in any) {
	t.Helper()
	dir := t.TempDir()
	content, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(script))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testenv.NodeModules(t), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	stdin, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", path)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
