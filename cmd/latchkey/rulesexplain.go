package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/routefile"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// explainFlags are the flags of `routes explain`.
type explainFlags struct {
	scope, api, stage string
	asJSON            bool
}

// explainJSON is what `routes explain --json` prints.
type explainJSON struct {
	API      string        `json:"api"`
	Stage    string        `json:"stage"`
	Form     routes.Form   `json:"form"`
	Scope    string        `json:"scope"`
	Allowed  bool          `json:"allowed"` // by all kinds of API
	Outcomes []explanation `json:"outcomes"`
	Policy   []string      `json:"policy,omitempty"`
}

// explanation is what becomes of a request on some kinds of API.
type explanation struct {
	Kinds   []string         `json:"kinds"`
	Route   string           `json:"route,omitempty"`
	Rule    *routefile.Place `json:"rule,omitempty"`
	Needs   string           `json:"needs,omitempty"`
	Allowed bool             `json:"allowed"`
	Why     string           `json:"why,omitempty"`
}

func (a *app) routesExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain FILE METHOD PATH",
		Short: "Explain what a token of some scope may do",
		Long: `Explains which rule a request comes under, what that needs, and whether a token of the scope --scope may call it, and why.

PATH is a route as API Gateway writes it, such as /orders/{id}, or the path of a request, without the stage, such as
/orders/7. API Gateway itself says which route a request is; for a path this command finds it out as API Gateway documents
it, supposing that the API has the routes that the rules name. Where REST and HTTP APIs differ, it shows both.

Instead of METHOD and PATH, $default and $connect stand alone.

With --json: api, stage, form, scope, allowed (on all kinds of API), outcomes (kinds, route, rule: line and column, needs,
allowed, why), policy (the resources that form token lists for the scope, without the API's ARN).`,
		Example: `  latchkey routes explain rules.yaml GET /orders/7 --scope "orders:read"
  latchkey routes explain rules.yaml '$connect' --api a1b2c3d4e5 --stage prod --scope chat`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 2 && strings.HasPrefix(args[1], "$"), len(args) == 3 && !strings.HasPrefix(args[2], "$"):
				return nil
			}
			return usagef("give a rules file, a method and a path, such as rules.yaml GET /orders, or $default or $connect for the two")
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.scope, "scope", "", "the token's `scope`, with spaces between (default: none)")
	fl.StringVar(&f.api, "api", "", "`id` of the API (default: the file's only one)")
	fl.StringVar(&f.stage, "stage", "", "`name` of its stage")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.MarkFlagsRequiredTogether("api", "stage")
	cmd.RunE = a.action(func(_ context.Context, args []string) error { return a.explain(&f, args) })
	return cmd
}

var requestMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY"}

func (a *app) explain(f *explainFlags, args []string) error {
	method, path := "", args[1]
	if len(args) == 3 {
		method, path = args[1], args[2]
		switch {
		case !slices.Contains(requestMethods, method):
			return usagef("%q is no method: those are %s", plain(method), strings.Join(requestMethods, ", "))
		case !strings.HasPrefix(path, "/"):
			return usagef("%q is no path: those begin with /", plain(path))
		case strings.ContainsAny(path, "?#"):
			return usagef("%q has more than a path: leave off what begins with ? or #", plain(path))
		}
	}
	scope, err := oauth.ParseScope(f.scope)
	if err != nil {
		return usagef("%q is no scope: those are words of printable ASCII without quotes and backslashes, with one space between", plain(f.scope))
	}
	file, err := a.readRules(args[0])
	if err != nil {
		return err
	}
	api, err := chooseAPI(file, f)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(file.Set.APIs, func(one routes.API) bool { return one.ID == api.ID && one.Stage == api.Stage })
	out := explainJSON{API: api.ID, Stage: api.Stage, Form: api.Form, Scope: scope.String(), Allowed: true, Policy: api.Resources(scope)}
	kinds := []string{"REST", "HTTP"}
	switch path {
	case "$default":
		kinds = []string{"HTTP"}
	case "$connect":
		kinds = []string{"WebSocket"}
	}
	for _, kind := range kinds {
		r := find(api, kind == "REST", method, path)
		e := explanation{Kinds: []string{kind}}
		switch {
		case r == nil && api.Complete:
			e.Why = "no rule names its route, and the API is said to be complete: API Gateway has no such route"
		case r == nil:
			e.Why = "no rule names its route, and such routes are denied"
		default:
			place := file.Place(i, slices.IndexFunc(api.Routes, func(one routes.Route) bool { return one.Key() == r.Key() }))
			e.Route, e.Rule, e.Needs, e.Allowed, e.Why = r.Key(), &place, r.Needs(), r.Allows(scope), lacks(r, scope)
		}
		out.Allowed = out.Allowed && e.Allowed
		if last := len(out.Outcomes) - 1; last >= 0 && out.Outcomes[last].Route == e.Route {
			out.Outcomes[last].Kinds = append(out.Outcomes[last].Kinds, kind)
			continue
		}
		out.Outcomes = append(out.Outcomes, e)
	}
	if f.asJSON {
		return a.printJSON(out)
	}
	a.printExplanation(file, &out, strings.TrimSpace(method+" "+path))
	return nil
}

