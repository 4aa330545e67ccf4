package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/latchkey-auth/latchkey/internal/outbound"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

const issuerHelp = `Trusts other issuers of tokens: on the laptop by default, in the folder --dir, whether or not "latchkey dev" is running on it;
on AWS with --issuers-table, and with --revocations-table besides for what ends tokens.

An issuer's word is taken in two ways:
  - a client comes with its own credentials and a token that the issuer gave to a person, once, and gets tokens for that
    person (grant type jwt-bearer, RFC 7523; the client names the issuer with --assertion-issuer);
  - a client signs in by a token that the issuer gave to it, with no secret at all, as a job of GitHub Actions or a pod has one
    ("latchkey client create --workload-issuer URL --workload-subject SUB").

Each token is taken once, and up to 5 minutes after it was issued. In the first way sub is x_ and a hash of the issuer and its
subject, or the id of a local user where --map-user says so: never by an e-mail address.

With --json each command prints the issuer as one object (list: an array of them):
  issuer, name, keys ("kept in the record", or their URL), audiences, algorithms, subject_claim, claims, scope ("a b"), max_age
  (seconds), users (subject to username), users_only, disabled (its removal was begun), epoch, created_at, updated_at (RFC 3339); update
  with narrowed. remove prints issuer and removed. Members may be added later; these stay.`

// issuerFlags are those of all issuer commands.
type issuerFlags struct {
	place  place
	asJSON bool
}

func (a *app) issuerCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "issuer", Short: "Trust other issuers of tokens", Long: issuerHelp})
	var f issuerFlags
	a.addDirFlag(cmd.PersistentFlags(), &f.place)
	a.addIssuersFlag(cmd.PersistentFlags(), &f.place)
	a.addUsersFlag(cmd.PersistentFlags(), &f.place)
	a.addRevocationsFlag(cmd.PersistentFlags(), &f.place)
	cmd.PersistentFlags().BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.AddCommand(a.issuerAdd(&f), a.issuerList(&f), a.issuerShow(&f), a.issuerUpdate(&f), a.issuerRevokeTokens(&f), a.issuerRemove(&f))
	completeIDs(cmd, "URL", a.issuerNames(&f.place))
	return cmd
}

// oneIssuer takes exactly a URL.
func oneIssuer(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("which issuer? Give its URL, as its tokens have it in iss")
	}
	if err := assertion.ValidURL("issuer", args[0], false); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// onIssuers makes a command's function of one that wants the registry.
func (a *app) onIssuers(f *issuerFlags, do func(ctx context.Context, reg *issuer.Registry, store *openedStore, args []string) error) func(*cobra.Command, []string) error {
	return a.action(func(ctx context.Context, args []string) (err error) {
		store, err := a.openIssuers(ctx, &f.place)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.close()) }()
		reg := &issuer.Registry{
			Store: countedIssuers{store.issuers, a.progress()}, Revocations: store.revocations, Now: a.now,
			Changed: func(ctx context.Context, before, after *issuer.Record) {
				switch {
				case before == nil:
					a.audit(ctx, f.place.scene(), "issuer.added", after.URL, nil, describeIssuer(after))
				case after == nil:
					a.audit(ctx, f.place.scene(), "issuer.removed", before.URL, describeIssuer(before), nil)
				default:
					a.audit(ctx, f.place.scene(), "issuer.updated", after.URL, describeIssuer(before), describeIssuer(after))
				}
			},
		}
		if store.revocations == nil {
			reg.CannotTell = errNoTable
		}
		err = do(ctx, reg, store, args)
		if errors.Is(err, issuer.ErrNotFound) && len(args) > 0 {
			return fmt.Errorf("there is no issuer %s in %s: `latchkey issuer list` shows those that there are", args[0], store.where)
		}
		if invalid := (*issuer.InvalidError)(nil); errors.As(err, &invalid) {
			return usagef("%v", invalid)
		}
		return err
	})
}

