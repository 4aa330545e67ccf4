package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/routefile"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/routes"
)

func (a *app) routesCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "routes",
		Short: "Say which scopes the routes of your APIs need",
		Long: `Says which scopes the routes of your APIs need. A rules file is such as this one; "*" is any API or stage:

  version: 1
  apis:
    - api: a1b2c3d4e5
      stage: prod
      complete: true
      routes:
        GET /orders: orders:read
        GET /orders/{id}: orders:read
        POST /orders: {all: [orders:write], any: [desk, app mfa]}
        GET /health: []

Routes are written as API Gateway has them. A text or a list is scopes of which all are needed; any names alternatives, of
which one is; [] is any valid token. A route that no rule names is denied. docs/route-rules.md tells all of it.`,
		Example: `  latchkey routes check rules.yaml
  latchkey routes explain rules.yaml GET /orders/7 --scope "orders:read"
  latchkey routes compile rules.yaml -o routes.json
  latchkey routes from-openapi openapi.yaml -o rules.yaml`,
	})
	cmd.AddCommand(a.routesCheck(), a.routesCompile(), a.routesExplain(), a.routesFromOpenAPI())
	return cmd
}

// oneFile is for commands that take a file.
func oneFile(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usagef("which %s? Give its name", what)
		case 1:
			return nil
		}
		return usagef("one %s is taken, and these are %d: %s", what, len(args), strings.Join(args, " "))
	}
}

// readRules reads a rules file for the commands that need one that is right.
func (a *app) readRules(name string) (*routefile.File, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	file, err := routefile.Parse(name, data)
	return file, firstOf(err, "latchkey routes check "+name)
}

// firstOf makes one line of a file's problems.
func firstOf(err error, where string) error {
	var problems routefile.Problems
	switch {
	case !errors.As(err, &problems):
		return err
	case len(problems) > 1 && where != "":
		return fmt.Errorf("%s (and %d more: see `%s`)", plain(problems[0].String()), len(problems)-1, where)
	case len(problems) > 1:
		return fmt.Errorf("%s (and %d more)", plain(problems[0].String()), len(problems)-1)
	}
	return errors.New(plain(problems[0].String()))
}

// checkJSON is what `routes check --json` prints.
type checkJSON struct {
	File     string              `json:"file"`
	Errors   routefile.Problems  `json:"errors"`
	Warnings []routefile.Problem `json:"warnings"`
	APIs     []apiJSON           `json:"apis"`
}

type apiJSON struct {
	API         string              `json:"api"`
	Stage       string              `json:"stage"`
	Form        routes.Form         `json:"form"`
	Routes      int                 `json:"routes"`
	Complete    bool                `json:"complete"`
	Bound       bool                `json:"bound"`
	Resources   int                 `json:"resources"`
	PolicyBytes int                 `json:"policy_bytes"`
	Obstacles   []routefile.Problem `json:"obstacles"`
	Authorizer  []setting           `json:"authorizer"`
}

