package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/routefile"
	"github.com/latchkey-auth/latchkey/pkg/routes"
)

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

// checkFlags are the flags of `routes check`: what an API's authorizer is set to, where that is to be checked too.
type checkFlags struct {
	kind    string
	ttl     int
	sources []string
	dpop    bool
	asJSON  bool
}

func (a *app) routesCheck() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a rules file, and say what its APIs' authorizers must be set to",
		Long: `Checks a rules file: all errors with line and column, and warnings of rules that never matter. Then it says for each API

  - which form the authorizer's answer has, and why. Form token is one policy for all that a token may call, which API
    Gateway may cache by the token. Form route is an answer about one route, which it may cache by token and route only.
    Form token is taken where no wildcard of the policy can reach routes that need more: a policy's * crosses slashes;
  - how large the largest policy of form token is;
  - what API Gateway's authorizer must be set to: identity sources, and the time that answers are cached (TTL).

With --kind, --ttl and --identity-source it checks what the authorizer is set to, as well: a build can hold them together. With
--dpop it does so for APIs that the deployment's ApiOrigins names: they take sender-constrained tokens besides others, and a cached
answer would admit a thief without the key. Rules with bound: true are always held to that.

With --json: file, errors and warnings (file, line, column, text), and apis (api, stage, form, routes, complete, bound,
resources and policy_bytes of the largest policy, obstacles to form token, authorizer: kind, identity_sources, ttl_seconds,
unusable).`,
		Example: `  latchkey routes check rules.yaml
  latchkey routes check rules.yaml --kind http-simple --ttl 10 --identity-source '$request.header.Authorization, $context.routeKey'`,
		Args: oneFile("rules file"),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.kind, "kind", "", "`kind` of the APIs' authorizer: "+strings.Join(authorizerKinds, ", "))
	fl.IntVar(&f.ttl, "ttl", 0, "`seconds` that the authorizer's answers are cached")
	fl.StringArrayVar(&f.sources, "identity-source", nil, "the authorizer's identity `source`; may be repeated, or have commas between")
	fl.BoolVar(&f.dpop, "dpop", false, "the APIs take sender-constrained tokens: ApiOrigins names them")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.MarkFlagsRequiredTogether("kind", "ttl")
	cmd.RunE = a.action(func(_ context.Context, args []string) error {
		switch {
		case f.kind == "" && len(f.sources) > 0:
			return usagef("--identity-source is checked with --kind and --ttl")
		case f.kind != "" && !slices.Contains(authorizerKinds, f.kind):
			return usagef("%q is no kind of authorizer: those are %s", plain(f.kind), strings.Join(authorizerKinds, ", "))
		case f.ttl < 0 || f.ttl > 3600:
			return usagef("--ttl is %d: API Gateway takes 0 to 3600 seconds", f.ttl)
		}
		return a.checkRules(args[0], &f)
	})
	return cmd
}

func (a *app) checkRules(name string, f *checkFlags) error {
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
			out.APIs = append(out.APIs, viewAPI(file, i, f.dpop))
			if f.kind == "" {
				continue
			}
			for _, text := range wrongSettings(out.APIs[i].Authorizer, f) {
				out.Errors = append(out.Errors, routefile.Problem{File: name, Place: file.Place(i, -1), Text: text})
			}
		}
	}
	if f.asJSON {
		err = a.printJSON(out)
	} else {
		a.printCheck(&out, f.dpop)
		err = nil
	}
	if n := len(out.Errors); err == nil && n > 0 {
		return fmt.Errorf("%s has %s", name, plural(int64(n), "error"))
	}
	return err
}

func viewAPI(file *routefile.File, i int, dpop bool) apiJSON {
	api := &file.Set.APIs[i]
	analysis := api.Analyse()
	v := apiJSON{
		API: api.ID, Stage: api.Stage, Form: api.Form, Routes: len(api.Routes), Complete: api.Complete, Bound: api.Bound,
		Resources: analysis.Resources, PolicyBytes: analysis.Bytes, Obstacles: []routefile.Problem{}, Authorizer: settings(api, dpop),
	}
	for _, o := range analysis.Obstacles {
		v.Obstacles = append(v.Obstacles, routefile.Problem{File: file.Name, Place: file.Place(i, o.Rule), Text: o.Text})
	}
	return v
}