// issuerJSON is what --json prints: documented in issuerHelp, and a promise to scripts.
type issuerJSON struct {
	URL          string              `json:"issuer"`
	Name         string              `json:"name,omitempty"`
	Keys         string              `json:"keys"`
	Audiences    []string            `json:"audiences"`
	Algorithms   []string            `json:"algorithms"`
	SubjectClaim string              `json:"subject_claim"`
	Claims       map[string][]string `json:"claims,omitempty"`
	Scope        string              `json:"scope"`
	MaxAge       int64               `json:"max_age"`
	Users        map[string]string   `json:"users,omitempty"`
	UsersOnly    bool                `json:"users_only"`
	Disabled     bool                `json:"disabled"`
	Epoch        int64               `json:"epoch"`
	CreatedAt    string              `json:"created_at"`
	UpdatedAt    string              `json:"updated_at"`
	Narrowed     *bool               `json:"narrowed,omitempty"`
}

func describeIssuer(r *issuer.Record) issuerJSON {
	d := issuerJSON{
		URL: r.URL, Name: r.Name, Keys: describeKeys(r.Keys), Audiences: r.Audiences, Algorithms: r.Algorithms, SubjectClaim: "sub",
		Claims: r.Claims, Scope: r.Scopes.String(), MaxAge: int64(r.Age() / time.Second), UsersOnly: r.UsersOnly, Disabled: r.Disabled, Epoch: r.Epoch,
		CreatedAt: stamp(r.CreatedAt), UpdatedAt: stamp(r.UpdatedAt),
	}
	if r.SubjectClaim != "" {
		d.SubjectClaim = r.SubjectClaim
	}
	for subject, u := range r.Users {
		if d.Users == nil {
			d.Users = map[string]string{}
		}
		d.Users[subject] = u.Username
	}
	return d
}

// printIssuer says in words what an issuer's word is good for.
func (a *app) printIssuer(r *issuer.Record) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	d := describeIssuer(r)
	fmt.Fprintf(w, "%s\n", r.URL)
	if r.Disabled {
		line("removal", "begun: nothing that it says is taken; remove it once more")
	}
	if r.Name != "" {
		line("name", "%s", plain(r.Name))
	}
	line("keys", "%s", d.Keys)
	line("audiences", "%s", plain(strings.Join(r.Audiences, " ")))
	line("algorithms", "%s", strings.Join(r.Algorithms, " "))
	line("subject", "by the claim %s", plain(d.SubjectClaim))
	for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
		line("asked for", "%s is %s", plain(name), plain(strings.Join(r.Claims[name], " or ")))
	}
	line("scope", "%s", orDash(d.Scope))
	line("", "(a token has what the client may have as well)")
	line("age", "taken up to %s after they were issued, once", inWords(r.Age()))
	for _, subject := range slices.Sorted(maps.Keys(r.Users)) {
		line("user", "%s is %s", plain(subject), r.Users[subject].Username)
	}
	if r.UsersOnly {
		line("", "(and nobody else)")
	}
	line("epoch", "%d (grows when something is taken from the issuer)", r.Epoch)
	line("added", "%s", a.when(r.CreatedAt))
	line("changed", "%s", a.when(r.UpdatedAt))
	_ = w.Flush() // an error of stdout's, which nothing can be done about
}

// trustFlags are what add and update say of an issuer.
type trustFlags struct {
	name, jwks, jwksURI, subjectClaim string
	audiences, algorithms, claims     []string
	scopes, users                     []string
	usersOnly                         bool
	age                               lifetime
	flags                             *pflag.FlagSet
}

