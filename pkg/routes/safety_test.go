package routes

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rule is a route from the short form "GET /orders: a b | c", where | sets alternatives apart.
func rule(text string) Route {
	name, need, _ := strings.Cut(text, ": ")
	method, path, ok := strings.Cut(name, " ")
	if !ok {
		method, path = "", name
	}
	r := Route{Method: method, Path: path}
	switch alternatives := strings.Split(need, " | "); {
	case need == "-":
	case len(alternatives) == 1:
		r.AllOf = strings.Fields(need)
	default:
		for _, a := range alternatives {
			r.AnyOf = append(r.AnyOf, strings.Fields(a))
		}
	}
	return r
}

func api(complete bool, rules ...string) API {
	a := API{ID: "a1b2c3d4e5", Stage: "prod", Complete: complete}
	for _, text := range rules {
		a.Routes = append(a.Routes, rule(text))
	}
	return a
}

func TestForm(t *testing.T) {
	const complete, open = true, false
	for _, c := range []struct {
		complete bool
		want     Form
		rules    []string
	}{
		// Without a variable there is no wildcard.
		{complete, FormToken, []string{"GET /orders: a", "POST /orders: b", "GET /: -"}},
		{complete, FormToken, []string{"GET /orders: a", "ANY /orders: b"}},
		// Only where there is nothing else that what is listed could reach.
		{open, FormToken, []string{"$connect: a"}},
		{open, FormRoute, []string{"GET /orders: a"}},
		{open, FormRoute, []string{"GET /orders/{id}: a"}},
		{open, FormRoute, []string{"GET /files/{proxy+}: a"}},
		{open, FormRoute, []string{"$default: a"}},
		{complete, FormToken, []string{"GET /orders/{id}: a", "DELETE /orders/{id}: b"}},
		{complete, FormToken, []string{"ANY /files/{proxy+}: a", "ANY /other/{proxy+}: b"}},
		{complete, FormToken, []string{"$default: a"}},
		// A wildcard crosses slashes.
		{complete, FormRoute, []string{"GET /users/{id}: a", "GET /users/{id}/admin: b"}},
		{complete, FormToken, []string{"GET /users/{id}: a", "POST /users/{id}/admin: b"}},
		{complete, FormToken, []string{"GET /users/{id}: a", "GET /users/{id}/orders: a"}},
		{complete, FormRoute, []string{"GET /users/{id}: a b", "GET /users/{id}/orders: a"}},
		{complete, FormRoute, []string{"GET /{x}/admin: a", "GET /users/{y}: b"}},
		{complete, FormToken, []string{"GET /a/{x}/b: a", "GET /a/{x}/c: b", "GET /b/{x}: c"}},
		// It may stand for nothing, and the root too is a path.
		{complete, FormRoute, []string{"GET /orders: a", "GET /orders/{id}: b"}},
		{complete, FormRoute, []string{"GET /: a", "GET /{proxy+}: b"}},
		{complete, FormRoute, []string{"GET /a/{x}/b: -", "GET /a/b: admin"}},
		{complete, FormRoute, []string{"GET /a/{x}/{y}/b: -", "GET /a/{z}/b: admin"}},
		{complete, FormRoute, []string{"GET /{x}/a: -", "GET /a: admin"}},
		{complete, FormToken, []string{"GET /a/b: admin", "GET /a/{x}/c: -"}},
		// A more specific route is not to be reached in another spelling.
		{complete, FormRoute, []string{"GET /health: -", "GET /{proxy+}: a"}},
		{complete, FormRoute, []string{"GET /orders/export: a b", "GET /orders/{id}: a"}},
		// ANY stands for the methods without a rule of the same path.
		{complete, FormToken, []string{"GET /orders/{id}: a", "ANY /orders/{id}: b"}},
		{complete, FormRoute, []string{"GET /orders/{id}: a", "ANY /orders/{id}/lines: b"}},
		{complete, FormRoute, []string{"POST /orders: a", "$default: b"}},
		{complete, FormToken, []string{"POST /orders: a", "$default: a"}},
		// The same need in other words.
		{complete, FormToken, []string{"GET /{x}: a | b", "GET /{x}/{y}: b | a"}},
		{complete, FormToken, []string{"GET /{x}: a | a b", "GET /{x}/{y}: a"}},
		{complete, FormRoute, []string{"GET /{x}: a | b", "GET /{x}/{y}: a"}},
	} {
		a := api(c.complete, c.rules...)
		set, err := New([]API{a})
		if err != nil {
			t.Errorf("%v: %v", c.rules, err)
			continue
		}
		got := &set.APIs[0]
		if got.Form != c.want {
			t.Errorf("%v, complete %v: form %s: %v", c.rules, c.complete, got.Form, got.Analyse().Obstacles)
		}
		// To insist is of no use.
		a.Form = FormToken
		if _, err := New([]API{a}); (err == nil) != (c.want == FormToken) {
			t.Errorf("%v, complete %v: form token forced: %v", c.rules, c.complete, err)
		}
		a.Form = FormRoute
		if set, err := New([]API{a}); err != nil || len(set.APIs[0].Resources([]string{"a", "b", "c"})) > 0 {
			t.Errorf("%v, complete %v: form route forced: %v", c.rules, c.complete, err)
		}
	}
}

