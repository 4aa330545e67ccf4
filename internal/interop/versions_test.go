package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// TestVersions holds the list of clients and verifiers in docs/standards.md to what is installed, and to what is run.
func TestVersions(t *testing.T) {
	t.Parallel()
	root := testenv.Root(t)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	installed := map[string]string{"curl": "the machine's", "mod_auth_openidc": "the machine's"}
	var node struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal([]byte(read("internal/testenv/package-lock.json")), &node); err != nil {
		t.Fatal(err)
	}
	for path, p := range node.Packages {
		installed[strings.TrimPrefix(path, "node_modules/")] = p.Version
	}
	for _, m := range regexp.MustCompile(`(?m)^([\w-]+)==(\S+)$`).FindAllStringSubmatch(read("internal/testenv/requirements.txt"), -1) {
		installed[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v(\S+)`).FindAllStringSubmatch(read("go.mod"), -1) {
		installed[m[1]] = m[2]
	}

	_, list, _ := strings.Cut(read("docs/standards.md"), "\n## Others' clients and verifiers\n")
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+) \| ([^|]+) \|`).FindAllStringSubmatch(list, -1) {
		name, version := m[1], m[2]
		if name == "name" {
			continue
		}
		listed[name] = true
		if installed[name] != version {
			t.Errorf("docs/standards.md has %s %s, installed is %q", name, version, installed[name])
		}
	}
	run := map[string]bool{"mod_auth_openidc": true, "joserfc": true}
	for _, c := range clients {
		run[c.name] = true
	}
	for _, v := range verifiers {
		run[v.heading] = true
	}
	if diff := cmp.Diff(run, listed); diff != "" {
		t.Errorf("docs/standards.md lists others than are run (-run +listed):\n%s", diff)
	}
}
