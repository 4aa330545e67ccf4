// Package routes holds which scopes the routes of APIs need, as the authorizer reads it: compiled to JSON by
// `latchkey routes compile`, parsed once when the function starts.
//
//	set, err := routes.Parse(data)
//	api := set.API("a1b2c3d4e5", "prod")               // nil: an unknown API, deny
//	route := api.Route("GET", "/orders/{id}")          // nil: a route that no rule names, deny
//	if !route.Allows(access.Scope) { … }
//
// Routes are named as API Gateway names them: by method and template, never by a request's path, since what a path is
// decoded to, and which route it then is, is API Gateway's to say.
//
// An API Gateway authorizer's answer is cached and applied to other routes, so each API has one of two forms of answer.
// Form "token" lists all that the token may call (API.Resources); it is taken only where API.Analyse finds that no
// wildcard in that list can reach another rule's routes. In form "route" the answer is about the request's own route alone,
// and nothing may be cached that isn't keyed on the route.
package routes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Version is the version of the compiled document.
const Version = 1

// Bounds on what a Set may hold.
const (
	// MaxBytes bounds the compiled document.
	MaxBytes = 1 << 20
	// MaxAPIs is how many APIs a Set may have.
	MaxAPIs = 64
	// MaxRoutes is how many routes an API may have.
	MaxRoutes = 600
	// MaxPath is how many bytes a route's path may have. With a stage of the longest name its resource then keeps to the 512
	// that API Gateway lets a policy's resource have.
	MaxPath = 256
	// MaxScopes is how many scopes AllOf, and each alternative of AnyOf, may name, and how many alternatives AnyOf may have.
	MaxScopes = 32
	// MaxAudiences is how many audiences an API may have.
	MaxAudiences = 16
)

// Form is how the authorizer answers for an API.
type Form string

// The forms.
const (
	// FormToken is one policy for all that a token may call.
	FormToken Form = "token"
	// FormRoute is an answer about the one route that is asked for.
	FormRoute Form = "route"
)

// Any is the API or stage that stands for all.
const Any = "*"

// Set is the rules of all APIs that one authorizer serves. Make it with Parse or New; it is then read-only.
type Set struct {
	Version int   `json:"version"`
	APIs    []API `json:"apis"`

	byName map[name]*API
}

type name struct{ id, stage string }

// API is the rules of one API's stage.
type API struct {
	// ID is the id that API Gateway gave the API, Stage its stage's name. Either may be Any.
	ID    string `json:"api"`
	Stage string `json:"stage"`
	// Audiences are whom tokens for this API may be for (aud). Empty means the deployment's.
	Audiences []string `json:"audiences,omitempty"`
	// Form is how the authorizer answers.
	Form Form `json:"form"`
	// Complete says that Routes names every route that the API has. Without it no wildcard is safe.
	Complete bool `json:"complete,omitempty"`
	// Bound says that only sender-constrained tokens are taken (RFC 9449, RFC 8705).
	Bound bool `json:"bound,omitempty"`
	// Context names those of Claims that backends are told besides the usual ones.
	Context []string `json:"context,omitempty"`
	Routes  []Route  `json:"routes"`

	byKey map[key]*Route
}

type key struct{ method, path string }

// Route is what one route of an API needs: all the scopes of AllOf and, where AnyOf isn't empty, all those of one of its
// alternatives. A route that needs no scope takes any valid token.
type Route struct {
	// Method is the method, or "ANY" for those that the path has no route for; empty for $default and $connect.
	Method string `json:"method,omitempty"`
	// Path is the template, such as /orders/{id} or /files/{proxy+}, or $default (HTTP APIs) or $connect (WebSocket APIs).
	Path  string     `json:"path"`
	AllOf []string   `json:"all_of,omitempty"`
	AnyOf [][]string `json:"any_of,omitempty"`

	methods   []string  // of ANY those that no other rule of the path has
	segments  []segment // of the path
	units     []unit    // of the segments: what requests of the route are
	listed    []unit    // and what a policy's resource for it matches
	resources []string  // what a policy lists for it; none where another rule's wildcard that needs the same covers it
}

// Error says what is wrong with one rule or one API of a Set.
type Error struct {
	API   int    // index of the API; -1 means the set
	Route int    // index of the API's route; -1 means the API itself
	Field string // the JSON name of the member at fault; empty means the whole
	Text  string // what is wrong
}

func (e *Error) Error() string {
	switch {
	case e.API < 0:
		return "routes: " + e.Text
	case e.Route < 0:
		return fmt.Sprintf("routes: apis[%d]: %s", e.API, e.Text)
	}
	return fmt.Sprintf("routes: apis[%d].routes[%d]: %s", e.API, e.Route, e.Text)
}

