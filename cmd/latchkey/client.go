package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const clientHelp = `Registers clients and changes what they may do: on the laptop by default, in the folder --dir, whether or not
"latchkey dev" is running on it; on AWS with --clients-table, where credentials and the region come from the usual places
(AWS_PROFILE, AWS_REGION, ~/.aws/config and so on).

A running token function goes by what it read of a client for up to 30 seconds. What takes something from a client ends
the tokens that are out, by the revocation feed: on AWS that takes --revocations-table besides.

With --json each command prints the client as one object (list: an array of them):
  client_id, client_name, scope ("a b"), audiences (the first is the default), grant_types, refresh_mode,
  access_token_lifetime, refresh_token_lifetime, grant_lifetime (seconds; what holds where none is set included, and on the
  laptop where its record says more than "latchkey dev" gives),
  introspects, jwks ("kept in the record", or its URL), token_endpoint_audience, identities, assertion_issuers (where there are
  any), forwards_user_address (where it is true), disabled, epoch, created_at, updated_at (RFC 3339), secrets (created_at and, where it
  ends, expires_at of each),
create and rotate-secret with client_secret besides, update with narrowed (true or false). delete prints client_id and
deleted. Members may be added later; these stay. What export and import print is told there.`

// clientFlags are those of all client commands.
type clientFlags struct {
	place  place
	asJSON bool
}

func (a *app) clientCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "client", Short: "Register clients and change what they may do", Long: clientHelp})
	var f clientFlags
	a.addDirFlag(cmd.PersistentFlags(), &f.place)
	a.addTableFlag(cmd.PersistentFlags(), &f.place)
	a.addRevocationsFlag(cmd.PersistentFlags(), &f.place)
	cmd.PersistentFlags().BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.AddCommand(
		a.clientCreate(&f), a.clientList(&f), a.clientShow(&f), a.clientUpdate(&f), a.clientRotateSecret(&f),
		a.clientDisable(&f), a.clientEnable(&f), a.clientDelete(&f), a.clientExport(&f), a.clientImport(&f),
	)
	completeIDs(cmd, "ID", a.clientNames(&f.place))
	return cmd
}

// oneID takes exactly a client id.
func oneID(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usagef("which client? Give its id")
	case len(args) > 1:
		return usagef("one client id is taken, and these are %d: %s", len(args), strings.Join(args, " "))
	case !client.ValidID(args[0]):
		return usagef("%q is no client id: those are 3 to 64 lower-case letters, digits and hyphens", args[0])
	}
	return nil
}

// onClients makes a command's function of one that wants the registry.
func (a *app) onClients(f *clientFlags, do func(ctx context.Context, reg *client.Registry, where string, args []string) error) func(*cobra.Command, []string) error {
	return a.action(func(ctx context.Context, args []string) (err error) {
		store, err := a.openStore(ctx, &f.place)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.close()) }()
		a.laptop = !f.place.aws()
		err = do(ctx, a.registry(&f.place, store), store.where, args)
		if errors.Is(err, client.ErrNotFound) && len(args) > 0 {
			return fmt.Errorf("there is no client %s in %s: `latchkey client list` shows those that there are", args[0], store.where)
		}
		if invalid := (*client.InvalidError)(nil); errors.As(err, &invalid) {
			return usagef("%v", invalid)
		}
		return err
	})
}

// registry makes the registry of the clients in a store.
func (a *app) registry(p *place, store *openedStore) *client.Registry {
	reg := &client.Registry{
		Store: countedClients{store.Store, a.progress()}, Revocations: store.revocations, Now: a.now,
		Changed: func(ctx context.Context, before, after *client.Record) {
			describe := func(r *client.Record) any { return a.describe(r, "") }
			switch {
			case before == nil:
				a.audit(ctx, p.scene(), "client.created", after.ID, nil, describe(after))
			case after == nil:
				a.audit(ctx, p.scene(), "client.deleted", before.ID, describe(before), nil)
			default:
				a.audit(ctx, p.scene(), "client.updated", after.ID, describe(before), describe(after))
			}
		},
	}
	if store.revocations == nil {
		reg.CannotTell = errNoTable
	}
	return reg
}