func (f *trustFlags) add(fl *pflag.FlagSet) {
	f.flags = fl
	fl.SetNormalizeFunc(scopesAlias)
	fl.StringVar(&f.name, "name", "", "a `name` for people")
	fl.StringVar(&f.jwksURI, "jwks-uri", "", "`URL` of its keys, instead of what its metadata say")
	fl.StringVar(&f.jwks, "jwks", "", "`file` of its keys, a JWKS, where we can't reach it; - for stdin")
	fl.StringArrayVar(&f.audiences, "audience", nil, "`aud` that its tokens must have: what it knows you by, such as a client id there; may be repeated")
	fl.StringArrayVar(&f.algorithms, "algorithm", nil, "`alg` that it signs by: "+strings.Join(assertion.Algorithms, ", ")+"; may be repeated")
	fl.StringVar(&f.subjectClaim, "subject-claim", "", "`claim` that tells one subject from another (default sub)")
	fl.StringArrayVar(&f.claims, "require", nil, "`name=value` of a claim that its tokens must have, such as hd=example.com; repeated for one\nname, one of the values")
	fl.StringArrayVar(&f.scopes, "scope", nil, "`scope` that its word may be granted, tokens separated by spaces; may be repeated")
	fl.StringArrayVar(&f.users, "map-user", nil, "`subject=username` of a local user; may be repeated")
	fl.BoolVar(&f.usersOnly, "users-only", false, "take no other subjects than those of --map-user")
	fl.Var(&f.age, "max-age", "how old a token may be (default 5m)")
}

// change fills in what is given.
func (f *trustFlags) change(r *issuer.Record, keys assertion.KeySource, users map[string]issuer.LocalUser) error {
	claims, err := claimsOf(f.claims)
	if err != nil {
		return err
	}
	scope, err := scopeOf(f.scopes)
	if err != nil {
		return err
	}
	for name, set := range map[string]func(){
		"name":          func() { r.Name = f.name },
		"audience":      func() { r.Audiences = f.audiences },
		"algorithm":     func() { r.Algorithms = f.algorithms },
		"subject-claim": func() { r.SubjectClaim = f.subjectClaim },
		"require":       func() { r.Claims = claims },
		"scope":         func() { r.Scopes = scope },
		"map-user":      func() { r.Users = users },
		"users-only":    func() { r.UsersOnly = f.usersOnly },
		"max-age":       func() { r.MaxAge = int64(f.age.d / time.Second) },
	} {
		if f.flags.Changed(name) {
			set()
		}
	}
	if r.SubjectClaim == "sub" {
		r.SubjectClaim = "" // as it is by default
	}
	if keys != "" {
		r.Keys = keys
	}
	return nil
}

// keys reads those that are given.
func (f *trustFlags) keys(stdin io.Reader) (assertion.KeySource, error) {
	switch {
	case f.jwks != "" && f.jwksURI != "":
		return "", usagef("the keys are in a file or at a URL: give --jwks or --jwks-uri")
	case f.jwks == "":
		return assertion.KeySource(f.jwksURI), nil
	}
	keys, err := readKeys(f.jwks, stdin)
	if err != nil {
		return "", fmt.Errorf("--jwks: %w", err)
	}
	return keys, nil
}

// localUsers finds the ids of the users that are named.
func (f *trustFlags) localUsers(ctx context.Context, store user.Store) (map[string]issuer.LocalUser, error) {
	users := map[string]issuer.LocalUser{}
	for _, m := range f.users {
		if m == "" {
			continue // none at all
		}
		i := strings.LastIndexByte(m, '=')
		if i < 1 {
			return nil, usagef("%q: a local user is given as subject=username", plain(m))
		}
		if store == nil {
			return nil, usagef("on AWS, --map-user takes --users-table, too (env USERS_TABLE)")
		}
		r, err := (&user.Registry{Store: store}).Get(ctx, m[i+1:])
		if errors.Is(err, user.ErrNotFound) {
			return nil, fmt.Errorf("there is no user %s", plain(m[i+1:]))
		}
		if err != nil {
			return nil, err
		}
		users[m[:i]] = issuer.LocalUser{Username: r.Username, ID: r.ID}
	}
	return users, nil
}

// metadata is what is read of an issuer's (OpenID Connect Discovery §3).
type metadata struct {
	Issuer     string   `json:"issuer"`
	JWKSURI    string   `json:"jwks_uri"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"`
}

