package deptest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

// recorder notes what a test would have been told.
type recorder struct{ errors, fatals []string }

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatals = append(r.fatals, fmt.Sprintf(format, args...))
}

const (
	sample = "./testdata/sample"
	path   = "github.com/latchkey-auth/latchkey/pkg/deptest/testdata/sample"
)

func TestCheck(t *testing.T) {
	forbid := func(rules ...string) map[string]string {
		m := make(map[string]string)
		for _, rule := range rules {
			m[rule] = "the reason for " + rule
		}
		return m
	}
	tests := []struct {
		name      string
		forbidden map[string]string
		expected  []string
		want      []string // the beginning of each error
	}{
		{"all is well", forbid("net/http", "net/...", "encoding/base32x"), []string{"fmt", path + "/inner"}, nil},
		{"a forbidden import", forbid("encoding/base32"), []string{"fmt"},
			[]string{"encoding/base32 is linked, but must not be: the reason for encoding/base32\n\timported by " + path + "/inner ← " + path}},
		{"a forbidden direct import", forbid("fmt"), []string{"fmt"},
			[]string{"fmt is linked, but must not be: the reason for fmt\n\timported by " + path}},
		{"a forbidden subtree", forbid("container/..."), []string{"fmt"}, []string{"container/ring is linked"}},
		{"a subtree's top", forbid("fmt/..."), []string{"fmt"}, []string{"fmt is linked"}},
		{"a subtree ends at a slash", forbid("contain/...", "f/..."), []string{"fmt"}, nil},
		{"a path is not a subtree", forbid("container", "encoding/base"), []string{"fmt"}, nil},
		{"the Lambda build's tag", forbid("container/ring", "container/heap"), []string{"fmt"}, []string{"container/ring is linked"}},
		{"the Lambda build's architecture", forbid("hash/adler32", "hash/fnv"), []string{"fmt"}, []string{"hash/fnv is linked"}},
		{"tests' imports don't count", forbid("container/list"), []string{"fmt"}, nil},
		{"an expected one is missing", nil, []string{"fmt", "net/http"}, []string{"net/http is expected to be linked, but is not"}},
		{"an expected subtree is no import path", nil, []string{"container/..."}, []string{"container/... is expected"}},
		{"all are told", forbid("fmt", "container/ring"), []string{"a/b", "c/d"},
			[]string{"container/ring is linked", "fmt is linked", "a/b is expected", "c/d is expected"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var r recorder
			deptest.Check(&r, deptest.Rules{Package: sample, Forbidden: test.forbidden, Expected: test.expected})
			if len(r.fatals) > 0 {
				t.Fatalf("fatal: %q", r.fatals)
			}
			if len(r.errors) != len(test.want) {
				t.Fatalf("errors = %q, want %q", r.errors, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(r.errors[i], want) {
					t.Errorf("error %d = %q, want %q", i, r.errors[i], want)
				}
			}
		})
	}
}

func TestThisPackage(t *testing.T) {
	var r recorder
	deptest.Check(&r, deptest.Rules{
		Forbidden: map[string]string{"os/exec": "to see that it is found"},
		Expected:  []string{"github.com/latchkey-auth/latchkey/pkg/deptest"},
	})
	if len(r.fatals) != 0 || len(r.errors) != 1 || !strings.HasPrefix(r.errors[0], "os/exec is linked") {
		t.Errorf("fatals %q, errors %q", r.fatals, r.errors)
	}
}

func TestCheckCannotBeMade(t *testing.T) {
	for name, test := range map[string]struct {
		rules deptest.Rules
		want  string
	}{
		"nothing expected":  {deptest.Rules{Package: sample, Forbidden: map[string]string{"net/http": "r"}}, "Expected is empty"},
		"no such package":   {deptest.Rules{Package: "./testdata/nosuch", Expected: []string{"fmt"}}, "go list ./testdata/nosuch"},
		"no package by far": {deptest.Rules{Package: "./testdata", Expected: []string{"fmt"}}, "go list ./testdata"},
	} {
		t.Run(name, func(t *testing.T) {
			var r recorder
			deptest.Check(&r, test.rules)
			if len(r.fatals) != 1 || !strings.Contains(r.fatals[0], test.want) || len(r.errors) != 0 {
				t.Errorf("fatals %q, errors %q, want a fatal one: %s", r.fatals, r.errors, test.want)
			}
		})
	}
}

// What is looked at, and what the tests run, is what is deployed.
func TestTags(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if line := "\nTAGS := " + deptest.Tags + "\n"; !strings.Contains(string(makefile), line) {
		t.Errorf("the Makefile has no line %q", line)
	}
}