func (a *app) routesCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a rules file, and say what its APIs' authorizers must be set to",
		Long: `Checks a rules file: all errors with line and column, and warnings of rules that never matter. Then it says for each API

  - which form the authorizer's answer has, and why. Form token is one policy for all that a token may call, which API
    Gateway may cache by the token. Form route is an answer about one route, which it may cache by token and route only.
    Form token is taken where no wildcard of the policy can reach routes that need more: a policy's * crosses slashes;
  - how large the largest policy of form token is;
  - what API Gateway's authorizer must be set to: identity sources, and the time that answers are cached (TTL).

With --json: file, errors and warnings (file, line, column, text), and apis (api, stage, form, routes, complete, bound,
resources and policy_bytes of the largest policy, obstacles to form token, authorizer: kind, identity_sources, ttl_seconds, note).`,
		Args: oneFile("rules file"),
		RunE: a.action(func(_ context.Context, args []string) error { return a.checkRules(args[0], asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for scripts")
	return cmd
}

func (a *app) checkRules(name string, asJSON bool) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	out := checkJSON{File: name, Errors: routefile.Problems{}, Warnings: []routefile.Problem{}, APIs: []apiJSON{}}
	file, err := routefile.Parse(name, data)
	if err != nil && !errors.As(err, &out.Errors) {
		return err
	}
	if err == nil {
		out.Warnings = append(out.Warnings, file.Warnings()...)
		for i := range file.Set.APIs {
			out.APIs = append(out.APIs, viewAPI(file, i))
		}
	}
	if asJSON {
		err = a.printJSON(out)
	} else {
		a.printCheck(&out)
		err = nil
	}
	if n := len(out.Errors); err == nil && n > 0 {
		return fmt.Errorf("%s has %s", name, plural(int64(n), "error"))
	}
	return err
}

func viewAPI(file *routefile.File, i int) apiJSON {
	api := &file.Set.APIs[i]
	analysis := api.Analyse()
	v := apiJSON{
		API: api.ID, Stage: api.Stage, Form: api.Form, Routes: len(api.Routes), Complete: api.Complete, Bound: api.Bound,
		Resources: analysis.Resources, PolicyBytes: analysis.Bytes, Obstacles: []routefile.Problem{}, Authorizer: settings(api),
	}
	for _, o := range analysis.Obstacles {
		v.Obstacles = append(v.Obstacles, routefile.Problem{File: file.Name, Place: file.Place(i, o.Rule), Text: o.Text})
	}
	return v
}

func (a *app) printCheck(out *checkJSON) {
	for _, p := range out.Errors {
		fmt.Fprintln(a.stdout, plain(p.String()))
	}
	for _, p := range out.Warnings {
		p.Text = "warning: " + p.Text
		fmt.Fprintln(a.stdout, plain(p.String()))
	}
	for i, v := range out.APIs {
		if i > 0 || len(out.Warnings) > 0 {
			fmt.Fprintln(a.stdout)
		}
		fmt.Fprintf(a.stdout, "API %s, stage %s: %s, form %s\n", v.API, v.Stage, plural(int64(v.Routes), "rule"), v.Form)
		switch {
		case v.Form == routes.FormToken:
			fmt.Fprintf(a.stdout, "  One policy lists all that a token may call: at most %s, in %d bytes of %d.\n",
				plural(int64(v.Resources), "resource"), v.PolicyBytes, routes.MaxPolicy)
		case len(v.Obstacles) > 0:
			fmt.Fprintln(a.stdout, "  Each answer is about one route, since a policy for all that a token may call isn't safe:")
			const most = 10
			for j, p := range v.Obstacles {
				if j == most {
					fmt.Fprintf(a.stdout, "    and %d more, which --json shows\n", len(v.Obstacles)-most)
					break
				}
				fmt.Fprintf(a.stdout, "    %s\n", plain(p.String()))
			}
		default:
			fmt.Fprintln(a.stdout, "  Each answer is about one route, as the file says.")
		}
		if v.Bound {
			fmt.Fprintln(a.stdout, "  Only sender-constrained tokens are taken. What is cached would admit a thief without the key, so nothing may be.")
		}
		fmt.Fprintln(a.stdout, "  Set on the authorizer:")
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		for _, s := range v.Authorizer {
			fmt.Fprintf(w, "    %s\tTTL %d s\t%s\n", s.Kind, s.TTL, cmp.Or(s.Note, strings.Join(s.IdentitySources, ", ")))
		}
		w.Flush()
	}
}

// setting is what an API's authorizer must be set to in API Gateway.
type setting struct {
	Kind            string   `json:"kind"`
	IdentitySources []string `json:"identity_sources,omitempty"`
	TTL             int      `json:"ttl_seconds"`
	Note            string   `json:"note,omitempty"`
}

// settings says what the authorizer of an API must be set to, by the API's kind, which the rules don't say.
func settings(api *routes.API) []setting {
	const cached = int(authorizerTTL / time.Second) // longer is as right, and delays revocation
	const none = 0
	rest, http := "method.request.header.Authorization", "$request.header.Authorization"
	if api.Route("", "$connect") != nil {
		return []setting{{Kind: "WebSocket", IdentitySources: []string{"route.request.header.Authorization"}, TTL: none}}
	}
	if api.Bound {
		return []setting{
			{Kind: "REST TOKEN", TTL: none, Note: "can't be used: it doesn't see the proof"},
			{Kind: "REST REQUEST", IdentitySources: []string{rest}, TTL: none},
			{Kind: "HTTP", IdentitySources: []string{http}, TTL: none},
		}
	}
	simple := setting{Kind: "HTTP, simple responses", IdentitySources: []string{http, "$context.routeKey"}, TTL: cached}
	if api.Form == routes.FormToken {
		return []setting{
			{Kind: "REST TOKEN", IdentitySources: []string{rest}, TTL: cached},
			{Kind: "REST REQUEST", IdentitySources: []string{rest}, TTL: cached},
			{Kind: "HTTP, IAM policies", IdentitySources: []string{http}, TTL: cached},
			simple,
		}
	}
	return []setting{
		{Kind: "REST TOKEN", TTL: none, Note: "can't be used: it doesn't see which route is asked for"},
		{Kind: "REST REQUEST", IdentitySources: []string{rest, "context.httpMethod", "context.path"}, TTL: cached},
		{Kind: "HTTP, IAM policies", IdentitySources: []string{http, "$context.routeKey", "$context.httpMethod", "$context.path"}, TTL: cached},
		simple,
	}
}

func (a *app) routesCompile() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "compile FILE",
		Short: "Compile a rules file to the JSON that the authorizer reads",
		Long: `Compiles a rules file to the JSON that the authorizer reads. The same rules always give the same bytes, so that a build can
compare them. A file with errors is refused; "latchkey routes check" shows them all.`,
		Args: oneFile("rules file"),
		RunE: a.action(func(_ context.Context, args []string) error {
			file, err := a.readRules(args[0])
			if err != nil {
				return err
			}
			data, err := file.Set.Encode()
			if err != nil {
				return err
			}
			return a.writeResult(out, data)
		}),
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this `file`, not to stdout")
	return cmd
}

