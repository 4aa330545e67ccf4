package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/cost"
)

func (a *app) costCommand() *cobra.Command {
	s := cost.Defaults()
	var asJSON, brief, prices bool
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Estimate what a deployment costs a month",
		Long: `Estimates what a deployment of the template costs a month, by AWS's list prices of us-east-1 and by what a request was measured
to take. It calls nobody. Free tiers, discounts and your APIs' own functions are left out. docs/cost.md has the formulas, and
where each price is from.

Quantities are a month's, and may be written 10M, 250k or 4.4e11. A client holds one access token after another; so the
lifetimes make the number of sign-ins and refreshes, unless --sign-ins and --refreshes give it.

With --json: settings, figures, lines (part, component, quantity, unit, price, dollars), parts, total, per_million_tokens,
per_million_authorized; with --prices as well: the prices alone.`,
		Example: `  latchkey cost --requests 50M --clients 1000
  latchkey cost --access-lifetime 1h --access-key-mode kms`,
		Args: noArgs,
	}
	fl := cmd.Flags()
	fl.Var((*quantity)(&s.Requests), "requests", "requests to the APIs behind the authorizer")
	fl.StringVar(&s.API, "api", s.API, "`kind` of those APIs: http or rest")
	fl.Var((*quantity)(&s.Paths), "paths", "methods and paths that a client calls by turns")
	fl.Var((*quantity)(&s.Clients), "clients", "clients, each with a token all the time")
	fl.Var((*span)(&s.AccessLifetime), "access-lifetime", "how long access tokens last")
	fl.Var((*span)(&s.GrantLifetime), "grant-lifetime", "how long after sign-in a client has to sign in again")
	fl.Var((*quantity)(&s.SignIns), "sign-ins", "sign-ins (default: by the lifetimes)")
	fl.Var((*quantity)(&s.Refreshes), "refreshes", "refreshes (default: by the lifetimes)")
	fl.Var((*span)(&s.CacheTTL), "cache-ttl", "how long API Gateway keeps the authorizer's answers")
	fl.Var((*quantity)(&s.HitRate), "hit-rate", "share of them that it finds, 0 to 1 (default: for requests at random)")
	fl.Var((*span)(&s.Poll), "poll-interval", "age at which a sandbox polls the revocations")
	fl.StringVar(&s.AccessKeys, "access-key-mode", s.AccessKeys, "`where` access tokens are signed: secretsmanager or kms")
	fl.StringVar(&s.Algorithm, "algorithm", s.Algorithm, "their `algorithm`: ES256, RS256 or EdDSA")
	fl.StringVar(&s.RefreshKeys, "refresh-key-mode", s.RefreshKeys, "`where` refresh tokens are signed: secretsmanager or kms")
	fl.BoolVar(&s.Rotating, "rotating", s.Rotating, "refresh tokens work once: a write for each")
	fl.Var((*quantity)(&s.Revocations), "revocations", "tokens revoked at /oauth2/revoke")
	fl.StringVar(&s.Architecture, "architecture", s.Architecture, "`set` of instructions: arm64 or x86_64")
	fl.Var((*quantity)(&s.MemoryMB), "memory", "MB of memory of the functions")
	fl.Var((*quantity)(&s.LogDays), "log-days", "days that logs are kept")
	fl.Var((*quantity)(&s.Peak), "peak", "the busiest rate, as a multiple of the mean")
	fl.BoolVar(&s.Alarm, "alarm", s.Alarm, "the template's alarms")
	fl.Var((*quantity)(&s.Region), "region-factor", "the Region's prices, as a multiple of us-east-1's")
	fl.BoolVar(&brief, "brief", false, "print the sums alone")
	fl.BoolVar(&prices, "prices", false, "print the prices and their sources instead")
	fl.BoolVar(&asJSON, "json", false, "print JSON for scripts")
	cmd.RunE = func(*cobra.Command, []string) error { return a.cost(s, prices, brief, asJSON) }
	return cmd
}

func (a *app) cost(s cost.Settings, prices, brief, asJSON bool) error {
	if prices {
		a.acting = true
		if asJSON {
			return a.printJSON(cost.Prices())
		}
		fmt.Fprint(a.stdout, priceTable())
		return nil
	}
	e, err := cost.Of(s)
	if err != nil {
		return usagef("%v", err)
	}
	a.acting = true
	if asJSON {
		return a.printJSON(e)
	}
	a.printEstimate(e, brief)
	return nil
}

// priceTable is docs/cost.md's.
func priceTable() string {
	var b strings.Builder
	b.WriteString("| what | dollars | source |\n|---|---|---|\n")
	for _, p := range cost.Prices() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p.What, p.Words(), p.Source)
	}
	return b.String()
}

func (a *app) printEstimate(e *cost.Estimate, brief bool) {
	f := e.Figures
	fmt.Fprintf(a.stdout, "%s sign-ins and %s refreshes, %s tokens a second; %s requests a second, %.1f%% of them answered from the cache\n",
		cost.Short(f.SignIns), cost.Short(f.Refreshes), cost.Short(f.TokensPerS), cost.Short(f.RequestsPerS), 100*f.HitRate)
	fmt.Fprintf(a.stdout, "%s warm sandboxes, %s feed polls, %s GB of logs; at the peak %s requests to the HTTP API and %s KMS signatures a second\n\n",
		cost.Short(f.Sandboxes), cost.Short(f.FeedPolls), cost.Short(f.LogGB), cost.Short(f.GatewayPerS), cost.Short(f.KMSPerS))
	row := func(name, quantity string, amount float64) {
		fmt.Fprintf(a.stdout, "%-34s%28s%14s\n", name, quantity, dollars(amount))
	}
	for _, part := range []struct{ id, name string }{
		{cost.Fixed, "Fixed"}, {cost.Tokens, "Tokens"}, {cost.Authorized, "Authorised requests"}, {cost.API, "Your APIs"},
	} {
		for _, l := range e.Lines {
			if l.Part == part.id && !brief {
				row("  "+l.Component, cost.Short(l.Quantity)+" "+l.Unit, l.Dollars)
			}
		}
		row(part.name, "", e.Parts[part.id])
	}
	row("Total a month", "", e.Total)
	row("A million tokens", "", e.PerMillionTokens)
	row("A million authorised requests", "", e.PerMillionAuthorized)
}

// dollars are in cents, and what is less shows as that.
func dollars(v float64) string {
	if v > 0 && v < 0.005 {
		return "<$0.01"
	}
	return fmt.Sprintf("$%.2f", v)
}

// quantity is a flag's number, with k, M or G after it for a thousand, a million or a billion.
type quantity float64

var errQuantity = errors.New("it must be a number from 0 on, such as 250k, 10M or 4.4e11")

// Set implements pflag.Value.
func (q *quantity) Set(s string) error {
	factor := 1.0
	for suffix, f := range map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, factor = rest, f
			break
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0) {
		return errQuantity
	}
	*q = quantity(v * factor)
	return nil
}

func (q *quantity) String() string {
	if *q < 0 {
		return ""
	}
	return cost.Short(float64(*q))
}

// Type implements pflag.Value; help shows it.
func (q *quantity) Type() string { return "number" }

// span is a flag's length of time.
type span float64

// Set implements pflag.Value.
func (l *span) Set(s string) error {
	d, err := parseLifetime(s)
	*l = span(d.Seconds())
	return err
}

func (l *span) String() string { return inWords(time.Duration(*l) * time.Second) }

// Type implements pflag.Value; help shows it.
func (l *span) Type() string { return "time" }
