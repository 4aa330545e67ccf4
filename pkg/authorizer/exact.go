package authorizer

import (
	"cmp"
	"slices"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// exact says whether a policy may name an ARN as it is, once the route that it came by is allowed.
//
// The policy is kept, and where the cache's key is not what it should be, applied to other requests. It then allows those of
// the same ARN alone, and of no others: so the ARN must have no character that means something else in a policy. And the
// same ARN may come by another route. An HTTP API's has the path decoded, so that of /a%2Fb is that of /a/b: so the token
// must have what the rule asks for that the path is of as it stands there.
func (r *rules) exact(a *arn, access *token.Access) *refusal {
	if a.route == connect || a.route == defaultRoute {
		return nil
	}
	bad := &refusal{reason: reasonPath, denied: true}
	verb, path, _ := strings.Cut(a.route, "/")
	switch rule := r.ruleOf(verb, path); {
	case strings.ContainsAny(a.route, "*?$"):
		bad.detail = "the path has *, ? or $, which mean something else in a policy"
	case len(a.text) > maxResource:
		bad.detail = "the ARN is longer than a policy's resource may be"
	case rule == nil || !rule.Allows(access.Scope):
		bad.detail = "the path in the ARN is that of another route, which the token may not call"
	default:
		return nil
	}
	return bad
}

// maxResource is how many bytes API Gateway takes in a policy's Resource.
const maxResource = 512

// template is a rule's path, taken apart at its slashes.
type template struct {
	rule     *routes.Route
	segments []string // none of $default
}

// templates are an API's, the most specific first: literals before variables, these before greedy ones, $default last; of
// the same path, a method of its own before ANY.
func templates(api *routes.API) []template {
	list := make([]template, len(api.Routes))
	for i := range api.Routes {
		t := template{rule: &api.Routes[i]}
		if path, ok := strings.CutPrefix(t.rule.Path, "/"); ok {
			t.segments = strings.Split(path, "/")
		}
		list[i] = t
	}
	slices.SortStableFunc(list, template.compare)
	return list
}

func (t template) compare(other template) int {
	for i := range min(len(t.segments), len(other.segments)) {
		if c := cmp.Compare(rank(t.segments[i]), rank(other.segments[i])); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(len(other.segments), len(t.segments)); c != 0 {
		return c
	}
	any := func(t template) int {
		if t.rule.Method == "ANY" {
			return 1
		}
		return 0
	}
	return cmp.Compare(any(t), any(other))
}

// rank of a segment: 0 of a literal, 1 of a variable, 2 of a greedy one.
func rank(segment string) int {
	switch {
	case strings.HasSuffix(segment, "+}"):
		return 2
	case strings.HasPrefix(segment, "{"):
		return 1
	}
	return 0
}

// ruleOf returns the rule that a path is of, read as it is written. API Gateway routes /hello/ to /hello.
func (r *rules) ruleOf(method, path string) *routes.Route {
	path = strings.TrimSuffix(path, "/")
	for i := range r.templates {
		t := &r.templates[i]
		if t.segments == nil && t.rule.Path == defaultRoute {
			return t.rule
		}
		if (t.rule.Method == method || t.rule.Method == "ANY") && t.matches(path) {
			return t.rule
		}
	}
	return nil
}

func (t *template) matches(path string) bool {
	more := t.segments != nil
	for _, want := range t.segments {
		var segment string
		if !more {
			return false
		}
		if rank(want) == 2 {
			return path != ""
		}
		segment, path, more = strings.Cut(path, "/")
		if rank(want) == 0 && segment != want || segment == "" && want != "" {
			return false
		}
	}
	return !more && t.segments != nil
}