// chooseAPI finds the API that is meant, as the authorizer finds it by a request's.
func chooseAPI(file *routefile.File, f *explainFlags) (*routes.API, error) {
	if f.api == "" {
		if n := len(file.Set.APIs); n > 1 {
			return nil, usagef("the rules are for %d APIs: which one? Give --api and --stage", n)
		}
		return &file.Set.APIs[0], nil
	}
	api := file.Set.API(f.api, f.stage)
	if api == nil {
		return nil, fmt.Errorf("%s has no rules for the API %s with stage %s: the authorizer denies whatever is asked of it", file.Name, plain(f.api), plain(f.stage))
	}
	return api, nil
}

// find returns the rule of a route, or of the route that a request's path leads to; nil for none.
func find(api *routes.API, rest bool, method, path string) *routes.Route {
	if r := api.Route(method, path); r != nil || method == "" || method == "ANY" || strings.Contains(path, "{") {
		return r
	}
	if !rest { // HTTP APIs decode paths first
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return nil
		}
		path = decoded
	}
	return routefile.Locate(api, rest, method, path)
}

// lacks says what of a route's needs a scope doesn't have; empty for nothing.
func lacks(r *routes.Route, scope []string) string {
	if r.Allows(scope) {
		return ""
	}
	var missing []string
	for _, s := range r.AllOf {
		if !slices.Contains(scope, s) {
			missing = append(missing, s)
		}
	}
	either := routes.Route{AnyOf: r.AnyOf}
	if !either.Allows(scope) {
		need := either.Needs()
		if len(missing) > 0 && len(r.AnyOf) > 1 {
			need = "(" + need + ")"
		}
		missing = append(missing, need)
	}
	return "the token lacks " + strings.Join(missing, " and ")
}

func (a *app) printExplanation(file *routefile.File, out *explainJSON, request string) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", what, plain(fmt.Sprintf(format, args...)))
	}
	line("API", "%s, stage %s, form %s", out.API, out.Stage, out.Form)
	line("request", "%s", request)
	line("scope", "%s", orDash(out.Scope))
	for _, e := range out.Outcomes {
		on := ""
		if len(out.Outcomes) > 1 {
			on = " (on " + strings.Join(e.Kinds, " and ") + " APIs)"
		}
		if e.Rule != nil {
			line("route", "%s, %s:%d:%d%s", e.Route, file.Name, e.Rule.Line, e.Rule.Column, on)
			line("needs", "%s", e.Needs)
		} else {
			line("route", "none%s", on)
		}
		if e.Allowed {
			line("allowed", "yes")
		} else {
			line("allowed", "no: %s", e.Why)
		}
	}
	switch {
	case out.Form == routes.FormRoute:
		line("policy", "this request alone")
	case len(out.Policy) == 0:
		line("policy", "denies everything")
	}
	for i, resource := range out.Policy {
		line(map[bool]string{true: "policy"}[i == 0], "%s", resource)
	}
	w.Flush()
}
