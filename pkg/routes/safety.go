package routes

import (
	"fmt"
	"slices"
)

// MaxPolicy is how many bytes the largest policy of form "token" may have, with all that stands around it in an answer. API Gateway states no limit, and policies were
// seen to be refused at some size; of a WebSocket API's authorizer it takes 8 KB.
const MaxPolicy = 8192

// maxObstacles bounds an Analysis: one obstacle is enough, and people don't read a thousand.
const maxObstacles = 100

// Analysis says whether form "token" is safe for an API, and why not.
type Analysis struct {
	// Obstacles are what speaks against form "token". None: it is safe.
	Obstacles []Obstacle
	// Resources and Bytes are the size of the largest policy: that of a token with every scope, its context included.
	Resources, Bytes int
}

// Obstacle is one reason against form "token".
type Obstacle struct {
	// Rule and Other are the indices of the routes concerned, -1 for none.
	Rule, Other int
	Text        string
}

// Analyse finds out whether form "token" is safe: whether a policy that lists what a token may call can never allow what
// its rule would refuse. In a policy, * stands for any characters, slashes among them. So these are the conditions:
//
//   - the API is declared complete, for what is listed may reach routes that no rule names: a wildcard does, and a path
//     without one may have other spellings, of which API Gateway may take the one to find the route and another for the ARN;
//   - where what is listed for one rule may match a request of another's route, whoever may call the first may call the
//     second.
//
// A request of a route is taken widely: a variable may hold slashes (an encoded slash reaches some policies decoded), there
// may be more slashes than one between two segments and a slash at the end, and a route of another template may be the more specific one only in another spelling. So
// nothing rests on how API Gateway decodes paths or on which of two templates it prefers.
func (a *API) Analyse() Analysis {
	var out Analysis
	out.Resources, out.Bytes = a.size(a.list(), a.scopes())
	if out.Bytes > MaxPolicy {
		out.Obstacles = append(out.Obstacles, Obstacle{-1, -1, fmt.Sprintf(
			"the policy of a token with every scope would have %d bytes with its context, and may have %d", out.Bytes, MaxPolicy)})
	}
	if !a.Complete {
		out.Obstacles = append(out.Obstacles, a.unnamed()...)
	}
	for i := range a.Routes {
		for j := range a.Routes {
			if len(out.Obstacles) >= maxObstacles {
				return out
			}
			r, other := &a.Routes[i], &a.Routes[j]
			if i == j || !r.reaches(other) || r.Implies(other) {
				continue
			}
			out.Obstacles = append(out.Obstacles, Obstacle{i, j, fmt.Sprintf(
				"%s would be listed as %s, which may match a request of %s, and who has %s need not have %s",
				r.Key(), r.pattern(), other.Key(), r.Needs(), other.Needs())})
		}
	}
	return out
}

// unnamed returns what speaks against form "token" for an API that may have other routes: the wildcards or, where there are
// none, the paths' other spellings.
func (a *API) unnamed() []Obstacle {
	var out []Obstacle
	for i := range a.Routes {
		if r := &a.Routes[i]; wild(r.segments) {
			out = append(out, Obstacle{i, -1, fmt.Sprintf(
				"%s would be listed as %s, which may reach routes that no rule names (complete: true says that there are none)",
				r.Key(), r.pattern())})
		}
	}
	if len(out) == 0 && len(a.Routes) > 0 && a.Routes[0].Path != pathConnect { // which stands alone, and has no other spelling
		out = append(out, Obstacle{-1, -1, "another spelling of a path, such as /a%2Fb of /a/b, may reach routes that no rule names " +
			"(complete: true says that there are none)"})
	}
	return out
}

// reaches reports whether what is listed for r may match a request that API Gateway routes to other.
func (r *Route) reaches(other *Route) bool {
	sameMethod := r.Path == pathDefault || other.Path == pathDefault ||
		slices.ContainsFunc(r.methods, func(m string) bool { return slices.Contains(other.methods, m) })
	if !sameMethod {
		return false
	}
	return meet(r.listed, other.units) || meet(r.listed, append(slices.Clip(other.units), unit{})) // with a slash at the end
}

// unit is a part of a pattern over the segments of a path: one given segment, one of any kind, or any number of any kind.
type unit struct {
	any  bool
	many bool
	text string
}

