package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/latchkey-auth/latchkey/pkg/user"
)

const userHelp = `Registers users and changes what they may do: on the laptop by default, in the folder --dir, whether or not
"latchkey dev" is running on it; on AWS with --users-table, and with --revocations-table besides for what ends tokens.

A user signs in through a client that is registered for the grant type password: the client sends its own credentials and
the user's, and gets tokens whose sub is the user's id, with a scope that both may have. It is the one grant type that shows
a user's password to the client, cannot ask for a second factor, and teaches people to type passwords into whatever asks
(RFC 9700 section 2.4: it must not be used). It is here for what can't do better yet, off for every client unless
"latchkey client create --grant password" turns it on. What people should sign in with is an identity provider of yours.

Tries are counted by name, client and address, and slowed down; nobody is locked out for good. A web application's own address
is the same for all of its users: so that a stranger can't slow down another's tries through it, register it with
"--forwards-user-address" and have it send the user's address as user_address.

A password has 8 to 256 characters of any script, and is not one of the commonest. It is asked for on a terminal, or read as
one line from stdin; it is never an argument.

With --json each command prints the user as one object (list: an array of them):
  username, user_id (the sub of its tokens), name, scope ("a b"), disabled, epoch, password_set_at, created_at, updated_at
  (RFC 3339); update with narrowed (true or false). delete prints username and deleted. Members may be added later; these
  stay.`

// userFlags are those of all user commands.
type userFlags struct {
	place  place
	asJSON bool
}

func (a *app) userCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "user", Short: "Register users and change what they may do", Long: userHelp})
	var f userFlags
	a.addDirFlag(cmd.PersistentFlags(), &f.place)
	a.addUsersFlag(cmd.PersistentFlags(), &f.place)
	a.addRevocationsFlag(cmd.PersistentFlags(), &f.place)
	cmd.PersistentFlags().BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.AddCommand(
		a.userCreate(&f), a.userList(&f), a.userShow(&f), a.userUpdate(&f), a.userSetPassword(&f),
		a.userDisable(&f), a.userEnable(&f), a.userDelete(&f),
	)
	completeIDs(cmd, "USERNAME", a.userNames(&f.place))
	return cmd
}

// oneUsername takes exactly a username.
func oneUsername(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usagef("which user? Give the username")
	case len(args) > 1:
		return usagef("one username is taken, and these are %d: %s", len(args), plain(strings.Join(args, " ")))
	}
	if _, err := user.Normalize(args[0]); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// scopesAlias takes --scopes for --scope, and so on.
func scopesAlias(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if strings.HasSuffix(name, "scopes") {
		name = strings.TrimSuffix(name, "s")
	}
	return pflag.NormalizedName(name)
}

// onUsers makes a command's function of one that wants the registry.
func (a *app) onUsers(f *userFlags, do func(ctx context.Context, reg *user.Registry, where string, args []string) error) func(*cobra.Command, []string) error {
	return a.action(func(ctx context.Context, args []string) (err error) {
		store, err := a.openUsers(ctx, &f.place)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.close()) }()
		err = do(ctx, a.userRegistry(&f.place, store), store.where, args)
		if errors.Is(err, user.ErrNotFound) && len(args) > 0 {
			return fmt.Errorf("there is no user %s in %s: `latchkey user list` shows those that there are", plain(args[0]), store.where)
		}
		if invalid := (*user.InvalidError)(nil); errors.As(err, &invalid) {
			return usagef("%v", invalid)
		}
		return err
	})
}

// userRegistry makes the registry of the users in a store.
func (a *app) userRegistry(p *place, store *openedStore) *user.Registry {
	reg := &user.Registry{
		Store: countedUsers{store.users, a.progress()}, Revocations: store.revocations, Now: a.now,
		Changed: func(ctx context.Context, before, after *user.Record) {
			switch {
			case before == nil:
				a.audit(ctx, p.scene(), "user.created", after.ID, nil, describeUser(after))
			case after == nil:
				a.audit(ctx, p.scene(), "user.deleted", before.ID, describeUser(before), nil)
			default:
				a.audit(ctx, p.scene(), "user.updated", after.ID, describeUser(before), describeUser(after))
			}
		},
	}
	if store.revocations == nil {
		reg.CannotTell = errNoTable
	}
	return reg
}

// userJSON is what --json prints: documented in userHelp, and a promise to scripts.
type userJSON struct {
	Username      string `json:"username"`
	ID            string `json:"user_id"`
	Name          string `json:"name,omitempty"`
	Scope         string `json:"scope"`
	Disabled      bool   `json:"disabled"`
	Epoch         int64  `json:"epoch"`
	PasswordSetAt string `json:"password_set_at"`
	CreatedAt     string `json:"created_at"`
	UpdatedAt     string `json:"updated_at"`
	Narrowed      *bool  `json:"narrowed,omitempty"`
}

// describeUser shows a record without the password's hash.
func describeUser(r *user.Record) userJSON {
	return userJSON{
		Username: r.Username, ID: r.ID, Name: r.Name, Scope: r.Scopes.String(), Disabled: r.Disabled, Epoch: r.Epoch,
		PasswordSetAt: stamp(r.PasswordSetAt), CreatedAt: stamp(r.CreatedAt), UpdatedAt: stamp(r.UpdatedAt),
	}
}

