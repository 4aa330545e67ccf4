package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// obeyedWithin is the bound within which a revocation is obeyed, by the defaults: what the poll of a verifier, the memory
// of the feed and the authorizer's cache make up.
const obeyedWithin = revocation.PollInterval + revocation.FeedMemory + authorizerTTL

// obeyed says so to people.
func obeyed() string {
	return fmt.Sprintf("Verifiers obey within %s (as far as they read the revocation feed, as Latchkey's authorizer does, and\nby its default settings).", inWords(obeyedWithin))
}

// revokeFlags are the flags of `latchkey revoke`. One of the first six is given.
type revokeFlags struct {
	token, grant, client, user, issuer, key string
	all                                     bool
	before                                  instant
	place                                   place
	asJSON                                  bool
}

func (a *app) revokeCommand() *cobra.Command {
	var f revokeFlags
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "End tokens that are out",
		Long: `Ends tokens before they expire, by saying so in the revocation feed, which verifiers poll. What is said is never taken back.

  --token -       the token on stdin: an access token ends alone, a refresh token with its whole grant
  --grant ID      a sign-in with all its tokens; logs have the id
  --client ID     all tokens of a client; it may sign in again
  --user USER     all tokens for a user, named by username or by id (sub), whose sign-in was before --before
  --issuer ISS    all tokens of an issuer (iss) whose sign-in was before --before
                  (a Latchkey's own; for what rests on another issuer's word, "latchkey issuer revoke-tokens")
  --key KID       whatever a key signed or will sign, for good
  --all           all tokens whose sign-in was before --before

It says so on the laptop by default, in the folder --dir, whether or not "latchkey dev" is running on it; on AWS with
--revocations-table, and --client with --clients-table besides, --user with --users-table if it is a username.

A token on stdin is checked against the laptop's own keys there, and refused if it is not theirs. On AWS its signature is
not checked: the keys are not at hand.

` + obeyed() + ` API Gateway's native JWT authorizers don't: they take access tokens until those expire.

With --json it prints revoked (token, grant, client, user, issuer, key or all), id, before (RFC 3339) where it has a meaning, and
obeyed_within (seconds).`,
		Example: `  latchkey revoke --token - < token.txt
  latchkey revoke --client orders-app
  latchkey revoke --all --before 2026-11-23T09:00:00Z --revocations-table "$TABLE"`,
		Args: noArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&f.token, "token", "", "end the `token` on stdin; the value is always -")
	fl.StringVar(&f.grant, "grant", "", "end the grant of this `id`")
	fl.StringVar(&f.client, "client", "", "end the tokens of the client of this `id`")
	fl.StringVar(&f.issuer, "issuer", "", "end the tokens of this `iss`")
	fl.StringVar(&f.user, "user", "", "end the tokens for this `user`: a username or a sub")
	fl.StringVar(&f.key, "key", "", "end what the key of this `id` signed")
	fl.BoolVar(&f.all, "all", false, "end all tokens")
	fl.Var(&f.before, "before", "with --user, --issuer and --all: of sign-ins before this (RFC 3339; default all until now)")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	a.addDirFlag(fl, &f.place)
	a.addTableFlag(fl, &f.place)
	a.addUsersFlag(fl, &f.place)
	a.addRevocationsFlag(fl, &f.place)
	for name, complete := range map[string]completer{"client": a.clientNames(&f.place), "user": a.userNames(&f.place)} {
		_ = cmd.RegisterFlagCompletionFunc(name, complete) // the flags are there, and it is the first
	}
	targets := []string{"token", "grant", "client", "user", "issuer", "key", "all"}
	cmd.RunE = a.action(func(ctx context.Context, _ []string) error {
		given := []string{}
		for _, name := range targets {
			if fl.Changed(name) {
				given = append(given, "--"+name)
			}
		}
		switch {
		case len(given) == 0:
			return usagef("revoke what? Give one of --%s", strings.Join(targets, ", --"))
		case len(given) > 1:
			return usagef("one thing is revoked at a time, and these are %s", strings.Join(given, " and "))
		}
		if err := f.check(a.now()); err != nil {
			return err
		}
		return a.revoke(ctx, &f)
	})
	return cmd
}

