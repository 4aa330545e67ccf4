package routes

import (
	"fmt"
	"slices"
	"strings"
)

// The forms are spelled out rather than compiled from regular expressions: that takes a tenth of a function's start, and the
// compiler's package a thirtieth of the authorizer.

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// printable is a character of a scope-token (RFC 6749 §3.3).
func printable(c byte) bool { return c >= 0x21 && c <= 0x7e && c != '"' && c != '\\' }

// consists reports whether s is 1 to most bytes, all of that kind.
func consists(s string, of func(c byte) bool, most int) bool {
	for i := range len(s) {
		if !of(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= most
}

func validID(s string) bool       { return consists(s, word, 64) }
func validStage(s string) bool    { return consists(s, word, 128) }
func validAudience(s string) bool { return consists(s, printable, 512) }
func validScope(s string) bool    { return consists(s, printable, 256) }

// Claims are those that Context may name: what backends are told anyway isn't among them.
var Claims = []string{"aud", "auth_time", "iat", "iss"}

// prepare checks the API, makes its lookups and chooses its form where none is given. The errors lack the API's index.
func (a *API) prepare() []*Error {
	var problems []*Error
	bad := func(field, format string, args ...any) {
		problems = append(problems, &Error{0, -1, field, fmt.Sprintf(format, args...)})
	}
	if a.ID != Any && !validID(a.ID) {
		bad("api", "%q is no API's id: those are letters and digits, or * for any", a.ID)
	}
	if a.Stage != Any && a.Stage != "$default" && !validStage(a.Stage) {
		bad("stage", "%q is no stage's name: those are letters, digits, - and _, or $default, or * for any", a.Stage)
	}
	if len(a.Audiences) > MaxAudiences {
		bad("audiences", "there may be %d, and here are %d", MaxAudiences, len(a.Audiences))
	}
	for i, audience := range a.Audiences {
		if !validAudience(audience) {
			bad("audiences", "%q is no audience: those are printable ASCII without spaces, quotes and backslashes", audience)
		} else if slices.Contains(a.Audiences[:i], audience) {
			bad("audiences", "%q is named twice", audience)
		}
	}
	for i, claim := range a.Context {
		if !slices.Contains(Claims, claim) {
			bad("context", "%q can't be told to backends besides: that is %s", claim, strings.Join(Claims, ", "))
		} else if slices.Contains(a.Context[:i], claim) {
			bad("context", "%q is named twice", claim)
		}
	}
	if len(a.Routes) == 0 || len(a.Routes) > MaxRoutes {
		bad("routes", "there must be 1 to %d routes, and here are %d", MaxRoutes, len(a.Routes))
		return problems
	}
	problems = append(problems, a.prepareRoutes()...)
	if len(problems) > 0 {
		return problems
	}
	switch a.Form {
	case FormRoute:
	case FormToken, "":
		analysis := a.Analyse()
		switch {
		case len(analysis.Obstacles) == 0:
			a.Form = FormToken
		case a.Form == "":
			a.Form = FormRoute
		default:
			o := analysis.Obstacles[0]
			bad("form", "form token isn't safe here: %s", o.Text)
		}
		if a.Form == FormToken {
			for i, list := range a.list() {
				a.Routes[i].resources = list
			}
		}
	default:
		bad("form", "%q is no form: those are token and route", a.Form)
	}
	return problems
}

func (a *API) prepareRoutes() []*Error {
	var problems []*Error
	a.byKey = make(map[key]*Route, len(a.Routes))
	shapes := make(map[key]*Route, len(a.Routes))
	paths := make(map[string]*Route, len(a.Routes)) // by shape, whatever the method
	for i := range a.Routes {
		r := &a.Routes[i]
		*r = Route{Method: r.Method, Path: r.Path, AllOf: r.AllOf, AnyOf: r.AnyOf} // made of the text alone
		bad := func(field, format string, args ...any) {
			problems = append(problems, &Error{0, i, field, fmt.Sprintf(format, args...)})
		}
		if err := r.checkKey(); err != nil {
			bad("path", "%v", err)
			continue
		}
		shape := key{r.Method, shape(r.segments)}
		if r.Path == pathConnect || r.Path == pathDefault {
			shape.path = r.Path
		}
		if before := shapes[shape]; before != nil {
			if before.Path == r.Path {
				bad("path", "%s was named before", r.Key())
			} else {
				bad("path", "%s is the route %s, which was named before: names of variables don't tell routes apart", r.Key(), before.Key())
			}
			continue
		}
		shapes[shape] = r
		// ANY leaves a path's other rules their methods. Two names of one path would make that a matter of which is asked for.
		if before := paths[shape.path]; before == nil {
			paths[shape.path] = r
		} else if before.Path != r.Path {
			bad("path", "%s names the variables of %s otherwise: the rules of one path must write it alike, as must the API's routes", r.Key(), before.Key())
			continue
		}
		r.units = units(r.segments)
		r.listed = listed(r.units)
		a.byKey[key{r.Method, r.Path}] = r
		if r.Path == pathConnect && len(a.Routes) > 1 {
			bad("path", "$connect is the only route of a WebSocket API that an authorizer sees, so no other may stand beside it")
		}
		for _, text := range checkScopes(r.AllOf) {
			bad("all_of", "%s", text)
		}
		if len(r.AnyOf) > MaxScopes {
			bad("any_of", "there may be %d alternatives, and here are %d", MaxScopes, len(r.AnyOf))
			continue
		}
		for _, alternative := range r.AnyOf {
			if len(alternative) == 0 {
				bad("any_of", "an alternative names no scope")
			}
			for _, text := range checkScopes(alternative) {
				bad("any_of", "%s", text)
			}
		}
	}
	if len(problems) > 0 {
		return problems
	}
	for i := range a.Routes {
		r := &a.Routes[i]
		if r.Method != anyMethod {
			r.methods = []string{r.Method}
			continue
		}
		for _, m := range methods {
			if shapes[key{m, shape(r.segments)}] == nil {
				r.methods = append(r.methods, m)
			}
		}
	}
	return nil
}

func checkScopes(scopes []string) []string {
	if len(scopes) > MaxScopes {
		return []string{fmt.Sprintf("there may be %d scopes, and here are %d", MaxScopes, len(scopes))}
	}
	var problems []string
	for i, s := range scopes {
		if !validScope(s) {
			problems = append(problems, fmt.Sprintf("%q is no scope: those are printable ASCII without spaces, quotes and backslashes (RFC 6749 section 3.3)", s))
		} else if slices.Contains(scopes[:i], s) {
			problems = append(problems, fmt.Sprintf("the scope %q is named twice", s))
		}
	}
	return problems
}

// The paths that are no templates.
const (
	pathDefault = "$default"
	pathConnect = "$connect"
)

const anyMethod = "ANY"

// methods are those that API Gateway has routes for, so those that ANY stands for.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// checkKey checks method and path, and reads the path's segments.
func (r *Route) checkKey() error {
	if r.Path == pathDefault || r.Path == pathConnect {
		if r.Method != "" {
			return fmt.Errorf("%s stands without a method", r.Path)
		}
		r.segments = []segment{{kind: greedy}}
		if r.Path == pathConnect {
			r.segments = []segment{{text: pathConnect}}
		}
		return nil
	}
	if r.Method != anyMethod && !slices.Contains(methods, r.Method) {
		return fmt.Errorf("%q is no method: those are %s and %s", r.Method, strings.Join(methods, ", "), anyMethod)
	}
	segments, err := parseTemplate(r.Path)
	r.segments = segments
	return err
}