// printUser says in words what a user may do.
func (a *app) printUser(r *user.Record) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%s: %s\n", r.Username, userState(r))
	if r.Name != "" {
		line("name", "%s", plain(r.Name))
	}
	line("id", "%s (the sub of tokens for the user)", r.ID)
	line("scope", "%s", orDash(r.Scopes.String()))
	line("", "(a token has what the client may have as well)")
	line("password", "set %s", a.when(r.PasswordSetAt))
	line("epoch", "%d (grows when something is taken from the user)", r.Epoch)
	line("created", "%s", a.when(r.CreatedAt))
	line("changed", "%s", a.when(r.UpdatedAt))
	_ = w.Flush() // an error of stdout's, which nothing can be done about
}

func userState(r *user.Record) string {
	if r.Disabled {
		return "disabled"
	}
	return "enabled"
}

func (a *app) userCreate(f *userFlags) *cobra.Command {
	var spec user.Spec
	var scopes []string
	cmd := &cobra.Command{
		Use:   "create USERNAME",
		Short: "Register a user",
		Long: `Registers a user, and asks for the password: on a terminal twice, without showing it; elsewhere it is the first line of
stdin. Neither case nor the width of letters makes a difference in usernames: Ada is ada (RFC 8265).`,
		Example: `  latchkey user create ada --scope "orders:read orders:write"
  pass show ada | latchkey user create ada@example.com --users-table "$TABLE" --scope orders:read`,
		Args: oneUsername,
		RunE: a.onUsers(f, func(ctx context.Context, reg *user.Registry, where string, args []string) error {
			var err error
			if spec.Scopes, err = scopeOf(scopes); err != nil {
				return err
			}
			spec.Username = args[0]
			if _, err := reg.Get(ctx, args[0]); err == nil { // before a password is asked for
				return userExists(args[0], where)
			}
			if spec.Password, err = a.newPassword(ctx, args[0]); err != nil {
				return err
			}
			r, err := reg.Create(ctx, spec)
			if errors.Is(err, user.ErrExists) {
				return userExists(args[0], where)
			}
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(describeUser(r))
			}
			fmt.Fprintf(a.stdout, "Created user %s in %s.\n\n", r.Username, where)
			a.printUser(r)
			return nil
		}),
	}
	fl := cmd.Flags()
	fl.SetNormalizeFunc(scopesAlias)
	fl.StringVar(&spec.Name, "name", "", "a `name` for people")
	fl.StringArrayVar(&scopes, "scope", nil, "`scope` that tokens for the user may be granted, tokens separated by spaces; may be repeated")
	return cmd
}

func userExists(name, where string) error {
	return fmt.Errorf("there is a user %s in %s already: `latchkey user update %s` changes it", plain(name), where, plain(name))
}

func (a *app) userList(f *userFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all users",
		Args:  noArgs,
		RunE: a.onUsers(f, func(ctx context.Context, reg *user.Registry, where string, _ []string) error {
			list, err := reg.List(ctx)
			if err != nil {
				return err
			}
			if f.asJSON {
				all := []userJSON{}
				for _, r := range list {
					all = append(all, describeUser(r))
				}
				return a.printJSON(all)
			}
			if len(list) == 0 {
				fmt.Fprintf(a.stdout, "No user in %s yet: `latchkey user create` registers one.\n", where)
				return nil
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "USERNAME\tSTATE\tID\tSCOPE\tNAME")
			for _, r := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Username, userState(r), r.ID, orDash(r.Scopes.String()), orDash(plain(r.Name)))
			}
			return w.Flush()
		}),
	}
}

func (a *app) userShow(f *userFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show USERNAME",
		Short: "Show what a user may do",
		Args:  oneUsername,
		RunE: a.onUsers(f, func(ctx context.Context, reg *user.Registry, _ string, args []string) error {
			r, err := reg.Get(ctx, args[0])
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(describeUser(r))
			}
			a.printUser(r)
			return nil
		}),
	}
}