// The forms of ids, as Latchkey makes them.
var (
	grantPattern = regexp.MustCompile(`^g_[A-Za-z0-9_-]{22}$`)
	jtiPattern   = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)
	kidPattern   = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
)

// check refuses what can't be meant: what is said is never taken back.
func (f *revokeFlags) check(now time.Time) error {
	f.token, f.user, f.issuer = strings.TrimSpace(f.token), strings.TrimSpace(f.user), strings.TrimSpace(f.issuer)
	switch {
	case f.place.flags.Changed("token") && f.token != "-":
		return usagef("give --token - and the token on stdin: your shell keeps what is on a command line in its history")
	case f.place.flags.Changed("grant") && !grantPattern.MatchString(f.grant):
		return usagef("%q is no grant's id: those are g_ and 22 characters, in tokens and logs under grant_id", plain(f.grant))
	case f.place.flags.Changed("client") && !client.ValidID(f.client):
		return usagef("%q is no client id: those are 3 to 64 lower-case letters, digits and hyphens", plain(f.client))
	case f.place.flags.Changed("user") && f.user == "":
		return usagef("--user is empty: it is a username, or the sub of the tokens")
	case f.place.flags.Changed("issuer") && !strings.Contains(f.issuer, "://"):
		return usagef("%q is no issuer: it is the iss of the tokens, a URL", plain(f.issuer))
	case f.place.flags.Changed("key") && !kidPattern.MatchString(f.key):
		return usagef("%q is no key's id: `latchkey keys list` shows those that there are", plain(f.key))
	case f.place.flags.Changed("all") && !f.all:
		return usagef("revoke what? --all is false")
	case f.before.set && f.user == "" && f.issuer == "" && !f.all:
		return usagef("--before goes with --user, --issuer and --all")
	case f.before.set && f.before.t.After(now.Add(time.Second)):
		return usagef("--before is in the future: all sign-ins until then would be refused, and that can't be taken back")
	}
	if !f.before.set {
		f.before.t = now
	}
	// auth_time is in whole seconds, cut off: sign-ins within this second end too.
	f.before.t = f.before.t.Truncate(time.Second)
	if !f.before.set || f.before.fraction {
		f.before.t = f.before.t.Add(time.Second)
	}
	return nil
}

// revoked is what was done.
type revoked struct {
	What   string `json:"revoked"`
	ID     string `json:"id,omitempty"`
	Before string `json:"before,omitempty"`
	Within int64  `json:"obeyed_within"`

	words string // for people
}