func (a *app) clientCreate(f *clientFlags) *cobra.Command {
	var (
		spec                   client.Spec
		scopes                 []string
		access, refresh, grant lifetime
		secretLife             lifetime
		assertions             assertionFlags
		withSecret             bool
	)
	mode := refreshModes()
	cmd := &cobra.Command{
		Use:   "create [ID]",
		Short: "Register a client and print its secret, once",
		Long: `Registers a client and prints its secret. Only a hash of the secret is kept: this is the one time that it is shown.

ID is 3 to 64 lower-case letters, digits and hyphens; without one, one is made up.`,
		Example: `  latchkey client create orders-app --scope "orders:read orders:write"
  latchkey client create nightly --clients-table "$TABLE" --audience https://api.acme.example --scope reports:write \
    --refresh-mode secret --access-lifetime 5m`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneID(cmd, args)
		},
		RunE: a.onClients(f, func(ctx context.Context, reg *client.Registry, where string, args []string) error {
			var err error
			if spec.Scopes, err = scopeOf(scopes); err != nil {
				return err
			}
			if len(spec.Audiences) == 0 {
				if f.place.aws() {
					return usagef("which API are its tokens for? Give --audience, the stack's output Audience for the sample API")
				}
				spec.Audiences = []string{devAudience}
			}
			if err := assertions.spec(&spec, a.stdin, withSecret); err != nil {
				return err
			}
			spec.Grants = grantNames(spec.Grants)
			spec.RefreshMode = token.Mode(mode.value)
			spec.AccessTokenLifetime, spec.RefreshTokenLifetime, spec.GrantLifetime = access.d, refresh.d, grant.d
			spec.SecretLifetime = secretLife.d
			r, secret, err := create(ctx, reg, spec, args)
			if errors.Is(err, client.ErrExists) {
				return fmt.Errorf("there is a client %s in %s already: `latchkey client update %s` changes it", args[0], where, args[0])
			}
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(a.describe(r, secret))
			}
			fmt.Fprintf(a.stdout, "Created client %s in %s.\n\n", r.ID, where)
			if secret != "" {
				a.printSecret(r, secret)
				fmt.Fprintln(a.stdout)
			}
			a.printRecord(r)
			return nil
		}),
	}
	fl := cmd.Flags()
	fl.SetNormalizeFunc(scopesAlias)
	fl.StringVar(&spec.Name, "name", "", "a `name` for people")
	fl.StringArrayVar(&scopes, "scope", nil, "`scope` that it may be granted, tokens separated by spaces; may be repeated")
	fl.StringArrayVar(&spec.Audiences, "audience", nil, "`URI` of an API that its tokens may be for; may be repeated, the first is the default\n(on the laptop: "+devAudience+", the one of \"latchkey dev\")")
	fl.StringArrayVar(&spec.Grants, "grant", nil, "grant `type`: client_credentials, refresh_token, jwt-bearer (with --assertion-issuer) or password; may be\nrepeated (default the first two). password is for a migration alone: it shows users' passwords to the client,\nwhich RFC 9700 section 2.4 forbids for good reasons (see \"latchkey help user\")")
	fl.Var(&mode, "refresh-mode", "how it refreshes: dpop (by a key of the client's, for 30 days; recommended), bearer (the\ntoken and the client id suffice, for 24 hours after sign-in), mtls (over connections with\nits certificate, for 30 days), rotating (each token works once, for 30 days) or secret\n(with the client's secret, for 30 days)")
	fl.Var(&access, "access-lifetime", "how long its access tokens last (default 15m)")
	fl.Var(&refresh, "refresh-lifetime", "how long a refresh token lasts unused (default: bearer, as long as the grant; else 7d)")
	fl.Var(&grant, "grant-lifetime", "how long after sign-in it has to sign in again (default: bearer 24h, else 30d)")
	fl.Var(&secretLife, "secret-lifetime", "how long its secret lasts (default for ever)")
	assertions.add(fl)
	fl.BoolVar(&withSecret, "with-secret", false, "make a secret too for a client that has keys, or signs in by another issuer's tokens")
	fl.BoolVar(&spec.ForwardsUserAddress, "forwards-user-address", false, "with --grant password: it tells its users' addresses in the parameter user_address, and is\nbelieved; for a web application, whose own address all its users share")
	fl.StringArrayVar(&spec.Introspects, "introspects", nil, "`URI` of an API for tokens of which it may ask /oauth2/introspect; may be repeated")
	return cmd
}