func (a *app) userUpdate(f *userFlags) *cobra.Command {
	var name string
	var scopes, addScopes, dropScopes []string
	cmd := &cobra.Command{
		Use:   "update USERNAME",
		Short: "Change what a user may do",
		Long: `Changes what the flags name and leaves the rest.

What it takes from the user's scope ends the tokens that are out: the user's epoch grows, which tokens seal, and the
revocation feed tells so before the record is written. ` + endingHelp + `

What it adds is in tokens from the next sign-in on. A refresh does not add it: a refresh token seals what was granted when
the user's password was last shown, so that nobody who holds one gains by a change that was made for somebody else.`,
		Example: `  latchkey user update ada --scopes orders:read
  latchkey user update ada --add-scope orders:cancel`,
		Args: oneUsername,
	}
	fl := cmd.Flags()
	fl.SetNormalizeFunc(scopesAlias)
	fl.StringVar(&name, "name", "", "the `name` for people")
	fl.StringArrayVar(&scopes, "scope", nil, "the whole of the user's `scope`, instead of what there is; may be repeated, '' for none")
	fl.StringArrayVar(&addScopes, "add-scope", nil, "`scope` tokens to add; may be repeated")
	fl.StringArrayVar(&dropScopes, "remove-scope", nil, "`scope` tokens to take away; may be repeated")
	cmd.MarkFlagsMutuallyExclusive("scope", "add-scope")
	cmd.MarkFlagsMutuallyExclusive("scope", "remove-scope")
	cmd.RunE = a.onUsers(f, func(ctx context.Context, reg *user.Registry, where string, args []string) error {
		if !fl.Changed("name") && !fl.Changed("scope") && !fl.Changed("add-scope") && !fl.Changed("remove-scope") {
			return usagef("nothing to change: give at least one flag, such as --add-scope")
		}
		whole, err := scopeOf(scopes)
		add, errAdd := scopeOf(addScopes)
		drop, errDrop := scopeOf(dropScopes)
		if err := errors.Join(err, errAdd, errDrop); err != nil {
			return err
		}
		var epoch int64
		r, err := reg.Update(ctx, args[0], func(r *user.Record) (err error) {
			epoch = r.Epoch
			if fl.Changed("name") {
				r.Name = name
			}
			if fl.Changed("scope") {
				r.Scopes = whole
			}
			r.Scopes, err = addAndRemove(r.Scopes, []string(add), []string(drop), "scope")
			return err
		})
		if err != nil {
			return err
		}
		narrowed := r.Epoch > epoch
		if f.asJSON {
			d := describeUser(r)
			d.Narrowed = &narrowed
			return a.printJSON(d)
		}
		fmt.Fprintf(a.stdout, "Updated user %s in %s.\n", r.Username, where)
		if narrowed {
			fmt.Fprintf(a.stdout, "\nThis took something from the user, whose epoch grew to %d and whose tokens are revoked.\n%s\n", r.Epoch, endingHelp)
		}
		fmt.Fprintln(a.stdout)
		a.printUser(r)
		return nil
	})
	return cmd
}

func (a *app) userSetPassword(f *userFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "set-password USERNAME",
		Short: "Replace a user's password",
		Long: `Replaces a user's password, which is asked for: on a terminal twice, without showing it; elsewhere it is the first line of
stdin. The tokens that are out end with the old one.

` + endingHelp,
		Args: oneUsername,
		RunE: a.onUsers(f, func(ctx context.Context, reg *user.Registry, where string, args []string) error {
			if _, err := reg.Get(ctx, args[0]); err != nil { // before a password is asked for
				return err
			}
			password, err := a.newPassword(ctx, args[0])
			if err != nil {
				return err
			}
			r, err := reg.SetPassword(ctx, args[0], password)
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(describeUser(r))
			}
			fmt.Fprintf(a.stdout, "Set the password of user %s in %s. The user's epoch grew to %d.\n%s\n", r.Username, where, r.Epoch, endingHelp)
			return nil
		}),
	}
}

func (a *app) userDisable(f *userFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "disable USERNAME",
		Short: "Stop a user from signing in",
		Long: `Stops a user from signing in, at once, until "latchkey user enable". Nothing is lost.

` + endingHelp,
		Args: oneUsername,
		RunE: a.setUserDisabled(f, true),
	}
}

func (a *app) userEnable(f *userFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "enable USERNAME",
		Short: "Let a disabled user sign in again",
		Args:  oneUsername,
		RunE:  a.setUserDisabled(f, false),
	}
}

func (a *app) setUserDisabled(f *userFlags, disabled bool) func(*cobra.Command, []string) error {
	return a.onUsers(f, func(ctx context.Context, reg *user.Registry, where string, args []string) error {
		r, err := reg.SetDisabled(ctx, args[0], disabled)
		if err != nil {
			return err
		}
		switch {
		case f.asJSON:
			return a.printJSON(describeUser(r))
		case disabled:
			fmt.Fprintf(a.stdout, "Disabled user %s in %s: nobody can sign in as that user.\n%s\n", r.Username, where, endingHelp)
		default:
			fmt.Fprintf(a.stdout, "Enabled user %s in %s.\n", r.Username, where)
		}
		return nil
	})
}

func (a *app) userDelete(f *userFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete USERNAME",
		Short: "Remove a user for good",
		Long: `Removes a user for good. On a terminal it asks first; elsewhere it wants --yes. "latchkey user disable" can be undone. The
username may be given again: the new user has another id, and shares nothing with the old one.

` + endingHelp,
		Args: oneUsername,
		RunE: a.onUsers(f, func(ctx context.Context, reg *user.Registry, where string, args []string) error {
			r, err := reg.Get(ctx, args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := a.confirm("user", r.Username, where); err != nil {
					return err
				}
			}
			if err := reg.Delete(ctx, r.Username); err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(struct {
					Username string `json:"username"`
					Deleted  bool   `json:"deleted"`
				}{r.Username, true})
			}
			fmt.Fprintf(a.stdout, "Deleted user %s from %s.\n%s\n", r.Username, where, endingHelp)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}