func (a *app) printCheck(out *checkJSON, dpop bool) {
	for _, p := range out.Errors {
		fmt.Fprintln(a.stdout, plain(p.String()))
	}
	for _, p := range out.Warnings {
		p.Text = "warning: " + p.Text
		fmt.Fprintln(a.stdout, plain(p.String()))
	}
	for i, v := range out.APIs {
		if i > 0 || len(out.Warnings)+len(out.Errors) > 0 {
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
		switch {
		case v.Bound:
			fmt.Fprintln(a.stdout, "  Only sender-constrained tokens are taken. What is cached would admit a thief without the key, so nothing may be.")
		case dpop:
			fmt.Fprintln(a.stdout, "  Sender-constrained tokens are taken, too. What is cached would admit a thief without the key, so nothing may be.")
		}
		fmt.Fprintln(a.stdout, "  Set on the authorizer:")
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		for _, s := range v.Authorizer {
			if s.Unusable != "" {
				fmt.Fprintf(w, "    %s\t-\tcan't be used: %s\n", s.Kind, s.Unusable)
				continue
			}
			fmt.Fprintf(w, "    %s\tTTL %d s\t%s\n", s.Kind, s.TTL, cmp.Or(strings.Join(s.IdentitySources, ", "), "no identity sources"))
		}
		w.Flush()
		if !dpop && !v.Bound && v.Authorizer[0].Kind != kindWebSocket {
			fmt.Fprintln(a.stdout, "  Where ApiOrigins names the API (DPoP), the TTL must be 0: check that with --dpop.")
		}
	}
}

// setting is what an API's authorizer must be set to in API Gateway.
type setting struct {
	Kind            string   `json:"kind"`
	IdentitySources []string `json:"identity_sources"`
	TTL             int      `json:"ttl_seconds"`
	Unusable        string   `json:"unusable,omitempty"` // why this kind can't be used
}

// The kinds of authorizer: REST APIs' two, HTTP APIs' by the form of its answers, WebSocket APIs'.
const (
	kindRESTToken   = "rest-token"
	kindRESTRequest = "rest-request"
	kindHTTPPolicy  = "http-policy"
	kindHTTPSimple  = "http-simple"
	kindWebSocket   = "websocket"
)

var authorizerKinds = []string{kindRESTToken, kindRESTRequest, kindHTTPPolicy, kindHTTPSimple, kindWebSocket}

// settings says what the authorizer of an API must be set to, by the API's kind, which the rules don't say. dpop says that it
// takes sender-constrained tokens besides others.
func settings(api *routes.API, dpop bool) []setting {
	const rest, http = "method.request.header.Authorization", "$request.header.Authorization"
	if api.Route("", "$connect") != nil {
		return []setting{{Kind: kindWebSocket, IdentitySources: []string{"route.request.header.Authorization"}}} // it has no cache
	}
	all := []setting{
		{Kind: kindRESTToken, IdentitySources: []string{rest}},
		{Kind: kindRESTRequest, IdentitySources: []string{rest}},
		{Kind: kindHTTPPolicy, IdentitySources: []string{http}},
		{Kind: kindHTTPSimple, IdentitySources: []string{http}},
	}
	if api.Bound || dpop { // a cached answer would admit whoever has the token, without its key
		all[0].Unusable = "it doesn't see the proof"
		// The authorizer sees of an HTTP API that nothing is cached if there is nothing to cache by.
		all[2].IdentitySources, all[3].IdentitySources = []string{}, []string{}
		return all
	}
	for i := range all {
		all[i].TTL = int(authorizerTTL / time.Second) // longer is as right, and delays revocation
	}
	all[3].IdentitySources = append(all[3].IdentitySources, "$context.routeKey")
	if api.Form == routes.FormRoute {
		all[0].Unusable, all[0].TTL = "it doesn't see which route is asked for", 0
		all[1].IdentitySources = append(all[1].IdentitySources, "context.httpMethod", "context.path")
		all[2].IdentitySources = append(all[2].IdentitySources, "$context.routeKey", "$context.httpMethod", "$context.path")
	}
	return all
}

// wrongSettings says what is wrong with the settings of an API's authorizer, given what they must be.
func wrongSettings(needed []setting, f *checkFlags) []string {
	i := slices.IndexFunc(needed, func(s setting) bool { return s.Kind == f.kind })
	if i < 0 {
		return []string{fmt.Sprintf("the API is of another kind than its authorizer, which is %s", f.kind)}
	}
	need := needed[i]
	switch {
	case need.Unusable != "":
		return []string{fmt.Sprintf("an authorizer of kind %s can't be used: %s", f.kind, need.Unusable)}
	case f.ttl != 0 && need.TTL == 0:
		return []string{fmt.Sprintf("the authorizer's TTL is %d s and must be 0: what is cached would admit tokens without their keys", f.ttl)}
	case len(f.sources) > 0 && len(need.IdentitySources) == 0:
		return []string{"the authorizer must have no identity sources: that tells it that nothing is cached, which would admit tokens without their keys"}
	case f.ttl == 0:
		return nil
	}
	var have []string
	for _, list := range f.sources {
		for one := range strings.SplitSeq(list, ",") {
			have = append(have, strings.TrimSpace(one))
		}
	}
	var problems []string
	for _, source := range need.IdentitySources {
		// Of these only the header's name may be written in several ways.
		if !slices.ContainsFunc(have, func(s string) bool { return strings.EqualFold(s, source) }) {
			problems = append(problems, fmt.Sprintf("with a TTL of %d s the authorizer needs the identity source %s", f.ttl, source))
		}
	}
	return problems
}
