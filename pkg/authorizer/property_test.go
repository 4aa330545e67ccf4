package authorizer_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// site is an API as it is deployed: its routes, of which the rules name some.
type site struct {
	routes   []routes.Route // with what each needs
	ruled    []bool         // whether the rules name it
	deployed []bool         // whether it is one of the API's: rules may name more, such as single methods of an ANY route
	api      routes.API
}

// gatewayRoute is API Gateway's choice among the routes for a path that is taken apart at its slashes: at each segment a
// literal comes before a variable, and that before a greedy one; a route for the method comes before one for any.
func (s *site) gatewayRoute(method string, segments []string) (int, bool) {
	best, bestRank := -1, ""
	for i, r := range s.routes {
		if !s.deployed[i] || r.Method != method && r.Method != "ANY" {
			continue
		}
		rank, ok := "", true
		want := strings.Split(strings.TrimPrefix(r.Path, "/"), "/")
		for j, w := range want {
			if j >= len(segments) || segments[j] == "" {
				ok = false
				break
			}
			if strings.HasSuffix(w, "+}") {
				rank += "2"
				break
			}
			if strings.HasPrefix(w, "{") {
				rank += "1"
			} else if rank += "0"; w != segments[j] {
				ok = false
				break
			}
			if j == len(want)-1 && len(segments) != len(want) {
				ok = false
			}
		}
		if r.Method == "ANY" {
			rank += "3"
		}
		if ok && (best < 0 || rank < bestRank) {
			best, bestRank = i, rank
		}
	}
	return best, best >= 0
}

// mayCall says afresh, from the routes as they were drawn, whether a scope may call one.
func (s *site) mayCall(i int, method string, scope []string) bool {
	rule := -1
	for j, r := range s.routes { // rules are of a path's method first, then of any
		if s.ruled[j] && r.Path == s.routes[i].Path && (r.Method == method || r.Method == "ANY" && rule < 0) {
			rule = j
		}
	}
	if rule < 0 {
		return false
	}
	has := func(list []string) bool {
		for _, one := range list {
			if !slices.Contains(scope, one) {
				return false
			}
		}
		return true
	}
	r := s.routes[rule]
	return has(r.AllOf) && (len(r.AnyOf) == 0 || slices.ContainsFunc(r.AnyOf, has))
}

var scopes = []string{"s1", "s2", "s3"}

func some(rng *rand.Rand, of []string) []string {
	var out []string
	for _, s := range of {
		if rng.IntN(3) == 0 {
			out = append(out, s)
		}
	}
	return out
}

func draw(rng *rand.Rand) *site {
	s := &site{}
	taken := map[string]bool{}
	variables := rng.IntN(3) > 0
	for range 2 + rng.IntN(6) {
		var path, shape string
		for depth := range 1 + rng.IntN(3) {
			segment := []string{"a", "b", "c"}[rng.IntN(3)]
			if variables && rng.IntN(3) == 0 {
				segment = fmt.Sprintf("{%s%d}", []string{"v", "v", "w"}[rng.IntN(3)], depth)
				shape += "/{}"
			} else {
				shape += "/" + segment
			}
			path += "/" + segment
		}
		if variables && rng.IntN(4) == 0 {
			path, shape = path+"/{rest+}", shape+"/{+}"
		}
		r := routes.Route{Method: []string{"GET", "POST", "ANY"}[rng.IntN(3)], Path: path}
		if taken[shape] || taken[r.Method+shape] {
			continue // API Gateway takes no two routes that only differ in a variable's name
		}
		taken[r.Method+shape] = true
		r.AllOf = some(rng, scopes)
		if rng.IntN(3) == 0 {
			r.AnyOf = [][]string{{scopes[rng.IntN(3)]}, {scopes[rng.IntN(3)]}}
			if r.AnyOf[0][0] == r.AnyOf[1][0] {
				r.AnyOf = nil
			}
		}
		s.routes = append(s.routes, r)
		s.ruled, s.deployed = append(s.ruled, true), append(s.deployed, true)
		if r.Method != "ANY" && rng.IntN(2) == 0 && !taken["ANY"+shape] {
			taken["ANY"+shape] = true
			if rng.IntN(2) == 0 {
				path = strings.ReplaceAll(path, "{v", "{w")
			}
			s.routes = append(s.routes, routes.Route{Method: "ANY", Path: path, AllOf: some(rng, scopes)})
			s.ruled, s.deployed = append(s.ruled, true), append(s.deployed, true)
			s.deployed[len(s.routes)-2] = rng.IntN(2) == 0
		}
	}
	s.api = routes.API{ID: "api", Stage: "s", Complete: rng.IntN(2) == 0}
	for i := range s.routes {
		if !s.api.Complete && i > 0 && rng.IntN(4) == 0 {
			s.ruled[i] = false
			continue
		}
		s.api.Routes = append(s.api.Routes, s.routes[i])
	}
	if rng.IntN(4) == 0 {
		s.api.Form = routes.FormRoute
	}
	return s
}

// ambiguous says whether the rules have one path under two names of its variables.
func (s *site) ambiguous() bool {
	names := map[string]string{}
	for _, r := range s.api.Routes {
		shape := regexp.MustCompile(`\{\w+`).ReplaceAllString(r.Path, "{")
		if before, ok := names[shape]; ok && before != r.Path {
			return true
		}
		names[shape] = r.Path
	}
	return false
}

// request is one that API Gateway has found a route for.
type request struct {
	asks
	route int
	clean bool // written in the one plain way: an answer that denies it though its rule does not would be wrong
}