func refreshModes() choice {
	c := choice{value: string(token.ModeBearer)}
	for _, m := range token.Modes {
		c.allowed = append(c.allowed, string(m))
	}
	return c
}

// create registers a client under the id given, or under a new one.
func create(ctx context.Context, reg *client.Registry, spec client.Spec, args []string) (*client.Record, string, error) {
	if len(args) == 1 {
		spec.ID = args[0]
		return reg.Create(ctx, spec)
	}
	for {
		spec.ID = newID()
		r, secret, err := reg.Create(ctx, spec)
		if !errors.Is(err, client.ErrExists) {
			return r, secret, err
		}
	}
}

// newID makes up a client id that can be read out: "amber-falcon-4821".
func newID() string {
	adjectives := strings.Fields("amber bold brisk calm clear cool coral crisp deft eager early fair fleet fresh gentle glad golden green keen kind lively lucid merry mild neat noble quick quiet rapid ready silver sunny swift warm")
	nouns := strings.Fields("badger beacon birch brook cedar comet crane dolphin ember falcon fern finch garden harbor heron island juniper lantern maple meadow orchid otter pebble pine prairie raven river robin sparrow summit thistle willow")
	n := func(below int) int {
		i, _ := rand.Int(rand.Reader, big.NewInt(int64(below))) // never fails: crypto/rand ends the process first
		return int(i.Int64())
	}
	return fmt.Sprintf("%s-%s-%04d", adjectives[n(len(adjectives))], nouns[n(len(nouns))], n(10_000))
}

// scopeOf joins the values of a repeatable scope flag.
func scopeOf(values []string) (oauth.Scope, error) {
	scope, err := oauth.ParseScope(strings.Join(strings.Fields(strings.Join(values, " ")), " "))
	if err != nil {
		return nil, usagef("a scope token is printable ASCII without quotes and backslashes, and there are at most %d of them", oauth.MaxScopeTokens)
	}
	return scope, nil
}

func (a *app) clientList(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all clients",
		Args:  noArgs,
		RunE: a.onClients(f, func(ctx context.Context, reg *client.Registry, where string, _ []string) error {
			list, err := reg.List(ctx)
			if err != nil {
				return err
			}
			if f.asJSON {
				all := []clientJSON{}
				for _, r := range list {
					all = append(all, a.describe(r, ""))
				}
				return a.printJSON(all)
			}
			if len(list) == 0 {
				fmt.Fprintf(a.stdout, "No client in %s yet: `latchkey client create` registers one.\n", where)
				return nil
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATE\tREFRESH\tSCOPE\tNAME")
			for _, r := range list {
				refresh := string(r.RefreshMode)
				if !r.Allows(oauth.GrantRefreshToken) {
					refresh = "none"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.ID, state(r), refresh, orDash(r.Scopes.String()), orDash(plain(r.Name)))
			}
			return w.Flush()
		}),
	}
}

func (a *app) clientShow(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show what a client may do",
		Args:  oneID,
		RunE: a.onClients(f, func(ctx context.Context, reg *client.Registry, _ string, args []string) error {
			r, err := reg.Get(ctx, args[0])
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(a.describe(r, ""))
			}
			a.printRecord(r)
			return nil
		}),
	}
}

