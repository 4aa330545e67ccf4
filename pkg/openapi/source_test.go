package openapi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// files are a package's, without its tests.
func files(t *testing.T, dir string) (parsed []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	if len(parsed) == 0 {
		t.Fatalf("no package in %s", dir)
	}
	return parsed
}

func unquote(e ast.Expr) (string, bool) {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

// named are a package's exported string constants.
func named(t *testing.T, dir string, of func(name, kind string) bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, f := range files(t, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			kind, _ := spec.Type.(*ast.Ident)
			for i, name := range spec.Names {
				if i >= len(spec.Values) || !name.IsExported() {
					continue
				}
				kindName := ""
				if kind != nil {
					kindName = kind.Name
				}
				if text, ok := unquote(spec.Values[i]); ok && of(name.Name, kindName) {
					all[name.Name] = text
				}
			}
			return true
		})
	}
	return all
}

// constants are the values of those of a package whose name begins so, and that are of a type; empty: of none.
func constants(t *testing.T, dir, prefix, kind string) (values []string) {
	t.Helper()
	for _, text := range named(t, dir, func(name, k string) bool { return strings.HasPrefix(name, prefix) && k == kind }) {
		values = append(values, text)
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants %s…", dir, prefix)
	}
	return values
}

// parameters are the names by which packages look into a form: form["scope"], r.Form[name] in a range over names, and the like.
func parameters(t *testing.T, dirs ...string) (names []string) {
	t.Helper()
	for _, dir := range dirs {
		known := named(t, dir, func(string, string) bool { return true })
		for _, f := range files(t, dir) {
			ranged := map[string][]string{} // over literals, by the variable
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.RangeStmt:
					list, isLiteral := n.X.(*ast.CompositeLit)
					variable, isName := n.Value.(*ast.Ident)
					if !isLiteral || !isName {
						return true
					}
					ranged[variable.Name] = nil
					for _, e := range list.Elts {
						if text, ok := unquote(e); ok {
							ranged[variable.Name] = append(ranged[variable.Name], text)
						}
					}
				case *ast.IndexExpr:
					if !isForm(n.X) {
						return true
					}
					if text, ok := unquote(n.Index); ok {
						names = append(names, text)
					} else if id, ok := n.Index.(*ast.Ident); ok {
						if text, ok := known[id.Name]; ok {
							names = append(names, text)
						}
						names = append(names, ranged[id.Name]...)
					}
				}
				return true
			})
		}
	}
	return names
}

func isForm(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "form"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Form"
	}
	return false
}