func TestObstacleNamesBothRules(t *testing.T) {
	set, err := New([]API{api(true, "GET /users/{id}: users:read", "GET /users/{id}/admin: users:admin")})
	if err != nil {
		t.Fatal(err)
	}
	const want = "GET /users/{id} would be listed as GET/users/*, which may match a request of GET /users/{id}/admin, " +
		"and who has users:read need not have users:admin"
	if o := set.APIs[0].Analyse().Obstacles; len(o) == 0 || o[0].Text != want || o[0].Rule != 0 || o[0].Other != 1 {
		t.Errorf("%+v", o)
	}
}

func TestResources(t *testing.T) {
	for _, c := range []struct {
		rules       []string
		scope, want string
	}{
		{[]string{"GET /orders: a", "POST /orders: b", "GET /orders/{id}/lines: a"}, "a", "GET/orders GET/orders/*/lines"},
		{[]string{"GET /orders: a", "POST /orders: b"}, "", ""},
		{[]string{"GET /orders: a", "POST /orders: b"}, "c b", "POST/orders"},
		{[]string{"GET /: -"}, "", "GET/"},
		{[]string{"$default: a", "GET /orders: a"}, "a", "*"},
		{[]string{"$connect: a"}, "a", "$connect"},
		{[]string{"ANY /x/{p+}: a"}, "a", "GET/x/* HEAD/x/* POST/x/* PUT/x/* PATCH/x/* DELETE/x/* OPTIONS/x/*"},
		{[]string{"ANY /x: a", "GET /x: b", "POST /x: b"}, "a", "HEAD/x PUT/x PATCH/x DELETE/x OPTIONS/x"},
		// What a wildcard matches anyway is not listed.
		{[]string{"GET /x/{a}: a", "GET /x/{a}/y: a", "GET /x/{a}/{b}/z: a", "GET /x/{all+}: a"}, "a", "GET/x/*"},
	} {
		set, err := New([]API{api(true, c.rules...)})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(set.APIs[0].Resources(strings.Fields(c.scope)), " ")
		if got != c.want {
			t.Errorf("%v, scope %q: %q", c.rules, c.scope, got)
		}
	}
}

// TestSize has the largest policies of APIs of several sizes, as docs/route-rules.md says them: of resources with the usual
// five routes and two scopes each.
func TestSize(t *testing.T) {
	for _, c := range []struct {
		routes, bytes, one int // bytes of the largest policy, and of one for two scopes of one resource
		form               Form
	}{{30, 3708, 1258, FormToken}, {75, 8118, 1258, FormToken}, {100, 10568, 1258, FormRoute}, {300, 30168, 1258, FormRoute}} {
		var rules []string
		for i := range c.routes / 5 {
			r := fmt.Sprintf("resource-%02d", i)
			rules = append(rules,
				fmt.Sprintf("GET /%s: %s:read", r, r), fmt.Sprintf("GET /%s/{id}: %s:read", r, r),
				fmt.Sprintf("POST /%s: %s:write", r, r), fmt.Sprintf("PUT /%s/{id}: %s:write", r, r), fmt.Sprintf("DELETE /%s/{id}: %s:write", r, r))
		}
		set, err := New([]API{api(true, rules...)})
		if err != nil {
			t.Fatal(err)
		}
		a := &set.APIs[0]
		analysis := a.Analyse()
		_, one := a.size(a.list()[:5], []string{"resource-00:read", "resource-00:write"})
		if a.Form != c.form || analysis.Resources != c.routes || analysis.Bytes != c.bytes || one != c.one || (analysis.Bytes > MaxPolicy) != (c.form == FormRoute) {
			t.Errorf("%d routes: form %s, %d resources, %d bytes, %d for one", c.routes, a.Form, analysis.Resources, analysis.Bytes, one)
		}
	}
}