func (a *app) clientUpdate(f *clientFlags) *cobra.Command {
	var (
		name                          string
		grants                        []string
		scopes, addScopes, dropScopes []string
		auds, addAuds, dropAuds       []string
		introspects                   []string
		assertions                    assertionFlags
		forwards                      bool
		access, refresh, grant        lifetime
	)
	mode := refreshModes()
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change what a client may do",
		Long: `Changes what the flags name and leaves the rest. A lifetime of 0 brings the default back.

` + narrowingHelp,
		Example: `  latchkey client update orders-app --add-scope orders:cancel
  latchkey client update orders-app --scope orders:read --access-lifetime 5m`,
		Args: oneID,
	}
	fl := cmd.Flags()
	fl.SetNormalizeFunc(scopesAlias)
	fl.StringVar(&name, "name", "", "the `name` for people")
	fl.StringArrayVar(&scopes, "scope", nil, "the whole of its `scope`, instead of what it has; may be repeated")
	fl.StringArrayVar(&addScopes, "add-scope", nil, "`scope` tokens to add; may be repeated")
	fl.StringArrayVar(&dropScopes, "remove-scope", nil, "`scope` tokens to take away; may be repeated")
	fl.StringArrayVar(&auds, "audience", nil, "`URI` of an audience: all of these instead of what it has; may be repeated, the first is\nthe default")
	fl.StringArrayVar(&addAuds, "add-audience", nil, "`URI` of an audience to add; may be repeated")
	fl.StringArrayVar(&dropAuds, "remove-audience", nil, "`URI` of an audience to take away; may be repeated")
	fl.StringArrayVar(&introspects, "introspects", nil, "`URI` of an API for tokens of which it may ask /oauth2/introspect: all of these instead of what\nit has; may be repeated, '' for none")
	fl.BoolVar(&forwards, "forwards-user-address", false, "whether it tells its users' addresses, and is believed")
	fl.StringArrayVar(&grants, "grant", nil, "grant `type`: all of these instead of what it has; may be repeated")
	assertions.add(fl)
	fl.Var(&mode, "refresh-mode", "how it refreshes: bearer, dpop, mtls, rotating or secret")
	fl.Lookup("refresh-mode").DefValue = "" // what is not given is not changed
	fl.Var(&access, "access-lifetime", "how long its access tokens last")
	fl.Var(&refresh, "refresh-lifetime", "how long a refresh token lasts unused")
	fl.Var(&grant, "grant-lifetime", "how long after sign-in it has to sign in again")
	for _, what := range []string{"scope", "audience"} {
		cmd.MarkFlagsMutuallyExclusive(what, "add-"+what)
		cmd.MarkFlagsMutuallyExclusive(what, "remove-"+what)
	}

	change := func(r *client.Record, keys assertion.KeySource) error {
		if err := assertions.change(r, keys); err != nil {
			return err
		}
		if fl.Changed("name") {
			r.Name = name
		}
		whole, err := scopeOf(scopes)
		add, errAdd := scopeOf(addScopes)
		drop, errDrop := scopeOf(dropScopes)
		if err := errors.Join(err, errAdd, errDrop); err != nil {
			return err
		}
		if fl.Changed("scope") {
			r.Scopes = whole
		}
		if r.Scopes, err = addAndRemove(r.Scopes, add, drop, "scope"); err != nil {
			return err
		}
		if fl.Changed("audience") {
			r.Audiences = auds
		}
		if r.Audiences, err = addAndRemove(r.Audiences, addAuds, dropAuds, "audience"); err != nil {
			return err
		}
		if fl.Changed("grant") {
			r.Grants = grantNames(grants)
		}
		if fl.Changed("forwards-user-address") {
			r.ForwardsUserAddress = forwards
		}
		if fl.Changed("introspects") {
			r.Introspects = slices.DeleteFunc(slices.Clone(introspects), func(s string) bool { return s == "" })
		}
		if fl.Changed("refresh-mode") {
			r.RefreshMode = token.Mode(mode.value)
		}
		for _, l := range []struct {
			flag lifetime
			to   *int64
		}{{access, &r.AccessTokenLifetime}, {refresh, &r.RefreshTokenLifetime}, {grant, &r.GrantLifetime}} {
			if l.flag.set {
				*l.to = int64(l.flag.d / time.Second)
			}
		}
		return nil
	}
	cmd.RunE = a.onClients(f, func(ctx context.Context, reg *client.Registry, where string, args []string) error {
		if !slices.ContainsFunc([]string{
			"name", "scope", "add-scope", "remove-scope", "audience", "add-audience", "remove-audience", "grant", "introspects", "forwards-user-address", "refresh-mode",
			"access-lifetime", "refresh-lifetime", "grant-lifetime",
		}, fl.Changed) && !assertions.given() {
			return usagef("nothing to change: give at least one flag, such as --add-scope")
		}
		keys, err := assertions.keys(a.stdin)
		if err != nil {
			return err
		}
		var epoch int64
		r, err := reg.Update(ctx, args[0], func(r *client.Record) error {
			epoch = r.Epoch
			return change(r, keys)
		})
		if err != nil {
			return err
		}
		narrowed := r.Epoch > epoch
		if f.asJSON {
			d := a.describe(r, "")
			d.Narrowed = &narrowed
			return a.printJSON(d)
		}
		fmt.Fprintf(a.stdout, "Updated client %s in %s.\n", r.ID, where)
		if narrowed {
			fmt.Fprintf(a.stdout, "\nThis took something from it, so its epoch grew to %d and its tokens are revoked.\n%s\n", r.Epoch, endingHelp)
		}
		fmt.Fprintln(a.stdout)
		a.printRecord(r)
		return nil
	})
	return cmd
}

