package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/routefile"
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

func (a *app) routesCompile() *cobra.Command {
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "compile FILE",
		Short: "Compile a rules file to the JSON that the authorizer reads",
		Long: `Compiles a rules file to the JSON that the authorizer reads. The same rules always give the same bytes, so that a build can
compare them. A file with errors is refused; "latchkey routes check" shows them all.

With --json and --output it prints file, apis and bytes; without --output, stdout is that JSON as it is.`,
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
			if err := a.writeResult(out, data); err != nil || out == "" || !asJSON {
				return err
			}
			return a.printJSON(struct {
				File  string `json:"file"`
				APIs  int    `json:"apis"`
				Bytes int    `json:"bytes"`
			}{out, len(file.Set.APIs), len(data)})
		}),
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this `file`, not to stdout")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for scripts")
	return cmd
}

// writeResult writes a command's one result to a file or, where none is named, to stdout.
func (a *app) writeResult(name string, data []byte) error {
	if name == "" {
		_, err := a.stdout.Write(data)
		return err
	}
	return os.WriteFile(name, data, 0o644) //nolint:gosec // rules are no secret, and deployed where another user reads them
}

// convertedJSON is what `routes from-openapi --json` prints.
type convertedJSON struct {
	File   string          `json:"file,omitempty"`
	Rules  string          `json:"rules,omitempty"` // the rules file itself, where none is written
	Routes []convertedRule `json:"routes"`
}

type convertedRule struct {
	Method  string   `json:"method"`
	Path    string   `json:"path"`
	Without string   `json:"without,omitempty"` // why it has no rule
	Notes   []string `json:"notes,omitempty"`
}

func (a *app) routesFromOpenAPI() *cobra.Command {
	var out string
	var asJSON bool
	var h routefile.Header
	cmd := &cobra.Command{
		Use:   "from-openapi DOCUMENT",
		Short: "Make a rules file of an OpenAPI document",
		Long: `Makes a rules file of the security sections of an OpenAPI 3.0 or 3.1 document, in YAML or JSON.

An operation's security, or else the document's, is a list of alternatives, each with the scopes that it needs. What counts
is schemes that access tokens serve: oauth2, openIdConnect, http bearer, and those that have an API Gateway authorizer.
A route without security is public: it gets no rule, and a comment. $ref isn't followed in paths and security schemes.

The rules say complete: true, as the document names all routes. Look through what was made, then check it.

With --json: routes (method, path, without: why it has no rule, notes), and file, or without --output the rules as a text.`,
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
			if out != "" || !asJSON {
				if err := a.writeResult(out, rules); err != nil || out == "" {
					return err
				}
			}
			if asJSON {
				return a.printJSON(converted(doc, out, rules))
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
	fl.BoolVar(&asJSON, "json", false, "print JSON for scripts")
	fl.StringVar(&h.API, "api", routes.Any, "`id` of the API")
	fl.StringVar(&h.Stage, "stage", routes.Any, "`name` of its stage")
	fl.StringArrayVar(&h.Audiences, "audience", nil, "audience (`URI`) of the API's tokens; may be repeated: one of them (default: the deployment's)")
	fl.StringVarP(&out, "output", "o", "", "write to this `file`, not to stdout")
	return cmd
}

func converted(doc *routefile.OpenAPI, out string, rules []byte) convertedJSON {
	c := convertedJSON{File: out, Routes: []convertedRule{}}
	if out == "" {
		c.Rules = string(rules)
	}
	for _, op := range doc.Operations {
		c.Routes = append(c.Routes, convertedRule{op.Method, op.Path, op.Without, op.Notes})
	}
	return c
}
