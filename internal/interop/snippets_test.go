package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// How the programs of docs/clients.md are run, by the language of their blocks. Those that .ci/run sees to are never skipped there.
var languages = map[string]struct {
	file    string
	command []string // and the file behind it; nil: it was not run, as the page says
	inCI    bool
}{
	"bash":   {"client.sh", []string{"bash"}, true},
	"go":     {"main.go", []string{"go", "run"}, true},
	"js":     {"main.mjs", []string{"node"}, true},
	"python": {"main.py", []string{"python3"}, true},
	"java":   {"Main.java", []string{"java"}, false},
	"csharp": {},
	"php":    {},
}

var program = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// TestSnippets runs the programs of docs/clients.md as they stand there.
func TestSnippets(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	i := startIssuer(t, keyring.ES256)
	batch := i.withoutRefresh(t)
	var seen []string
	for _, m := range program.FindAllStringSubmatch(string(page), -1) {
		how, ok := languages[m[1]]
		if !ok || slices.Contains(seen, m[1]) {
			t.Errorf("a block of %q: say in languages how it is run", m[1])
		}
		if seen = append(seen, m[1]); how.command == nil {
			continue
		}
		t.Run(m[1], func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(how.command[0]); err != nil {
				if how.inCI && os.Getenv("LATCHKEY_CI") != "" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			file := filepath.Join(t.TempDir(), how.file)
			if err := os.WriteFile(file, []byte(m[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			command := append(slices.Clone(how.command), file)
			calls(t, i, command)
			t.Run("no refresh token", func(t *testing.T) {
				out, _, err := runProgram(t, i, batch, command)
				if err == nil || strings.Count(out, `"client_id"`) != 1 {
					t.Errorf("it went on with more scope than it asked for: %v, %s", err, out)
				}
			})
		})
	}
	if len(seen) != len(languages) {
		t.Errorf("the page has programs in %v", seen)
	}
}

// credentials are a client's id and secret.
type credentials struct{ id, secret string }

// withoutRefresh registers a client that gets no refresh token, and so can't ask for less scope than it signed in with.
func (i *issuer) withoutRefresh(t *testing.T) credentials {
	t.Helper()
	out, err := exec.Command(i.bin, "client", "create", "batch", "--dir", i.dir, "--json", "--scope", "orders:read orders:write",
		"--grant", oauth.GrantClientCredentials).Output()
	var made struct {
		Secret string `json:"client_secret"`
	}
	if err != nil || json.Unmarshal(out, &made) != nil {
		t.Fatalf("client create: %v\n%s", err, out)
	}
	return credentials{"batch", made.Secret}
}

// runProgram runs a program as that client, and returns what it printed.
func runProgram(t *testing.T, i *issuer, as credentials, command []string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*",
		"ISSUER="+i.URL, "API="+i.WhoamiURL, "CLIENT_ID="+as.id, "CLIENT_SECRET="+as.secret)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	return string(out), errs.String(), err
}

// calls runs a program, which must have called the sample API with all of its scope, and with a part of it by the same grant.
func calls(t *testing.T, i *issuer, command []string) {
	t.Helper()
	out, stderr, err := runProgram(t, i, credentials{i.ClientID, i.ClientSecret}, command)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr)
	}
	type answer struct {
		ClientID string `json:"client_id"`
		GrantID  string `json:"grant_id"`
		Scope    string
	}
	var got []answer
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var a answer
		if err := d.Decode(&a); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		got = append(got, a)
	}
	if len(got) != 2 || got[0].Scope != "orders:read orders:write" || got[1].Scope != "orders:read" ||
		got[0].ClientID != i.ClientID || got[0].GrantID == "" || got[1].GrantID != got[0].GrantID {
		t.Errorf("it printed %s", out)
	}
	if strings.Contains(stderr, i.ClientSecret) {
		t.Errorf("it told the secret: %s", stderr)
	}
}
