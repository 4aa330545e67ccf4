package authorizer

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// The reasons for which a valid token is not let through.
const (
	reasonAPI     = "unknown_api" // the rules name neither this API nor this stage of it
	reasonRoute   = "route"       // no rule names the route
	reasonScope   = "scope"       // the rule asks for scopes that the token does not have
	reasonPath    = "path"        // the path can't be named in a policy, or a server could take it for another route's
	reasonMethod  = "method"      // the event names two
	reasonKind    = "kind"        // a TOKEN event does not say which route is asked for
	reasonBound   = "unbound"     // the API takes sender-constrained tokens alone
	reasonSize    = "size"        // the answer would be too large
	reasonContext = "context"     // a claim can't be in a context

	reasonBinding = "binding" // what the token is bound to is not shown, or can't be
)

// rules is an API's, with what New prepares of it. Without any rules there is one for all APIs, whose API is nil.
type rules struct {
	*routes.API
	verifier Verifier
	extra    extraClaims
}

// prepare makes the rules of each API.
func (a *Authorizer) prepare() error {
	extra, err := parseExtraClaims(a.Claims)
	if err != nil {
		return fmt.Errorf("authorizer: %w", err)
	}
	a.open = &rules{verifier: a.Verifier, extra: extra}
	if a.Routes == nil {
		return nil
	}
	a.apis = map[*routes.API]*rules{}
	verifiers := map[string]Verifier{}
	for i := range a.Routes.APIs {
		api := &a.Routes.APIs[i]
		r := &rules{API: api, verifier: a.Verifier, extra: extra}
		if len(api.Audiences) > 0 {
			key := strings.Join(api.Audiences, " ") // which no audience has
			if verifiers[key] == nil {
				if a.VerifierFor == nil {
					return errors.New("authorizer: the routes have audiences of their own, and there is no VerifierFor")
				}
				if verifiers[key], err = a.VerifierFor(api.Audiences); err != nil {
					return err
				}
			}
			r.verifier = verifiers[key]
		}
		if len(api.Context) > 0 {
			if r.extra, err = parseExtraClaims(api.Context); err != nil {
				return fmt.Errorf("authorizer: routes of API %s: %w", api.ID, err)
			}
		}
		a.apis[api] = r
	}
	return nil
}

// rulesFor returns the rules of the event's API.
func (a *Authorizer) rulesFor(e *event) (*rules, *refusal) {
	if a.Routes == nil {
		return a.open, nil
	}
	if api := a.Routes.API(e.arn.api, e.arn.stage); api != nil {
		return a.apis[api], nil
	}
	return nil, &refusal{reason: reasonAPI, detail: "the routes file names no such API and stage", denied: true, ours: true}
}

// grant is what a valid token gets.
type grant struct {
	resources []string // what the policy lists
	// beyond says why that does not hold the route asked for. API Gateway then denies this request by the same policy that it
	// keeps for the token's others.
	beyond *refusal
}

// grant says what a valid token may call. In form "token" that does not depend on the route asked for: the answer is kept for
// the token, and applied to all its requests.
func (a *Authorizer) grant(e *event, r *rules, access *token.Access) (grant, *refusal) {
	switch {
	case r.API == nil:
		return grant{resources: []string{e.everything()}}, nil
	case a.simple(e):
		if len(e.wire.IdentitySource) == 0 { // nothing is cached
			if refused := e.unambiguous(); refused != nil {
				return grant{}, refused
			}
		}
		return grant{}, r.simple(e, access)
	case r.Form == routes.FormToken:
		list := r.Resources(access.Scope)
		if len(list) == 0 {
			return grant{}, insufficient("no route of this API")
		}
		resources := make([]string, len(list))
		for i, resource := range list {
			resources[i] = e.arn.prefix + resource
		}
		g := grant{resources: resources}
		if e.kind != kindToken {
			g.beyond = r.allows(e, access)
		}
		return g, nil
	case e.kind == kindToken:
		return grant{}, &refusal{
			reason: reasonKind, detail: "these rules need an authorizer of type REQUEST: a TOKEN event does not say which route is asked for",
			denied: true, ours: true,
		}
	}
	refused := e.unambiguous()
	if refused == nil {
		refused = e.keyedOnRoute()
	}
	if refused == nil {
		refused = r.allows(e, access)
	}
	if refused == nil {
		refused = e.arn.exact()
	}
	return grant{resources: []string{e.arn.text}}, refused
}

// allows decides on the route that API Gateway has found, by its method and template. The path as the caller wrote it has no
// say, except that both must be of the same method.
func (r *rules) allows(e *event, access *token.Access) *refusal {
	method, path := e.route()
	if e.arn.verb != "" && path != defaultRoute && method != e.arn.verb {
		return &refusal{reason: reasonMethod, detail: "the event's method is not its ARN's", denied: true}
	}
	return permits(r.Route(method, path), access)
}

// permits decides by a rule, nil where there is none.
func permits(rule *routes.Route, access *token.Access) *refusal {
	switch {
	case rule == nil:
		return &refusal{reason: reasonRoute, detail: "no rule names this route", denied: true}
	case !rule.Allows(access.Scope):
		return insufficient("it needs " + rule.Needs())
	}
	return nil
}