// discover asks an issuer where its keys are. It is done once, when the issuer is added: what is trusted from then on is what
// the operator has seen.
func discover(ctx context.Context, client *http.Client, url string) (*metadata, error) {
	fail := func(err error) error {
		return fmt.Errorf("asking %s where its keys are (--jwks-uri or --jwks says it instead): %w", url, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+oauth.PathOpenIDConfiguration, nil)
	if err != nil {
		return nil, fail(err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, fail(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fail(fmt.Errorf("status %d", res.StatusCode))
	}
	var m metadata
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil {
		return nil, fail(err)
	}
	if m.Issuer != url {
		return nil, fail(fmt.Errorf("it says to be %q", plain(m.Issuer)))
	}
	m.Algorithms = slices.DeleteFunc(m.Algorithms, func(alg string) bool { return !slices.Contains(assertion.Algorithms, alg) })
	return &m, nil
}

func (a *app) issuerAdd(f *issuerFlags) *cobra.Command {
	var t trustFlags
	var loopback bool
	cmd := &cobra.Command{
		Use:   "add URL",
		Short: "Trust an issuer",
		Long: `Trusts an issuer. URL is its iss, byte by byte. Where its keys are and what it signs by is asked of it now, over https, and
kept (OpenID Connect Discovery); running functions ask for the keys alone.`,
		Example: `  latchkey issuer add https://accounts.google.com --audience 1234.apps.googleusercontent.com --require hd=example.com --scope orders:read
  latchkey issuer add https://token.actions.githubusercontent.com --audience https://auth.example.com`,
		Args: oneIssuer,
		RunE: a.onIssuers(f, func(ctx context.Context, reg *issuer.Registry, store *openedStore, args []string) error {
			url := args[0]
			if strings.HasPrefix(url, "http:") && (!loopback || f.place.issuers != "") {
				return usagef("an issuer on this machine is taken with --allow-loopback, on a laptop alone")
			}
			if len(t.audiences) == 0 {
				return usagef("whom are its tokens for? Give --audience, what it knows you by")
			}
			keys, err := t.keys(a.stdin)
			if err != nil {
				return err
			}
			r := issuer.Record{URL: url, Algorithms: []string{"RS256"}}
			if keys == "" {
				found, err := discover(ctx, outbound.Client(outbound.Config{Loopback: loopback}), url)
				if err != nil {
					return err
				}
				keys = assertion.KeySource(found.JWKSURI)
				if len(found.Algorithms) > 0 {
					r.Algorithms = found.Algorithms
				}
			}
			users, err := t.localUsers(ctx, store.users)
			if err != nil {
				return err
			}
			if err := t.change(&r, keys, users); err != nil {
				return err
			}
			added, err := reg.Add(ctx, r)
			if errors.Is(err, issuer.ErrExists) {
				return fmt.Errorf("issuer %s is in %s already: `latchkey issuer update %s` changes it", url, store.where, url)
			}
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(describeIssuer(added))
			}
			fmt.Fprintf(a.stdout, "Added an issuer to %s.\n\n", store.where)
			a.printIssuer(added)
			return nil
		}),
	}
	t.add(cmd.Flags())
	cmd.Flags().BoolVar(&loopback, "allow-loopback", false, "take an issuer on this machine, over http, on a laptop; \"latchkey dev\" needs\n--allow-loopback-issuers besides")
	return cmd
}

func (a *app) issuerList(f *issuerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all trusted issuers",
		Args:  noArgs,
		RunE: a.onIssuers(f, func(ctx context.Context, reg *issuer.Registry, store *openedStore, _ []string) error {
			list, err := reg.List(ctx)
			if err != nil {
				return err
			}
			if f.asJSON {
				all := []issuerJSON{}
				for _, r := range list {
					all = append(all, describeIssuer(r))
				}
				return a.printJSON(all)
			}
			if len(list) == 0 {
				fmt.Fprintf(a.stdout, "No issuer in %s yet: `latchkey issuer add` trusts one.\n", store.where)
				return nil
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ISSUER\tAUDIENCES\tSCOPE\tNAME")
			for _, r := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.URL, plain(strings.Join(r.Audiences, " ")), orDash(r.Scopes.String()), orDash(plain(r.Name)))
			}
			return w.Flush()
		}),
	}
}