// addAndRemove changes a list; taking away what is not there is an error, for it is a slip.
func addAndRemove[S ~[]string](list S, add, remove []string, what string) (S, error) {
	list = slices.Clone(list)
	for _, s := range add {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	for _, s := range remove {
		i := slices.Index(list, s)
		if i < 0 {
			return nil, fmt.Errorf("it has no %s %s to remove; it has %s", what, s, orDash(strings.Join(list, " ")))
		}
		list = slices.Delete(list, i, i+1)
	}
	return list, nil
}

const narrowingHelp = `What it takes from the client (scope, audiences, grant types, lifetimes, what it may introspect, another refresh mode)
ends the tokens that are out: its epoch grows, which tokens seal, and the revocation feed tells so as soon as the record is
written. ` + endingHelp

// endingHelp is what becomes of the tokens that are out.
const endingHelp = `Within 30 seconds its refresh tokens are refused everywhere, and its access tokens by whoever reads the feed, as
Latchkey's authorizer does. API Gateway's native JWT authorizers don't: they take access tokens until those expire.`

func (a *app) clientRotateSecret(f *clientFlags) *cobra.Command {
	grace := lifetime{24 * time.Hour, true}
	var life lifetime
	var revokeTokens bool
	cmd := &cobra.Command{
		Use:   "rotate-secret ID",
		Short: "Give a client a new secret, the old one staying good for a while",
		Long: `Makes a new secret and prints it, the one time that it is shown. It is good at once. The old one stays good for the
grace, so that the client can change over without an outage. At most two secrets are good at a time.

With --grace 0 the old one ends at once; a running token function can go by it for up to 30 seconds more. Tokens that are
out already are not touched, unless --revoke-tokens is given: then they end, and so do those of the 30 seconds more.`,
		Example: `  latchkey client rotate-secret orders-app
  latchkey client rotate-secret orders-app --grace 0 --revoke-tokens     # the old secret leaked`,
		Args: oneID,
		RunE: a.onClients(f, func(ctx context.Context, reg *client.Registry, _ string, args []string) error {
			r, secret, err := reg.RotateSecret(ctx, args[0], client.Rotation{Grace: grace.d, Lifetime: life.d, RevokeTokens: revokeTokens})
			untold := errors.Is(err, client.ErrUntold)
			if untold { // the secret is good already, and can't be had again
				err = fmt.Errorf("the new secret is good, but tokens that are out may live on: end them with `latchkey revoke --client %s` (%w)", r.ID, err)
			} else if err != nil {
				return err
			}
			if f.asJSON {
				return errors.Join(a.printJSON(a.describe(r, secret)), err)
			}
			a.printSecret(r, secret)
			if untold {
				return err
			}
			if revokeTokens {
				fmt.Fprintf(a.stdout, "Its tokens are revoked: its epoch grew to %d.\n%s\n\n", r.Epoch, endingHelp)
			}
			if len(r.Secrets) == 1 {
				fmt.Fprintln(a.stdout, "The old secret has ended; a running token function may take it for 30 seconds more.")
				return nil
			}
			fmt.Fprintf(a.stdout, "The old secret stays good until %s.\n", a.when(r.Secrets[0].ExpiresAt))
			return nil
		}),
	}
	cmd.Flags().Var(&grace, "grace", "how long the old secret stays good; 0 ends it at once")
	cmd.Flags().Lookup("grace").DefValue = "24h"
	cmd.Flags().Var(&life, "secret-lifetime", "how long the new secret lasts (default for ever)")
	cmd.Flags().BoolVar(&revokeTokens, "revoke-tokens", false, "end the tokens that are out, too")
	return cmd
}

func (a *app) clientDisable(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "disable ID",
		Short: "Stop a client from signing in",
		Long: `Stops a client from signing in, within 30 seconds, until "latchkey client enable". Nothing is lost.

` + endingHelp,
		Args: oneID,
		RunE: a.setDisabled(f, true),
	}
}

