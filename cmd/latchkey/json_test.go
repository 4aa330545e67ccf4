package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
)

// withoutJSON are the commands that print no result, with what they print.
var withoutJSON = map[string]string{
	"latchkey dev":                   "it serves until it is stopped; what it prints for programs is in demo.json",
	"latchkey audit":                 "help",
	"latchkey exit-codes":            "help",
	"latchkey help":                  "help",
	"latchkey completion bash":       "a script",
	"latchkey completion zsh":        "a script",
	"latchkey completion fish":       "a script",
	"latchkey completion powershell": "a script",
}

// leaves are the commands that have none below them.
func leaves(cmd *cobra.Command) (all []*cobra.Command) {
	if !cmd.HasSubCommands() {
		return []*cobra.Command{cmd}
	}
	for _, c := range cmd.Commands() {
		all = append(all, leaves(c)...)
	}
	return all
}

// TestJSONEverywhere walks the tree of commands: each that prints a result has --json, and prints JSON with it and nothing else.
func TestJSONEverywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := boltstore.Open(filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := file("rules.yaml", "version: 1\napis:\n  - api: a1b2c3d4e5\n    stage: prod\n    complete: true\n    routes:\n      GET /orders: orders:read\n")
	document := file("openapi.yaml", "openapi: 3.1.0\ninfo: {title: O, version: '1'}\nsecurity: [{o: [a]}]\npaths: {/orders: {get: {}}}\ncomponents: {securitySchemes: {o: {type: oauth2}}}\n")
	exported := file("export.jsonl", `{"latchkey_export":"clients","version":1}`+"\n")
	jwks := file("jwks.json", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	unsigned := "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0." // which --no-verify shows

	// In this order: each finds what those before it made. A path that has no command here, or the other way round, fails below.
	commands := []struct {
		line, stdin string
		home        bool // it works in the laptop's folder
	}{
		{line: "keys init", home: true},
		{line: "keys list", home: true},
		{line: "keys rotate", home: true},
		{line: "client create shop --scope a", home: true},
		{line: "client list", home: true},
		{line: "client show shop", home: true},
		{line: "client update shop --add-scope b", home: true},
		{line: "client rotate-secret shop", home: true},
		{line: "client disable shop", home: true},
		{line: "client enable shop", home: true},
		{line: "client export", home: true},
		{line: "client export -o " + filepath.Join(dir, "out.jsonl"), home: true},
		{line: "client import " + exported, home: true},
		{line: "user create ada --scope a", stdin: "correct horse battery staple\n", home: true},
		{line: "user list", home: true},
		{line: "user show ada", home: true},
		{line: "user update ada --add-scope b", home: true},
		{line: "user set-password ada", stdin: "another horse, another staple\n", home: true},
		{line: "user disable ada", home: true},
		{line: "user enable ada", home: true},
		{line: "user delete ada --yes", home: true},
		{line: "issuer add https://id.example.com --audience a --jwks " + jwks, home: true},
		{line: "issuer list", home: true},
		{line: "issuer show https://id.example.com", home: true},
		{line: "issuer update https://id.example.com --name N", home: true},
		{line: "issuer revoke-tokens https://id.example.com", home: true},
		{line: "issuer remove https://id.example.com", home: true},
		{line: "revoke --client shop", home: true},
		{line: "client delete shop --yes", home: true},
		{line: "token inspect --no-verify", stdin: unsigned, home: true},
		{line: "routes check " + rules},
		{line: "routes compile " + rules},
		{line: "routes compile -o " + filepath.Join(dir, "routes.json") + " " + rules},
		{line: "routes explain " + rules + " GET /orders"},
		{line: "routes from-openapi " + document},
		{line: "routes from-openapi -o " + filepath.Join(dir, "made.yaml") + " " + document},
		{line: "cost"},
		{line: "cost --prices"},
		{line: "doctor", home: true},
		{line: "version"},
	}
	ran := map[string]bool{}
	root := (&app{env: func(string) string { return "" }}).root()
	for _, c := range commands {
		args := append(strings.Fields(c.line), "--json")
		if c.home {
			args = append(args, "--dir", dir)
		}
		cmd, _, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		ran[cmd.CommandPath()] = true
		code, stdout, stderr := tool(t, c.stdin, args...)
		if code != exitOK {
			t.Errorf("%s: exit code %d, stderr %s", c.line, code, stderr)
		}
		nothing := strings.HasPrefix(c.line, "client export -o")
		if n, err := documents(strings.NewReader(stdout)); err != nil || (n == 0) != nothing {
			t.Errorf("%s: %d JSON documents on stdout (%v)", c.line, n, err)
		}
	}
	for _, cmd := range leaves(root) {
		path := cmd.CommandPath()
		switch {
		case withoutJSON[path] != "":
			delete(withoutJSON, path)
			if cmd.Flags().Lookup("json") != nil {
				t.Errorf("%s has --json, and stands among those that don't", path)
			}
		case !ran[path]:
			t.Errorf("%s was not tried with --json", path)
		}
		delete(ran, path)
	}
	delete(withoutJSON, "latchkey help") // cobra adds it when it runs
	if len(withoutJSON) > 0 || len(ran) > 0 {
		t.Errorf("not found among the commands: %v %v", slices.Collect(maps.Keys(withoutJSON)), ran)
	}
}

// documents counts the JSON documents of a text that has nothing else.
func documents(r io.Reader) (n int, err error) {
	for d := json.NewDecoder(r); ; n++ {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// TestProgress: what is said on a terminal is written over, and gone before anything else is.
func TestProgress(t *testing.T) {
	var w bytes.Buffer
	a := &app{stderr: &w}
	if p := a.progress(); p != nil {
		t.Fatal("a buffer is taken for a terminal")
	}
	var none *progress
	none.say("x")
	none.clear()

	var clock clocktest.Clock
	p := &progress{w: &w, now: clock.Now}
	p.say("1 client read")
	p.say("2 clients read") // in the same moment
	clock.Move(progressPace)
	p.say("3 clients %s", strings.Repeat("x", 100)+"\x1b[2J")
	p.clear()
	p.clear()
	want := "\r\x1b[K1 client read\r\x1b[K3 clients " + strings.Repeat("x", 68) + "\r\x1b[K"
	if got := w.String(); got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

// TestProgressOnATerminal: a real one is told, and shown the result alone in the end.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	dir := moveHome(t)
	ending(t, 0, "client", "create", "shop", "--dir", dir)
	const spawn = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
	out, err := exec.Command(testenv.Python(t), "-c", spawn, "latchkey", "client", "list", "--dir", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "\r\x1b[K1 client read\r\x1b[KID "; !strings.HasPrefix(string(out), want) {
		t.Errorf("it shows %q, want %q first", out, want)
	}
}