func insufficient(detail string) *refusal {
	return &refusal{reason: reasonScope, code: codeScope, detail: detail, denied: true}
}

// simple decides for a simple response. API Gateway keeps it whole, so that it must hold for all requests of the same identity
// source: the route's key has to be a part of that, and of an ANY route each method's rule counts.
func (r *rules) simple(e *event, access *token.Access) *refusal {
	if refused := e.keyedOnRoute(); refused != nil {
		return refused
	}
	method, path := splitRouteKey(e.wire.RouteKey)
	if refused := permits(r.Route(method, path), access); refused != nil {
		return refused
	}
	if method != "ANY" {
		return nil
	}
	for i := range r.Routes {
		if other := &r.Routes[i]; other.Path == path { // which all rules of the path write alike
			if refused := permits(other, access); refused != nil {
				return refused
			}
		}
	}
	return nil
}

// keyedOnRoute refuses an HTTP API's event whose answer would be cached under something else than its route's key. Without
// identity sources API Gateway caches nothing. The event has their values and not their names, so that a value which the
// caller could have put there is none to go by.
//
// A policy names the request's own ARN, and still needs this: HTTP APIs have the path in it decoded, so that /a%2Fb has the
// ARN of /a/b, which may be another route's. REST APIs' events don't have the values; their ARN has the path as it was sent.
func (e *event) keyedOnRoute() *refusal {
	w := e.wire
	if len(w.IdentitySource) == 0 {
		return nil
	}
	has := func(key string) bool { return slices.Contains(w.IdentitySource, key) && !e.sends(key) }
	switch e.kind {
	case kindHTTP1: // which does not say whether the route is of one method
		if has(w.HTTPMethod+" "+w.Resource) || has("ANY "+w.Resource) || w.Resource == defaultRoute && has(defaultRoute) {
			return nil
		}
	case kindHTTP2:
		if has(w.RouteKey) {
			return nil
		}
	default:
		return nil
	}
	return &refusal{
		reason: reasonIdentitySource, denied: true, ours: true,
		detail: "these rules need $context.routeKey as an identity source, or none at all; and nothing that callers choose may have its value",
	}
}

// sends says whether a value is in something that callers choose. Of the path that is so in any spelling: which one an
// identity source has is not documented.
func (e *event) sends(value string) bool {
	w := e.wire
	for _, path := range w.paths() {
		decoded, err := url.PathUnescape(path)
		if err != nil || strings.Contains(path, value) || strings.Contains(decoded, value) {
			return true
		}
	}
	return w.Headers.contain(value) || w.MultiValueHeaders.contain(value) || w.Query.contain(value) || w.MultiValueQuery.contain(value) ||
		slices.ContainsFunc(w.Cookies, func(cookie string) bool { return strings.Contains(cookie, value) })
}

// paths are the request's path in each place where an event may have it.
func (w *wireEvent) paths() [4]string {
	return [...]string{w.Path, w.RawPath, w.Context.Path, w.Context.HTTPPath}
}

// unambiguous refuses a path that has dot segments, in any encoding, or escapes that are none: a server that resolves the
// first or repairs the second would come to another route than the one that is judged. The answer must be about the request
// alone: where it is kept for others too, they would be denied with it, and the cached one would let this one through.
func (e *event) unambiguous() *refusal {
	paths := e.wire.paths()
	for _, path := range append(paths[:], e.arn.route) {
		decoded, err := url.PathUnescape(path)
		switch {
		case err != nil:
			return &refusal{reason: reasonPath, detail: "the path has a % that begins no escape", denied: true}
		case routes.HasDotSegment(path) || routes.HasDotSegment(decoded):
			return &refusal{reason: reasonPath, detail: "the path has a segment . or ..", denied: true}
		}
	}
	return nil
}

// exact refuses an ARN that a policy can't name as it is: with characters that a policy's resource gives a meaning to, or
// longer than that may be.
func (a *arn) exact() *refusal {
	switch {
	case a.route == defaultRoute || a.route == connect:
		return nil
	case strings.ContainsAny(a.route, "*?$"):
		return &refusal{reason: reasonPath, detail: "the path has *, ? or $, which mean something else in a policy", denied: true}
	case len(a.text) > maxResource:
		return &refusal{reason: reasonPath, detail: "the ARN is longer than a policy's resource may be", denied: true}
	}
	return nil
}

// maxResource is how many bytes API Gateway takes in a policy's Resource.
const maxResource = 512

// route is the method of the request and the template of the route that API Gateway has found for it.
func (e *event) route() (method, path string) {
	switch e.kind {
	case kindRequest, kindHTTP1:
		if e.wire.Resource == defaultRoute {
			return "", defaultRoute
		}
		return e.wire.HTTPMethod, e.wire.Resource
	case kindHTTP2:
		if method, path = splitRouteKey(e.wire.RouteKey); method != "" {
			method = e.wire.Context.HTTPMethod
		}
		return method, path
	case kindWebSocket:
		return "", connect
	}
	return "", "" // a TOKEN event does not say
}

// splitRouteKey takes "GET /orders/{id}" apart; $default has no method.
func splitRouteKey(key string) (method, path string) {
	if method, path, ok := strings.Cut(key, " "); ok {
		return method, path
	}
	return "", key
}