// writeResult writes a command's one result to a file or, where none is named, to stdout.
func (a *app) writeResult(name string, data []byte) error {
	if name == "" {
		_, err := a.stdout.Write(data)
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

// explainFlags are the flags of `routes explain`.
type explainFlags struct {
	scope, api, stage string
	asJSON            bool
}

// explainJSON is what `routes explain --json` prints.
type explainJSON struct {
	API      string          `json:"api"`
	Stage    string          `json:"stage"`
	Form     routes.Form     `json:"form"`
	Scope    string          `json:"scope"`
	Allowed  bool            `json:"allowed"` // by all kinds of API
	Outcomes []explanation   `json:"outcomes"`
	Policy   []string        `json:"policy,omitempty"`
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
	for _, kind := range []string{"REST", "HTTP"} {
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

func (a *app) routesFromOpenAPI() *cobra.Command {
	var out string
	var h routefile.Header
	cmd := &cobra.Command{
		Use:   "from-openapi DOCUMENT",
		Short: "Make a rules file of an OpenAPI document",
		Long: `Makes a rules file of the security sections of an OpenAPI 3.0 or 3.1 document, in YAML or JSON.

An operation's security, or else the document's, is a list of alternatives, each with the scopes that it needs. What counts
is schemes that access tokens serve: oauth2, openIdConnect, http bearer, and those that have an API Gateway authorizer.
A route without security is public: it gets no rule, and a comment. $ref isn't followed in paths and security schemes.

The rules say complete: true, as the document names all routes. Look through what was made, then check it.`,
		Example: `  latchkey routes from-openapi openapi.yaml --api a1b2c3d4e5 --stage prod --audience https://api.acme.example -o rules.yaml`,
		Args:    oneFile("OpenAPI document"),
		RunE: a.action(func(_ context.Context, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			doc, err := routefile.ParseOpenAPI(args[0], data)
			if err != nil {
				return firstOf(err, "")
			}
			rules, err := doc.Rules(h)
			if err != nil {
				return firstOf(err, "")
			}
			if err := a.writeResult(out, rules); err != nil || out == "" {
				return err
			}
			without := 0
			for _, op := range doc.Operations {
				if op.Without != "" {
					without++
				}
			}
			fmt.Fprintf(a.stdout, "%s: %s; %s without one, for the reasons in its comments.\n",
				out, plural(int64(len(doc.Operations)-without), "rule"), plural(int64(without), "route"))
			return nil
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&h.API, "api", routes.Any, "`id` of the API")
	fl.StringVar(&h.Stage, "stage", routes.Any, "`name` of its stage")
	fl.StringArrayVar(&h.Audiences, "audience", nil, "audience (`URI`) of the API's tokens; may be repeated: one of them (default: the deployment's)")
	fl.StringVarP(&out, "output", "o", "", "write to this `file`, not to stdout")
	return cmd
}