// TestReaches holds the comparison of templates to what it is about: whether some path is matched by what is listed for one
// and may be a request of the other.
func TestReaches(t *testing.T) {
	paths := []string{""}
	for start := 0; len(paths) < 9000; { // all of up to 8 segments, which is enough for two templates of up to 4
		end := len(paths)
		for _, p := range paths[start:end] {
			for _, part := range []string{"/a", "/b", "/"} {
				paths = append(paths, p+part)
			}
		}
		start = end
	}
	rnd := rand.New(rand.NewPCG(8, 3986))
	template := func() (path string) {
		for range 1 + rnd.IntN(3) {
			path += "/" + []string{"a", "b", "{v}"}[rnd.IntN(3)]
		}
		if rnd.IntN(4) == 0 {
			return path + "/{w+}"
		}
		return path
	}
	yes, no := 0, 0
	for range 100 {
		r, other := template(), template()
		r, other = strings.Replace(r, "{v}", "{x}", 1), strings.Replace(other, "{v}", "{x}", 1)
		r, other = strings.Replace(r, "{v}", "{y}", 1), strings.Replace(other, "{v}", "{y}", 1)
		set, err := New([]API{{ID: "a", Stage: "s", Routes: []Route{{Method: "GET", Path: r}}}, {ID: "b", Stage: "s", Routes: []Route{{Method: "ANY", Path: other}}}})
		if err != nil {
			t.Fatal(err)
		}
		listed := regexp.MustCompile(`\{\w+\+?\}`).ReplaceAllString(r, "*")
		requests := regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\+?\}`).ReplaceAllString(other, ".*") + "/?$")
		slashes := regexp.MustCompile("/+")
		want := slices.ContainsFunc(paths, func(p string) bool {
			return glob(listed, p) && (requests.MatchString(p) || requests.MatchString(slashes.ReplaceAllString(p, "/")))
		})
		if got := set.APIs[0].Routes[0].reaches(&set.APIs[1].Routes[0]); got != want {
			t.Fatalf("%s and a request of %s: %v", r, other, got)
		}
		if want {
			yes++
		} else {
			no++
		}
	}
	if yes < 20 || no < 20 {
		t.Errorf("%d meet, %d don't", yes, no)
	}
}

// glob is IAM's: * is any characters, ? is one. It shares nothing with the product.
func glob(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		for i := 0; i <= len(s); i++ {
			if glob(pattern[1:], s[i:]) {
				return true
			}
		}
		return false
	}
	return s != "" && (pattern[0] == '?' || pattern[0] == s[0]) && glob(pattern[1:], s[1:])
}

// specific compares how specific a template is to a path that it matches: the first segment that differs decides, and a
// literal comes before a variable, which comes before a greedy one. ok is false where it doesn't match.
func specific(template, path string) (rank string, ok bool) {
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	segments := strings.Split(path, "/")
	for i, part := range strings.Split(template, "/") {
		switch {
		case strings.HasSuffix(part, "+}"):
			return rank + "c", i < len(segments) && strings.Join(segments[i:], "/") != ""
		case i >= len(segments):
			return "", false
		case strings.HasPrefix(part, "{"):
			if segments[i] == "" {
				return "", false
			}
			rank += "b"
		case part != segments[i]:
			return "", false
		default:
			rank += "a"
		}
	}
	return rank, strings.Count(template, "/") == strings.Count(path, "/")
}

// routed is the route that API Gateway takes for a request: HTTP APIs choose among the routes that have the method, REST
// APIs choose the path first, and then have no answer where it lacks the method.
func routed(rules []Route, http bool, method, path string) *Route {
	rank := func(r *Route) (string, bool) {
		if r.Path == "$default" {
			return "z", true
		}
		rank, ok := specific(r.Path, path)
		if r.Method == "ANY" {
			rank += "z"
		} else if r.Method != method {
			if http {
				return "", false
			}
			rank += "zz"
		}
		return rank, ok
	}
	var best *Route
	bestRank := "~"
	for i := range rules {
		if got, ok := rank(&rules[i]); ok && got < bestRank {
			best, bestRank = &rules[i], got
		}
	}
	if best != nil && best.Method != method && best.Method != "ANY" && best.Method != "" {
		return nil
	}
	return best
}

func TestRouted(t *testing.T) {
	var rules []Route
	for _, text := range []string{"GET /a: -", "ANY /a: -", "GET /{x}: -", "POST /{x}: -", "GET /{x+}: -", "GET /b/{x}: -", "$default: -"} {
		rules = append(rules, rule(text))
	}
	for request, want := range map[string]string{
		"GET /a": "GET /a", "GET /a/": "GET /a", "PUT /a": "ANY /a", "GET /c": "GET /{x}", "GET /c/d": "GET /{x+}", "GET /b/d": "GET /b/{x}",
		"PUT /c/d": "$default", "GET /": "$default",
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := routed(rules, true, method, path); got == nil || got.Key() != want {
			t.Errorf("%s: %v", request, got)
		}
	}
	if got := routed(rules[:4], false, "PUT", "/c"); got != nil {
		t.Errorf("REST: PUT /c: %v", got)
	}
}

// fuzzed is a random choice of rules, and whether there are no other routes.
func fuzzed(rnd *rand.Rand) API {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	needs := []string{"-", "a", "b", "a b", "a | b", "a | b c"}
	common := pick(needs...)
	a := API{ID: "a1b2c3d4e5", Stage: "prod", Complete: rnd.IntN(4) > 0}
	seen := map[string]bool{}
	for range 1 + rnd.IntN(5) {
		path := ""
		for depth := range 1 + rnd.IntN(3) {
			part := pick("a", "b", "{v}", "{v}", "{v+}")
			path += "/" + strings.ReplaceAll(part, "v", fmt.Sprint("v", depth))
			if part == "{v+}" {
				break
			}
		}
		if rnd.IntN(10) == 0 {
			path = "/"
		}
		key := pick("GET", "GET", "POST", "ANY") + " " + path
		if rnd.IntN(20) == 0 {
			key = "$default"
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		need := common
		if rnd.IntN(4) == 0 {
			need = pick(needs...)
		}
		a.Routes = append(a.Routes, rule(key+": "+need))
	}
	return a
}

// TestPolicyEqualsDecision is the property that the forms are about: what the policy of form "token" allows, on whatever
// route, in whatever spelling, the rule of that route allows; and in the plain spelling, the reverse.
func TestPolicyEqualsDecision(t *testing.T) {
	rounds := 2_000
	if testing.Short() {
		rounds = 500
	}
	rnd := rand.New(rand.NewPCG(9068, 6749))
	wildcards, allowed, refused := 0, 0, 0
	for range rounds {
		set, err := New([]API{fuzzed(rnd)})
		if err != nil {
			t.Fatal(err)
		}
		a := &set.APIs[0]
		if a.Form != FormToken {
			continue
		}
		if slices.ContainsFunc(a.Routes, func(r Route) bool { return strings.ContainsAny(r.Path, "{") }) {
			wildcards++
		}
		// The API's routes: those of the rules, and where these aren't all, others.
		all := slices.Clone(a.Routes)
		if !a.Complete {
			for _, text := range []string{"GET /{u}: none", "ANY /{u}/{w+}: none", "POST /a/c: none", "$default: none"} {
				other := rule(text)
				if a.Route(other.Method, other.Path) == nil {
					all = append(all, other)
				}
			}
		}
		for range 40 {
			var scope []string
			for _, s := range []string{"a", "b", "c"} {
				if rnd.IntN(2) == 0 {
					scope = append(scope, s)
				}
			}
			method := []string{"GET", "POST", "DELETE"}[rnd.IntN(3)]
			path := ""
			for range 1 + rnd.IntN(4) {
				path += "/" + []string{"a", "b", "c", "a%2Fb", "%61", "*", "a%2F"}[rnd.IntN(7)]
			}
			if rnd.IntN(4) == 0 {
				path += "/"
			}
			if rnd.IntN(20) == 0 {
				path = "/"
			}
			decoded, err := url.PathUnescape(path)
			if err != nil {
				t.Fatal(err)
			}
			resources := a.Resources(scope)
			policy := func(path string) bool {
				return slices.ContainsFunc(resources, func(r string) bool { return glob(r, method+path) })
			}
			for _, http := range []bool{true, false} {
				for _, routing := range []string{path, decoded} {
					route := routed(all, http, method, routing)
					if route == nil {
						continue // API Gateway refuses it
					}
					fresh := false
					if r := a.Route(route.Method, route.Path); r != nil {
						fresh = r.Allows(scope)
					}
					arns := []string{path, decoded}
					if !a.Complete {
						arns = []string{routing} // what is unknown may be spelt like what is known
					}
					for _, arn := range arns {
						if policy(arn) && !fresh {
							t.Fatalf("%v, complete %v: scope %v may call %s %s (%s in the ARN), which is %s", a.Routes, a.Complete, scope, method, routing, arn, route.Key())
						}
					}
					if path == decoded && !strings.HasSuffix(strings.TrimPrefix(path, "/"), "/") && policy(path) != fresh {
						t.Fatalf("%v: scope %v: %s %s is %s: allowed %v, in the policy %v", a.Routes, scope, method, path, route.Key(), fresh, !fresh)
					}
					if fresh {
						allowed++
					} else {
						refused++
					}
				}
			}
		}
	}
	t.Logf("%d sets with wildcards; %d requests allowed, %d refused", wildcards, allowed, refused)
	if wildcards < rounds/20 || allowed < rounds || refused < rounds {
		t.Errorf("too few cases: %d sets with wildcards, %d requests allowed, %d refused", wildcards, allowed, refused)
	}
}
