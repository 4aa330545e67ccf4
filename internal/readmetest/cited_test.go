package readmetest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// TestCited: the tests that pages name as what shows a claim are there.
func TestCited(t *testing.T) {
	root := testenv.Root(t)
	for page, least := range map[string]int{"docs/standards.md": 80, "docs/threat-model.md": 30, "SECURITY.md": 1} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		// A name may be broken over no line: what is written as code and ends in a test's name is one.
		cited := regexp.MustCompile("`([a-z/0-9]+)\\.((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(text), -1)
		for _, c := range cited {
			if !declares(t, filepath.Join(root, c[1]), c[2]) {
				t.Errorf("%s cites %s.%s, which is not there", page, c[1], c[2])
			}
		}
		if named := strings.Count(string(text), "Test") + strings.Count(string(text), "Fuzz"); len(cited) < least || len(cited) != named {
			t.Errorf("%s: %d citations could be read of %d, and %d or more should be there", page, len(cited), named, least)
		}
	}
}

// declares tells whether a package has a test.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