func (a *app) clientEnable(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "enable ID",
		Short: "Let a disabled client sign in again",
		Args:  oneID,
		RunE:  a.setDisabled(f, false),
	}
}

func (a *app) setDisabled(f *clientFlags, disabled bool) func(*cobra.Command, []string) error {
	return a.onClients(f, func(ctx context.Context, reg *client.Registry, where string, args []string) error {
		r, err := reg.SetDisabled(ctx, args[0], disabled)
		if err != nil {
			return err
		}
		switch {
		case f.asJSON:
			return a.printJSON(a.describe(r, ""))
		case disabled:
			fmt.Fprintf(a.stdout, "Disabled client %s in %s: it can't sign in, within 30 seconds.\n%s\n", r.ID, where, endingHelp)
		default:
			fmt.Fprintf(a.stdout, "Enabled client %s in %s: it can sign in, within 30 seconds.\n", r.ID, where)
		}
		return nil
	})
}

func (a *app) clientDelete(f *clientFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Remove a client for good",
		Long: `Removes a client for good. On a terminal it asks first; elsewhere it wants --yes. "latchkey client disable" can be
undone. The id may be registered again: the new client shares nothing with the old one.

` + endingHelp,
		Args: oneID,
		RunE: a.onClients(f, func(ctx context.Context, reg *client.Registry, where string, args []string) error {
			r, err := reg.Get(ctx, args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := a.confirm("client", r.ID, where); err != nil {
					return err
				}
			}
			if err := reg.Delete(ctx, r.ID); err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(struct {
					ID      string `json:"client_id"`
					Deleted bool   `json:"deleted"`
				}{r.ID, true})
			}
			fmt.Fprintf(a.stdout, "Deleted client %s from %s.\n%s\n", r.ID, where, endingHelp)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}

// confirm has the operator type a client's id or a user's name.
func (a *app) confirm(what, id, where string) error {
	noTerminal := usagef("%s %s was not deleted: give --yes, for there is no terminal to ask on", what, id)
	if f, ok := a.stdin.(*os.File); !ok || !isTerminal(f) {
		return noTerminal
	}
	fmt.Fprintf(a.stderr, "%s %s will be deleted from %s for good. Type its %s to go on: ",
		strings.ToUpper(what[:1])+what[1:], id, where, map[string]string{"client": "id", "user": "name"}[what])
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	switch {
	case strings.TrimSpace(answer) == id:
		return nil
	case errors.Is(err, io.EOF) && answer == "": // /dev/null looks like a terminal
		fmt.Fprintln(a.stderr)
		return noTerminal
	}
	return fmt.Errorf("%s %s was not deleted", what, id)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
