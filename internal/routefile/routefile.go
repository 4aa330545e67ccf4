// Package routefile reads the files in which people say which scopes the routes of their APIs need: rules files of
// Latchkey's own form (docs/route-rules.md) and OpenAPI documents. Errors have line and column.
//
//	file, err := routefile.Parse("rules.yaml", data)   // err is Problems
//	compiled, err := file.Set.Encode()
//
// It brings a YAML parser along, so only the tool links it; the authorizer reads what it compiles, by package routes.
package routefile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// File is a rules file that has been read.
type File struct {
	// Name is the file's name, as it is shown.
	Name string
	// Set is the compiled rules.
	Set *routes.Set

	places []apiPlaces
}

// apiPlaces is where an API stands in its file.
type apiPlaces struct {
	api    Place
	fields map[string]*yaml.Node
	forced bool // it has a form
	routes []pair
}

// Place is where an API stands, or one of its routes; route -1 is the API itself.
func (f *File) Place(api, route int) Place {
	if route < 0 {
		return f.places[api].api
	}
	return at(f.places[api].routes[route].key)
}

// Forced reports whether the API's form is the author's choice.
func (f *File) Forced(api int) bool { return f.places[api].forced }

// Parse reads a rules file. The error is Problems.
func Parse(name string, data []byte) (*File, error) {
	r := &reader{file: name}
	apis, places := r.rules(data)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	set, err := routes.New(apis)
	if err != nil {
		return nil, r.placed(err, places)
	}
	return &File{name, set, places}, nil
}

// placed gives the errors of routes.New their places.
func (r *reader) placed(err error, places []apiPlaces) Problems {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		var e *routes.Error
		if !errors.As(err, &e) {
			r.bad(Place{}, "%v", err)
			continue
		}
		place := Place{}
		switch {
		case e.API >= 0 && e.Route < 0:
			place = places[e.API].api
			if n := places[e.API].fields[e.Field]; n != nil {
				place = at(n)
			}
		case e.API >= 0:
			p := places[e.API].routes[e.Route]
			place = at(p.value)
			if e.Field == "path" {
				place = at(p.key)
			}
		}
		r.bad(place, "%s", e.Text)
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
	return r.problems
}

func (r *reader) rules(data []byte) ([]routes.API, []apiPlaces) {
	root := r.load(data)
	if root == nil {
		return nil, nil
	}
	top := r.fields(root, "a rules file", "version", "apis")
	if len(r.problems) > 0 {
		return nil, nil
	}
	switch v := top["version"]; {
	case v == nil:
		r.bad(at(root), "the version is missing: version: %d", routes.Version)
	case v.Kind != yaml.ScalarNode || v.Tag != "!!int" || v.Value != fmt.Sprint(routes.Version):
		r.bad(at(v), "the version must be %d: no other is known", routes.Version)
	}
	list := top["apis"]
	switch {
	case list == nil:
		r.bad(at(root), "apis is missing")
		return nil, nil
	case list.Kind != yaml.SequenceNode:
		r.bad(at(list), "apis must be a list, and is %s", kind(list))
		return nil, nil
	}
	var apis []routes.API
	var places []apiPlaces
	for _, n := range list.Content {
		a, p := r.api(n)
		apis, places = append(apis, a), append(places, p)
	}
	if len(apis) == 0 {
		r.bad(at(list), "apis names none")
	}
	return apis, places
}

func (r *reader) api(n *yaml.Node) (routes.API, apiPlaces) {
	f := r.fields(n, "an API", "api", "stage", "audiences", "form", "complete", "bound", "context", "routes")
	p := apiPlaces{api: at(n), fields: f}
	var a routes.API
	if n.Kind != yaml.MappingNode {
		return a, p
	}
	for _, one := range []struct {
		name string
		to   *string
	}{{"api", &a.ID}, {"stage", &a.Stage}} {
		if v := f[one.name]; v == nil {
			r.bad(at(n), `%s is missing ("*" is any)`, one.name)
		} else {
			*one.to, _ = r.text(v, one.name)
		}
	}
	if v := f["audiences"]; v != nil {
		if a.Audiences = r.list(v, "audiences"); len(v.Content) == 0 && v.Kind == yaml.SequenceNode {
			r.bad(at(v), "audiences names none: without it they are the deployment's")
		}
	}
	if v := f["form"]; v != nil {
		form, ok := r.text(v, "form")
		a.Form, p.forced = routes.Form(form), ok
	}
	if v := f["complete"]; v != nil {
		a.Complete = r.bool(v, "complete")
	}
	if v := f["bound"]; v != nil {
		a.Bound = r.bool(v, "bound")
	}
	if v := f["context"]; v != nil {
		a.Context = r.list(v, "context")
	}
	v := f["routes"]
	if v == nil {
		r.bad(at(n), "routes is missing")
		return a, p
	}
	p.routes = r.pairs(v, "routes")
	for _, one := range p.routes {
		a.Routes = append(a.Routes, r.route(one))
	}
	return a, p
}

// route reads one rule: "GET /orders/{id}" and what it needs.
func (r *reader) route(p pair) routes.Route {
	var route routes.Route
	route.Method, route.Path = splitKey(p.key.Value)
	switch n := p.value; {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		r.bad(at(p.key), "%s doesn't say what it needs: scopes, or [] for any valid token", p.key.Value)
	case n.Kind == yaml.ScalarNode:
		route.AllOf = r.scopes(n, "a scope")
	case n.Kind == yaml.SequenceNode:
		route.AllOf = r.list(n, "the scopes")
	default:
		f := r.fields(n, "a rule", "all", "any")
		if len(n.Content) == 0 {
			r.bad(at(n), "%s doesn't say what it needs: scopes, or [] for any valid token", p.key.Value)
		}
		if all := f["all"]; all != nil {
			if all.Kind == yaml.ScalarNode {
				route.AllOf = r.scopes(all, "all")
			} else if route.AllOf = r.list(all, "all"); all.Kind == yaml.SequenceNode && len(all.Content) == 0 {
				r.bad(at(all), "all names no scope")
			}
		}
		if either := f["any"]; either != nil {
			route.AnyOf = r.any(either)
		}
	}
	return route
}

// scopes reads a scope as OAuth writes it: tokens, each set apart by one space.
func (r *reader) scopes(n *yaml.Node, what string) []string {
	s, ok := r.text(n, what)
	if !ok {
		return nil
	}
	return strings.Split(s, " ")
}

func (r *reader) any(n *yaml.Node) [][]string {
	if n.Kind != yaml.SequenceNode {
		r.bad(at(n), "any must be a list, and is %s", kind(n))
		return nil
	}
	if len(n.Content) == 0 {
		r.bad(at(n), "any names no scope")
	}
	var out [][]string
	for _, item := range n.Content {
		if scopes := r.scopes(item, "each of any"); scopes != nil {
			out = append(out, scopes)
		}
	}
	return out
}

// splitKey splits "GET /orders" in two; $default and $connect have no method.
func splitKey(key string) (method, path string) {
	method, path, ok := strings.Cut(key, " ")
	if !ok {
		return "", key
	}
	return method, path
}
