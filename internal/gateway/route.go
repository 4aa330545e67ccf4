package gateway

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// route is a Route, taken apart.
type route struct {
	Route
	segments []segment // none for $default
	kind     Kind
}

type segment struct {
	name   string // of a variable, else empty
	text   string // of a literal
	greedy bool   // takes the rest of the path, at least one segment
}

func parseRoute(r Route, kind Kind) (route, error) {
	parsed := route{Route: r, kind: kind}
	if r.Path == "$default" {
		if kind != HTTP || r.Method != "" {
			return parsed, errors.New("$default is a route of HTTP APIs, without a method")
		}
		return parsed, nil
	}
	if r.Method == "" || strings.ToUpper(r.Method) != r.Method {
		return parsed, errors.New("the method must be in upper case, or ANY")
	}
	if !strings.HasPrefix(r.Path, "/") {
		return parsed, errors.New("the path must begin with a slash")
	}
	parts := strings.Split(r.Path[1:], "/")
	for i, part := range parts {
		s := segment{text: part}
		if inner, ok := strings.CutPrefix(part, "{"); ok {
			if inner, ok = strings.CutSuffix(inner, "}"); !ok {
				return parsed, errors.New("a variable is not closed")
			}
			s.name, s.greedy = strings.CutSuffix(inner, "+")
			s.text = ""
			if s.name == "" || s.greedy && i != len(parts)-1 {
				return parsed, errors.New("a variable has no name, or a greedy one is not the last")
			}
		}
		parsed.segments = append(parsed.segments, s)
	}
	return parsed, nil
}

func (r *route) isDefault() bool { return r.Path == "$default" }

// key is the route's key on an HTTP API.
func (r *route) key() string {
	if r.isDefault() {
		return r.Path
	}
	return r.Method + " " + r.Path
}

// pattern is the same for routes that no request can tell apart.
func (r *route) pattern() string {
	parts := []string{r.Method}
	for _, s := range r.segments {
		switch {
		case s.greedy:
			parts = append(parts, "{+}")
		case s.name != "":
			parts = append(parts, "{}")
		default:
			parts = append(parts, s.text)
		}
	}
	return strings.Join(parts, "/")
}

// compare puts the more specific route first: literals before variables, these before greedy ones, $default last; of the
// same path, a method of its own before ANY.
func (r route) compare(other route) int {
	for i := range min(len(r.segments), len(other.segments)) {
		if c := cmp.Compare(r.segments[i].rank(), other.segments[i].rank()); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(len(other.segments), len(r.segments)); c != 0 {
		return c
	}
	any := func(r route) int {
		if r.Method == "ANY" {
			return 1
		}
		return 0
	}
	return cmp.Compare(any(r), any(other))
}

func (s segment) rank() int {
	switch {
	case s.greedy:
		return 2
	case s.name != "":
		return 1
	}
	return 0
}

// match returns the route for a request, with its path's variables; nil where there is none. Nothing is cleaned: a path with
// "." or ".." segments, or with slashes too many, is for no literal route.
//
// An HTTP API without a route for the method goes on to a less specific path. A REST API first finds the resource, then the
// method, and refuses where that resource does not have it.
func (g *Gateway) match(method, path string) (*route, map[string]string) {
	found := ""
	for i := range g.routes {
		r := &g.routes[i]
		params, ok := r.matches(path)
		if !ok || g.api.Kind == REST && found != "" && r.Path != found {
			continue
		}
		if r.isDefault() || r.Method == method || r.Method == "ANY" {
			return r, params
		}
		found = r.Path
	}
	return nil, nil
}

// methods returns those that a path's routes have, for CORS.
func (g *Gateway) methods(path string) []string {
	var list []string
	for i := range g.routes {
		if r := &g.routes[i]; !r.isDefault() {
			if _, ok := r.matches(path); ok && !slices.Contains(list, r.Method) && r.Method != "OPTIONS" {
				list = append(list, r.Method)
			}
		}
	}
	if slices.Contains(list, "ANY") {
		return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	}
	return list
}

func (r *route) matches(path string) (map[string]string, bool) {
	if r.isDefault() {
		return nil, strings.HasPrefix(path, "/")
	}
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, false
	}
	// REST APIs route /hello/ to /hello.
	if r.kind == REST && rest != "" {
		rest = strings.TrimSuffix(rest, "/")
	}
	parts := strings.Split(rest, "/")
	var params map[string]string
	for i, s := range r.segments {
		if i >= len(parts) {
			return nil, false
		}
		if s.name == "" {
			if s.text != parts[i] {
				return nil, false
			}
			continue
		}
		value := parts[i]
		if s.greedy {
			value = strings.Join(parts[i:], "/")
		}
		if value == "" {
			return nil, false
		}
		if params == nil {
			params = map[string]string{}
		}
		params[s.name] = value
		if s.greedy {
			return params, true
		}
	}
	return params, len(parts) == len(r.segments)
}