func (a *app) revoke(ctx context.Context, f *revokeFlags) (err error) {
	// Before a store is opened: it may be pasted slowly.
	raw := ""
	if f.token != "" {
		if raw, err = a.readToken(nil); err != nil {
			return err
		}
	}
	store, err := a.openRevocations(ctx, &f.place, f.client != "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	done, entry, err := a.revocation(ctx, f, raw, store)
	if err != nil {
		return err
	}
	done.Within = int64(obeyedWithin / time.Second)
	if f.client == "" { // which the registry has told by now
		if err := store.revocations.Append(ctx, entry); err != nil {
			return fmt.Errorf("%w: it may be revoked or not; do it again", err)
		}
		a.audit(ctx, f.place.scene(), "revoked."+done.What, done.ID, nil, done)
	}
	if f.asJSON {
		return a.printJSON(done)
	}
	fmt.Fprintf(a.stdout, "Revoked in %s: %s\n%s\n", store.where, done.words, obeyed())
	return nil
}

// revocation makes the entry that is asked for; of a client, it does everything.
func (a *app) revocation(ctx context.Context, f *revokeFlags, raw string, store *openedStore) (*revoked, revocation.Entry, error) {
	now := a.now()
	before := f.before.t.UTC().Format(time.RFC3339)
	switch {
	case raw != "":
		return a.revokedToken(ctx, f, raw)
	case f.grant != "":
		return &revoked{What: "grant", ID: f.grant, words: "the grant " + f.grant + ", with all its tokens."}, revocation.Grant(f.grant, now), nil
	case f.client != "":
		r, err := a.registry(&f.place, store).RevokeTokens(ctx, f.client)
		if errors.Is(err, client.ErrNotFound) {
			err = fmt.Errorf("there is no client %s in %s: `latchkey client list` shows those that there are", f.client, store.where)
		}
		if err != nil {
			return nil, revocation.Entry{}, err
		}
		return &revoked{What: "client", ID: r.ID, words: fmt.Sprintf("all tokens of client %s, whose epoch grew to %d. It can sign in again; within the\nfirst %s it may be given tokens that are refused.", r.ID, r.Epoch, inWords(client.RecordTTL))}, revocation.Entry{}, nil
	case f.user != "":
		sub, err := a.subject(ctx, f.user, store)
		if err != nil {
			return nil, revocation.Entry{}, err
		}
		of := plain(f.user)
		if sub != f.user {
			of += ", who is " + sub + ","
		}
		return &revoked{What: "user", ID: sub, Before: before, words: "all tokens of " + of + " of sign-ins before " + before + "."},
			revocation.Subject(sub, f.before.t, now), nil
	case f.issuer != "":
		return &revoked{What: "issuer", ID: f.issuer, Before: before, words: "all tokens of issuer " + plain(f.issuer) + " of sign-ins before " + before + "."},
			revocation.Issuer(f.issuer, f.before.t, now), nil
	case f.key != "":
		if err := f.knownKey(ctx); err != nil {
			return nil, revocation.Entry{}, err
		}
		return &revoked{What: "key", ID: f.key, words: "whatever the key " + f.key + " signs. If that is the key that signs now, sign-ins\nanswer 503 until another one does: `latchkey keys rotate --now` makes one."},
			revocation.SigningKey(f.key, now), nil
	}
	return &revoked{What: "all", Before: before, words: "all tokens of sign-ins before " + before + ". Everybody has to sign in again."},
		revocation.Before(f.before.t, now), nil
}

// subjectPattern is of subjects that no username and no client's id can be.
var subjectPattern = regexp.MustCompile(`^[ux]_`)

// subject returns the sub of tokens for whom the operator names: by a username, or by the sub itself. What is neither is
// refused, where that can be told: it would revoke nothing.
func (a *app) subject(ctx context.Context, named string, store *openedStore) (string, error) {
	if subjectPattern.MatchString(named) {
		return named, nil
	}
	if store.users == nil {
		return "", usagef("%q is no sub of a user: those begin with u_ or x_. To name a user by username takes --users-table (env USERS_TABLE; the stack's output UsersTableName)", plain(named))
	}
	r, err := a.userRegistry(nil, store).Get(ctx, named)
	var invalid *user.InvalidError
	if errors.Is(err, user.ErrNotFound) || errors.As(err, &invalid) {
		return "", fmt.Errorf("there is no user %s: `latchkey user list` shows those that there are; for a client's tokens there is --client", plain(named))
	}
	if err != nil {
		return "", err
	}
	return r.ID, nil
}

// knownKey refuses a slip, where it can be told for one.
func (f *revokeFlags) knownKey(ctx context.Context) error {
	if f.place.revocations != "" {
		return nil
	}
	keys, err := existingLaptopKeys(f.place.dir)
	if err != nil {
		return err
	}
	for _, vault := range []keyring.Vault{keys.access, keys.refresh} {
		d, err := vault.Load(ctx)
		if err != nil {
			return err
		}
		for _, k := range d.Keys {
			if k.ID == f.key {
				return nil
			}
		}
	}
	return fmt.Errorf("there is no key %s in %s: `latchkey keys list` shows those that there are", f.key, f.place.dir)
}

// revokedToken makes the entry of a token.
func (a *app) revokedToken(ctx context.Context, f *revokeFlags, raw string) (*revoked, revocation.Entry, error) {
	refuse := func(format string, args ...any) (*revoked, revocation.Entry, error) {
		return nil, revocation.Entry{}, fmt.Errorf("nothing was revoked: "+format, args...)
	}
	seen := look(raw)
	if seen.header == nil || seen.claims == nil || strings.Count(raw, ".") != 2 {
		return refuse("%s", explainMalformed(&token.InvalidError{Detail: "it can't be read"}, raw))
	}
	var ids struct {
		Token string `json:"jti"`
		Grant string `json:"grant_id"`
	}
	if seen.typ != token.TypeAccess && seen.typ != token.TypeRefresh || json.Unmarshal(seen.claims, &ids) != nil ||
		!grantPattern.MatchString(ids.Grant) || !jtiPattern.MatchString(ids.Token) {
		return refuse("it is no token that Latchkey made")
	}
	unchecked := ""
	if f.place.revocations != "" {
		unchecked = "\nIts signature was not checked."
	} else {
		var bad *token.InvalidError
		if err := a.checkOrigin(ctx, f.place.dir, raw, seen); errors.As(err, &bad) {
			return refuse("the token was altered, or was not signed by a key in %s (%s). If its grant is to end all the same, use --grant with its grant_id, which `latchkey token inspect` shows", f.place.dir, bad.Reason)
		} else if err != nil {
			return nil, revocation.Entry{}, err
		}
	}
	if seen.typ == token.TypeRefresh {
		return &revoked{What: "grant", ID: ids.Grant, words: "the refresh token's grant " + ids.Grant + ", with all its tokens." + unchecked},
			revocation.Grant(ids.Grant, a.now()), nil
	}
	return &revoked{What: "token", ID: ids.Token, words: "the access token " + ids.Token + ". Others of its grant, " + ids.Grant + ", live on." + unchecked},
		revocation.Token(ids.Token, a.now()), nil
}

// checkOrigin returns an *InvalidError for a token that was not made by the laptop's keys.
func (a *app) checkOrigin(ctx context.Context, dir, raw string, seen parts) error {
	keys, err := existingLaptopKeys(dir)
	if err != nil {
		return err
	}
	vault := keys.access
	if seen.typ == token.TypeRefresh {
		vault = keys.refresh
	}
	// The laptop's issuer follows its port: that of the token is as good as another.
	c := token.Config{
		Issuer: cmp.Or(seen.iss, "-"), Keys: keyring.NewSource(keyring.SourceConfig{Load: vault.Load, Now: a.now}), Now: a.now,
	}
	if seen.typ == token.TypeRefresh {
		v, err := token.NewRefreshVerifier(c)
		if err != nil {
			return err
		}
		_, err = v.Authentic(ctx, raw)
		return err
	}
	v, err := token.NewAccessOrigin(c)
	if err != nil {
		return err
	}
	_, err = v.Authentic(ctx, raw)
	return err
}

// instant is a flag's point in time.
type instant struct {
	t        time.Time
	set      bool
	fraction bool // it is not a whole second
}

// Set implements pflag.Value.
func (i *instant) Set(s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() < 0 {
		return errors.New("it must be a time such as 2026-11-23T09:00:00Z")
	}
	*i = instant{t, true, t.Nanosecond() != 0}
	return nil
}

func (i *instant) String() string {
	if !i.set {
		return ""
	}
	return i.t.Format(time.RFC3339)
}

// Type implements pflag.Value; help shows it.
func (i *instant) Type() string { return "time" }