// units makes a pattern of a template in which each variable is one segment or more: at least what a route's does.
func units(segments []segment) []unit {
	out := make([]unit, 0, len(segments)+2)
	for _, s := range segments {
		if s.kind == literal {
			out = append(out, unit{text: s.text})
		} else {
			out = append(out, unit{any: true}, unit{many: true})
		}
	}
	return out
}

// listed makes a pattern of what is listed for the template of these units: each variable is any number of segments. Between
// two slashes a policy's * has one at least, but that may be empty, as in /a//b, where a route may be found as if it were not there.
func listed(units []unit) []unit {
	return slices.DeleteFunc(slices.Clone(units), func(u unit) bool { return u.any })
}

// meet reports whether some path matches both patterns.
func meet(p, q []unit) bool {
	// row[j] says whether p[i:] and q[j:] meet, for one i after the other from the last.
	var room [2][32]bool
	row, next := room[0][:], room[1][:]
	if len(q) >= len(row) {
		row, next = make([]bool, len(q)+1), make([]bool, len(q)+1)
	}
	for i := len(p); i >= 0; i-- {
		for j := len(q); j >= 0; j-- {
			switch {
			case i == len(p) && j == len(q):
				row[j] = true
			case i < len(p) && p[i].many:
				row[j] = next[j] || j < len(q) && row[j+1]
			case j < len(q) && q[j].many:
				row[j] = row[j+1] || i < len(p) && next[j]
			case i == len(p) || j == len(q):
				row[j] = false
			default:
				row[j] = (p[i].any || q[j].any || p[i].text == q[j].text) && next[j+1]
			}
		}
		row, next = next, row
	}
	return next[0]
}

// pattern is what a policy lists for the route, the method as in the rule.
func (r *Route) pattern() string {
	switch r.Path {
	case pathDefault:
		return "*"
	case pathConnect:
		return pathConnect
	}
	return r.Method + resource(r.segments)
}

// list returns each route's resources. ANY becomes one for each method: a * in the method's place would match slashes too.
func (a *API) list() [][]string {
	out := make([][]string, len(a.Routes))
	for i := range a.Routes {
		r := &a.Routes[i]
		if r.Method == "" {
			out[i] = []string{r.pattern()}
			continue
		}
		for _, m := range r.methods {
			if !a.covered(i, m) {
				out[i] = append(out[i], m+resource(r.segments))
			}
		}
	}
	return out
}

// covered reports whether the resource of route i for a method is matched by another route's that exactly the same tokens
// may call.
func (a *API) covered(i int, method string) bool {
	r := &a.Routes[i]
	for j := range a.Routes {
		other := &a.Routes[j]
		if i == j || !covers(other.segments, r.segments) || other.Path != pathDefault && !slices.Contains(other.methods, method) {
			continue
		}
		if covers(r.segments, other.segments) && i < j {
			continue // they are the same, and the first one is listed
		}
		if r.Implies(other) && other.Implies(r) {
			return true
		}
	}
	return false
}

// covers reports whether the resource of one template, which ends with a wildcard, matches all that the other's does.
func covers(wide, narrow []segment) bool {
	last := len(wide) - 1
	if wide[last].kind == literal || len(narrow) <= last {
		return false
	}
	for i, s := range wide[:last] {
		if s.kind != literal || narrow[i] != s {
			return false
		}
	}
	return true
}

// scopes are all those that the rules name.
func (a *API) scopes() []string {
	var all []string
	for i := range a.Routes {
		for _, alternative := range a.Routes[i].alternatives() {
			all = append(all, alternative...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// size is how many resources, and at most how many bytes, a policy has that lists all of these, with the context that the
// answer for a token of this scope has beside it.
func (a *API) size(lists [][]string, scope []string) (resources, bytes int) {
	// The longest names of a partition and a Region.
	const prefix = len("arn:aws-us-gov:execute-api:ap-southeast-2:123456789012:")
	id, stage := len(a.ID), len(a.Stage)
	if a.ID == Any {
		id = 10
	}
	if a.Stage == Any {
		stage = 32
	}
	// The policy without its resources; and the context without the scope, of which the ids of a user, a client, a grant and a
	// token are the most.
	const policy, context = 256, 512
	bytes = policy + context
	for _, s := range scope {
		bytes += len(s) + len(" ")
	}
	if slices.Contains(a.Context, "aud") {
		for _, audience := range a.Audiences {
			bytes += len(audience) + len(" ")
		}
	}
	for _, list := range lists {
		for _, r := range list {
			resources++
			bytes += prefix + id + 1 + stage + 1 + len(r) + len(`"",`)
		}
	}
	return resources, bytes
}