func (a *app) issuerShow(f *issuerFlags) *cobra.Command {
	var subject string
	cmd := &cobra.Command{
		Use:   "show URL",
		Short: "Show what an issuer's word is good for",
		Args:  oneIssuer,
		RunE: a.onIssuers(f, func(ctx context.Context, reg *issuer.Registry, _ *openedStore, args []string) error {
			r, err := reg.Get(ctx, args[0])
			switch {
			case err != nil:
				return err
			case subject != "":
				id := issuer.Subject(r.URL, subject)
				if u, ok := r.Users[subject]; ok {
					id = u.ID
				}
				fmt.Fprintln(a.stdout, id)
				return nil
			case f.asJSON:
				return a.printJSON(describeIssuer(r))
			}
			a.printIssuer(r)
			return nil
		}),
	}
	cmd.Flags().StringVar(&subject, "subject", "", "print the sub that our tokens have for this `subject` of the issuer's, and nothing else")
	return cmd
}

func (a *app) issuerUpdate(f *issuerFlags) *cobra.Command {
	var t trustFlags
	cmd := &cobra.Command{
		Use:   "update URL",
		Short: "Change what an issuer's word is good for",
		Long: `Changes what the flags name, each as a whole, and leaves the rest.

What it takes from the issuer (scope, audiences, algorithms; other keys, claims, users or another subject claim count as
such) ends the tokens that are out. ` + endingHelp,
		Args: oneIssuer,
	}
	t.add(cmd.Flags())
	cmd.RunE = a.onIssuers(f, func(ctx context.Context, reg *issuer.Registry, store *openedStore, args []string) error {
		given := false
		cmd.LocalNonPersistentFlags().VisitAll(func(fl *pflag.Flag) { given = given || fl.Changed })
		if !given {
			return usagef("nothing to change: give at least one flag, such as --scope")
		}
		keys, err := t.keys(a.stdin)
		if err != nil {
			return err
		}
		users, err := t.localUsers(ctx, store.users)
		if err != nil {
			return err
		}
		var epoch int64
		r, err := reg.Update(ctx, args[0], func(r *issuer.Record) error {
			epoch = r.Epoch
			return t.change(r, keys, users)
		})
		if err != nil {
			return err
		}
		narrowed := r.Epoch > epoch
		if f.asJSON {
			d := describeIssuer(r)
			d.Narrowed = &narrowed
			return a.printJSON(d)
		}
		fmt.Fprintf(a.stdout, "Updated issuer %s in %s.\n", r.URL, store.where)
		if narrowed {
			fmt.Fprintf(a.stdout, "\nThis took something from the issuer, whose epoch grew to %d; tokens by its word are revoked.\n%s\n", r.Epoch, endingHelp)
		}
		fmt.Fprintln(a.stdout)
		a.printIssuer(r)
		return nil
	})
	return cmd
}

func (a *app) issuerRevokeTokens(f *issuerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke-tokens URL",
		Short: "End all tokens that rest on an issuer's word",
		Long: `Ends all tokens that rest on an issuer's word. Its own tokens are taken again from then on.

` + endingHelp,
		Args: oneIssuer,
		RunE: a.onIssuers(f, func(ctx context.Context, reg *issuer.Registry, _ *openedStore, args []string) error {
			r, err := reg.RevokeTokens(ctx, args[0])
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(describeIssuer(r))
			}
			fmt.Fprintf(a.stdout, "Revoked the tokens by the word of %s: its epoch grew to %d.\n%s\n", r.URL, r.Epoch, endingHelp)
			return nil
		}),
	}
}

func (a *app) issuerRemove(f *issuerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "remove URL",
		Short: "Trust an issuer no more",
		Long: `Trusts an issuer no more, at once, and ends all tokens that rest on its word. It may be added again.

` + endingHelp,
		Args: oneIssuer,
		RunE: a.onIssuers(f, func(ctx context.Context, reg *issuer.Registry, store *openedStore, args []string) error {
			if err := reg.Remove(ctx, args[0]); err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(struct {
					URL     string `json:"issuer"`
					Removed bool   `json:"removed"`
				}{args[0], true})
			}
			fmt.Fprintf(a.stdout, "Removed issuer %s from %s.\n%s\n", args[0], store.where, endingHelp)
			return nil
		}),
	}
}