// New checks the APIs and makes a Set of copies of them. An API without a form gets FormToken where that is safe, otherwise FormRoute.
// All that is wrong is in the error: one *Error, or several, joined (errors.Join).
func New(apis []API) (*Set, error) {
	s := &Set{Version: Version, APIs: slices.Clone(apis), byName: map[name]*API{}}
	if len(apis) == 0 || len(apis) > MaxAPIs {
		return nil, &Error{-1, -1, "apis", fmt.Sprintf("there must be 1 to %d APIs, and here are %d", MaxAPIs, len(apis))}
	}
	var problems []error
	for i := range s.APIs {
		a := &s.APIs[i]
		a.Routes = slices.Clone(a.Routes)
		found := a.prepare()
		if n := (name{a.ID, a.Stage}); s.byName[n] != nil {
			found = append(found, &Error{0, -1, "api", fmt.Sprintf("API %s with stage %s was named before", a.ID, a.Stage)})
		} else {
			s.byName[n] = a
		}
		for _, e := range found {
			e.API = i
			problems = append(problems, e)
		}
	}
	if problems != nil {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

// API returns the rules for an API's stage: those that name both, or the API with any stage, or the stage with any API, or
// those for all, in this order. It is nil where there are none.
func (s *Set) API(id, stage string) *API {
	for _, n := range []name{{id, stage}, {id, Any}, {Any, stage}, {Any, Any}} {
		if a := s.byName[n]; a != nil {
			return a
		}
	}
	return nil
}

// Route returns the rule for a route by the method and the template that API Gateway says it is, compared exactly: a REST
// API's httpMethod and resource, the two halves of an HTTP API's routeKey, or "" and $default or $connect. The rule of the
// method comes before that of ANY. It is nil where no rule names the route.
func (a *API) Route(method, path string) *Route {
	if r := a.byKey[key{method, path}]; r != nil {
		return r
	}
	if r := a.byKey[key{anyMethod, path}]; r != nil && slices.Contains(r.methods, method) {
		return r
	}
	return nil
}

// Key returns the route's name as API Gateway writes route keys.
func (r *Route) Key() string {
	if r.Method == "" {
		return r.Path
	}
	return r.Method + " " + r.Path
}

// Methods are the methods that the rule is for: those that ANY leaves are the ones that no other rule of the path has.
func (r *Route) Methods() []string { return slices.Clone(r.methods) }

// Allows reports whether a token of this scope may call the route.
func (r *Route) Allows(scope []string) bool {
	if !within(r.AllOf, scope) {
		return false
	}
	return len(r.AnyOf) == 0 || slices.ContainsFunc(r.AnyOf, func(alternative []string) bool { return within(alternative, scope) })
}

func within(need, have []string) bool {
	for _, s := range need {
		if !slices.Contains(have, s) {
			return false
		}
	}
	return true
}

// alternatives are the smallest scopes that the route allows, some of them perhaps larger than others.
func (r *Route) alternatives() [][]string {
	if len(r.AnyOf) == 0 {
		return [][]string{r.AllOf}
	}
	var out [][]string
	for _, alternative := range r.AnyOf {
		out = append(out, slices.Concat(r.AllOf, alternative))
	}
	return out
}

// Implies reports whether every token that may call r may call other as well.
func (r *Route) Implies(other *Route) bool {
	// Allows only ever grows with the scope, so the smallest scopes decide.
	return !slices.ContainsFunc(r.alternatives(), func(scope []string) bool { return !other.Allows(scope) })
}

// Needs says in words what the route needs: "orders:read and (a or b)".
func (r *Route) Needs() string {
	parts := slices.Clone(r.AllOf)
	var either []string
	for _, alternative := range r.AnyOf {
		all := strings.Join(alternative, " and ")
		if len(alternative) > 1 && len(r.AnyOf) > 1 {
			all = "(" + all + ")"
		}
		either = append(either, all)
	}
	switch {
	case len(parts) == 0 && len(either) == 0:
		return "any valid token"
	case len(either) > 1 && len(parts) > 0:
		parts = append(parts, "("+strings.Join(either, " or ")+")")
	case len(either) > 0:
		parts = append(parts, strings.Join(either, " or "))
	}
	return strings.Join(parts, " and ")
}

// Resources returns what a policy of form "token" allows a token of this scope: each resource is what follows
// arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/, such as GET/orders/*. It is empty where the token may call
// nothing, and always in form "route".
func (a *API) Resources(scope []string) []string {
	var out []string
	for i := range a.Routes {
		if r := &a.Routes[i]; len(r.resources) > 0 && r.Allows(scope) {
			out = append(out, r.resources...)
		}
	}
	return out
}