// request draws one, in the way in which a kind of API reads paths: a REST API's ARN has them as they are sent, an HTTP API's
// decoded. Whether HTTP APIs find the route before or after that is not documented. Either will do where the answer is about
// the route.
func (s *site) request(rng *rand.Rand, rest bool, form routes.Form) []request {
	var segments []string
	clean := true
	for range 1 + rng.IntN(4) {
		segment := []string{"a", "b", "c", "d", "a", "b", "c", "..", "x%2Fa", "b%2Fc", "*", "", "$x"}[rng.IntN(13)]
		if len(segment) != 1 || segment == "*" {
			clean = false
		}
		segments = append(segments, segment)
	}
	path := strings.Join(segments, "/")
	routed := []string{path}
	if !rest {
		decoded := strings.ReplaceAll(path, "%2F", "/")
		if form == routes.FormToken || decoded == path {
			routed = nil
		}
		path, routed = decoded, append(routed, decoded)
	}
	if rng.IntN(6) == 0 {
		clean, path = false, path+"/" // routed as without it
	}
	method := []string{"GET", "POST", "DELETE"}[rng.IntN(3)]
	var out []request
	for _, r := range routed {
		if i, ok := s.gatewayRoute(method, strings.Split(r, "/")); ok {
			out = append(out, request{asks{
				api: "api", stage: "s", method: method, path: "/" + path, template: s.routes[i].Path, any: s.routes[i].Method == "ANY",
			}, i, clean})
		}
	}
	return out
}

// The decision that API Gateway takes from its cache is the one that the rules come to afresh: for random rules, scopes and
// requests, under the cache keys that the documentation asks for. Under the token alone as the key, the cache never allows
// what is denied afresh.
func TestCachedDecisionsAreFreshOnes(t *testing.T) {
	const rounds = 400
	var scope []string
	access := claims()
	verifier := verifierFunc(func(context.Context, string) (*token.Access, error) {
		a := *access
		a.Scope = scope
		return &a, nil
	})
	counts := map[string]int{}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 5))
		s := draw(rng)
		set, err := routes.New([]routes.API{s.api})
		if s.ambiguous() {
			if counts["refused"]++; err == nil {
				t.Fatalf("seed %d: one path under two names is taken: %+v", seed, s.api.Routes)
			}
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		form := set.APIs[0].Form
		counts["form "+string(form)]++
		for _, kind := range []string{"rest-token", "rest-request", "http-1.0", "http-policy", "http-simple"} {
			a, err := authorizer.New(authorizer.Config{
				Verifier: verifier, Routes: set, SimpleResponses: kind == "http-simple",
				Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			scope = some(rng, scopes)
			var requests []request
			for range 12 {
				requests = append(requests, s.request(rng, strings.HasPrefix(kind, "rest"), form)...)
			}
			// The token is the same in all of them, and so never a part of what tells two keys apart.
			key := func(r request) string {
				switch {
				case form == routes.FormToken && kind != "http-simple":
					return ""
				case kind == "http-simple":
					return r.key()
				case strings.HasPrefix(kind, "http"):
					return r.key() + " " + r.method + " " + r.path
				}
				return r.method + " " + r.path
			}
			// The answers as they would be kept under the documented key, and under the token alone.
			var documented, alone []func(arn string) bool
			for _, r := range requests {
				ask := func(sources []string) func(arn string) bool {
					r.sources = sources
					out, err := a.Invoke(t.Context(), r.event(t, kind, "x"))
					return kept(t, kind, out, err, now)
				}
				if key(r) == "" {
					documented = append(documented, ask([]string{}))
				} else {
					documented = append(documented, ask([]string{r.key()}))
				}
				alone = append(alone, ask([]string{}))
			}
			for _, second := range requests {
				fresh := s.mayCall(second.route, second.method, scope)
				about := func() string {
					return fmt.Sprintf("seed %d, %s, form %s, scope %v, %s%s by %s of %+v", seed, kind, form, scope, second.method, second.path, second.key(), s.api.Routes)
				}
				for i, first := range requests {
					if key(first) == key(second) {
						cached := documented[i](second.arn())
						switch {
						case cached && !fresh:
							t.Fatalf("%s: allowed from the cache, and denied afresh; cached for %s%s", about(), first.method, first.path)
						case cached:
							counts["allowed"]++
						case fresh && second.clean && !unlisted(kind, form, s, second, scope):
							t.Fatalf("%s: denied from the cache, and allowed afresh; cached for %s%s", about(), first.method, first.path)
						case fresh:
							counts["denied for its spelling or form"]++
						default:
							counts["denied"]++
						}
					}
					if alone[i](second.arn()) && !fresh {
						t.Fatalf("%s: allowed from a cache whose key is the token alone; cached for %s%s", about(), first.method, first.path)
					}
				}
			}
		}
	}
	t.Log(counts)
	for _, what := range []string{"form token", "form route", "refused", "allowed", "denied"} {
		if counts[what] < rounds/10 {
			t.Errorf("%s was drawn %d times: the test shows little", what, counts[what])
		}
	}
}

// unlisted says whether a kind's answer can't allow a request though its rule does: a TOKEN event in form "route", and a
// simple response for a route of any method whose methods' rules differ.
func unlisted(kind string, form routes.Form, s *site, r request, scope []string) bool {
	if kind == "rest-token" {
		return form == routes.FormRoute
	}
	if kind != "http-simple" || !r.any {
		return false
	}
	for i := range s.routes {
		if s.routes[i].Path == r.template && s.ruled[i] && !s.mayCall(i, s.routes[i].Method, scope) {
			return true
		}
	}
	return !s.ruled[r.route] // its rules are of single methods
}
