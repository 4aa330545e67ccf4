// Package deptest holds a Lambda function to the packages that it may link.
//
// It is called from a test in the function's own package main:
//
//	func TestDependencies(t *testing.T) {
//		deptest.Check(t, deptest.Rules{
//			Forbidden: map[string]string{
//				"github.com/aws/aws-sdk-go-v2/...": "the authorizer may call no AWS service",
//			},
//			Expected: []string{"github.com/latchkey-auth/latchkey/pkg/authorizer"},
//		})
//	}
//
// It has to stand there, since the go command answers a test from its cache until the test's own packages change. A
// test elsewhere, which sees the function through "go list" only, would go on to say "ok" after an import was added.
package deptest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// TB is the part of testing.TB that Check needs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Tags are those that functions are built with, as the Makefile has them.
const Tags = "lambda.norpc,nethttpomithttp2"

// Rules says what a package's binary must and must not consist of.
type Rules struct {
	// Package is the package to look at, as the go command takes it; "" means ".", the one that is being tested.
	Package string
	// Forbidden maps what must not be linked to the reason. A key is an import path, or, where it ends in "/...", a
	// path and all below it.
	Forbidden map[string]string
	// Expected lists import paths that are linked. At least one is needed: where Forbidden has names that nothing bears
	// any more, or the binary has become another, no rule is broken, and this is what tells.
	Expected []string
}

// Check fails the test for every forbidden package that is linked into the package as it is built for Lambda
// (linux/arm64, without cgo, tags Tags), and for every expected one that is not. Tests' imports don't count.
func Check(t TB, rules Rules) {
	t.Helper()
	if len(rules.Expected) == 0 {
		t.Fatalf("deptest: Expected is empty: name at least one package that must be linked")
		return
	}
	pkg := rules.Package
	if pkg == "" {
		pkg = "."
	}
	deps, err := list(pkg)
	if err != nil {
		t.Fatalf("deptest: %v", err)
		return
	}

	for _, rule := range slices.Sorted(maps.Keys(rules.Forbidden)) {
		for _, path := range deps.order {
			if matches(rule, path) {
				t.Errorf("%s is linked, but must not be: %s\n\timported by %s", path, rules.Forbidden[rule], deps.chain(path))
			}
		}
	}
	for _, path := range rules.Expected {
		if _, ok := deps.imports[path]; !ok {
			t.Errorf("%s is expected to be linked, but is not: has it been renamed, and have the rules?", path)
		}
	}
}

func matches(rule, path string) bool {
	parent, below := strings.CutSuffix(rule, "/...")
	return path == parent || below && strings.HasPrefix(path, parent+"/")
}

// dependencies is an import graph.
type dependencies struct {
	order   []string            // a package stands after those that it imports; the package asked for comes last
	imports map[string][]string // by importing package
}

func list(pkg string) (*dependencies, error) {
	cmd := exec.Command("go", "list", "-deps", "-tags", Tags, "-f", `{{.ImportPath}} {{join .Imports " "}}`, pkg)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", pkg, err, stderr.String())
	}
	deps := &dependencies{imports: make(map[string][]string)}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		deps.order = append(deps.order, fields[0])
		deps.imports[fields[0]] = fields[1:]
	}
	return deps, nil
}

// chain is the shortest way by which a package is imported, from its importer up.
func (d *dependencies) chain(path string) string {
	root := d.order[len(d.order)-1]
	next := map[string]string{root: ""} // the importer through which a package was first reached
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		for _, imported := range d.imports[queue[0]] {
			if _, seen := next[imported]; !seen {
				next[imported] = queue[0]
				queue = append(queue, imported)
			}
		}
	}
	var chain []string
	for importer := next[path]; importer != ""; importer = next[importer] {
		chain = append(chain, importer)
	}
	return strings.Join(chain, " ← ")
}
