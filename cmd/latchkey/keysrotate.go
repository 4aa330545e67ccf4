package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// rotateFlags are the flags of `latchkey keys rotate`, besides those of all key commands.
type rotateFlags struct {
	ring              choice
	now               bool
	kmsName           string
	accessCap, grants time.Duration
	lead, staleness   time.Duration
}

func (a *app) keysRotate(f *keysFlags) *cobra.Command {
	r := rotateFlags{ring: choice{value: "both", allowed: []string{"access", "refresh", "both"}}}
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make new keys, before they are due or at once",
		Long: `Makes a new key of the same kind for each ring, before it is due: a deployment does so by itself every 90 days. The new key
is published now and signs later; the old one is taken until its last token has ended, so that no token is refused for it.
While a new key is pending, nothing is done.

With --now, for when a key may be in wrong hands: the keys of now are revoked for good in the feed, and new ones sign at once.
All tokens that they signed end, and with refresh keys all sign-ins until a minute from now (--max-staleness and some more):
those are answered 503. A new key in KMS may take minutes until it can be used, which is waited for. Verifiers that don't read the
feed, as API Gateway's native JWT authorizers, may take such access tokens for two hours more, or until those expire.

On AWS it takes the secret of each ring, --keys-table for access keys, and --revocations-table with --now. The caps must be
those of the deployment: by them it follows when a key has no token left.

With --json: an object with access and refresh, of each made (the new key's id, empty where none was made).`,
		Example: `  latchkey keys rotate --ring access
  latchkey keys rotate --now`,
		Args: noArgs,
		RunE: a.action(func(ctx context.Context, _ []string) error {
			if err := a.keysEnvironment(f); err != nil {
				return err
			}
			return a.rotateKeys(ctx, f, &r)
		}),
	}
	fl := cmd.Flags()
	fl.Var(&r.ring, "ring", "which keys: access, refresh or both")
	fl.BoolVar(&r.now, "now", false, "revoke the keys of now, in an emergency")
	fl.StringVar(&r.kmsName, "kms-key-name", cmp.Or(a.env("KMS_KEY_NAME"), "latchkey"), "`name` by which KMS keys are tagged: the stack's (env KMS_KEY_NAME)")
	fl.DurationVar(&r.accessCap, "max-access-token-lifetime", grant.DefaultAccessCap, "the deployment's `cap`")
	fl.DurationVar(&r.grants, "max-grant-lifetime", grant.DefaultGrantCap, "the deployment's `cap`")
	fl.DurationVar(&r.lead, "publish-lead", keyring.DefaultAccessLead, "how long an access key is published before it signs, as a `duration`; at least 2h25m")
	fl.DurationVar(&r.staleness, "max-staleness", revocation.MaxStaleness, "the deployment's MaxStaleness, with --now, as a `duration`")
	a.addRevocationsFlag(fl, &f.place)
	return cmd
}

func (a *app) rotateKeys(ctx context.Context, f *keysFlags, r *rotateFlags) (err error) {
	if r.lead < keyring.MinAccessLead {
		return usagef("--publish-lead is %s: verifiers keep a JWKS for two hours, so it must be at least %s", inWords(r.lead), inWords(keyring.MinAccessLead))
	}
	open := a.rotatorsOnLaptop
	if f.aws() {
		open = a.rotatorsOnAWS
	}
	rotators, closeAll, err := open(ctx, f, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	answer := map[keyring.Use]map[string]string{}
	// Refresh keys first: with theirs, a thief makes access tokens by any access key.
	for _, use := range []keyring.Use{keyring.UseRefresh, keyring.UseAccess} {
		rotator := rotators[use]
		if rotator == nil {
			continue
		}
		rotator.Now = a.now
		run := func(ctx context.Context) (keyring.Rotated, error) { return rotator.Run(ctx, true) }
		if r.now {
			run = rotator.Emergency
		}
		p := a.progress()
		p.say("making a new %s key; in KMS it may take minutes until it can be used …", use)
		done, failed := run(ctx)
		p.clear()
		if failed != nil {
			// In an emergency the other ring's keys can be in wrong hands all the same.
			err = errors.Join(err, fmt.Errorf("%s keys: %w", use, failed))
			continue
		}
		answer[use] = map[string]string{"made": done.Made}
		if done.Made != "" {
			a.audit(ctx, f.scene(), map[bool]string{true: "keys.replaced", false: "keys.rotated"}[r.now], done.Made, nil, map[string]any{"use": use})
		}
		if f.asJSON {
			continue
		}
		switch {
		case done.Made == "" && r.now:
			fmt.Fprintf(a.stdout, "The %s keys were revoked and replaced a moment ago; nothing was done.\n", use)
		case done.Made == "":
			fmt.Fprintf(a.stdout, "A new %s key is pending already; nothing was done.\n", use)
		case r.now:
			fmt.Fprintf(a.stdout, "Revoked the %s keys. The new one is %s, and signs from now on.\n", use, done.Made)
		default:
			fmt.Fprintf(a.stdout, "Made %s key %s. It signs from %s on.\n", use, done.Made, stamp(a.now().Add(rotator.Schedule.Lead).Unix()))
		}
	}
	if len(answer) == 0 {
		return err
	}
	if f.asJSON {
		return errors.Join(err, a.printJSON(answer))
	}
	if r.now {
		fmt.Fprintln(a.stdout, obeyed())
	}
	return err
}

// rotators has one for each ring that is meant.
type rotators map[keyring.Use]*keyring.Rotator

func (r *rotateFlags) rotators(access, refresh keyring.Vault, public keyring.PublicStore, revocations revocation.Appender) rotators {
	all := rotators{}
	if r.ring.value != string(keyring.UseRefresh) {
		all[keyring.UseAccess] = &keyring.Rotator{
			Vault: access, Public: public, Revocations: revocations,
			Schedule: keyring.Schedule{Lead: r.lead, Period: keyring.DefaultPeriod, Cap: r.accessCap},
		}
	}
	if r.ring.value != string(keyring.UseAccess) {
		all[keyring.UseRefresh] = &keyring.Rotator{
			Vault: refresh, Revocations: revocations,
			Schedule: keyring.Schedule{Lead: keyring.RefreshLead, Period: keyring.DefaultPeriod, Cap: r.grants},
		}
	}
	for _, one := range all {
		one.NewKey, one.MaxStaleness = likeTheLast(one.Vault, nil), r.staleness
	}
	return all
}

// likeTheLast makes keys of the kind that the ring's last one is.
func likeTheLast(v keyring.Vault, inKMS func(keyring.Algorithm) *kmssigner.Keeper) func(context.Context, string, time.Time) (keyring.Key, error) {
	return func(ctx context.Context, after string, from time.Time) (keyring.Key, error) {
		d, err := v.Load(ctx)
		if err != nil {
			return keyring.Key{}, err
		}
		last := d.Keys[len(d.Keys)-1]
		if last.KMSKey == "" {
			return keyring.Generate(last.Algorithm, from)
		}
		if inKMS == nil {
			return keyring.Key{}, fmt.Errorf("%v is in KMS", last)
		}
		return inKMS(last.Algorithm).NewKey(ctx, after, from)
	}
}

func (a *app) rotatorsOnLaptop(_ context.Context, f *keysFlags, r *rotateFlags) (rotators, func() error, error) {
	keys, err := existingLaptopKeys(f.place.dir)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(filepath.Join(f.place.dir, storeFile)); errors.Is(err, fs.ErrNotExist) && !r.now {
		// `latchkey dev` has not run yet, and publishes what it finds.
		return r.rotators(keys.access, keys.refresh, keys, nil), func() error { return nil }, nil
	}
	store, err := openLaptop(&f.place)
	if err != nil {
		return nil, nil, err
	}
	public, ok := store.Store.(keyring.PublicStore)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("%s holds no public keys", store.where), store.close())
	}
	return r.rotators(keys.access, keys.refresh, public, store.revocations), store.close, nil
}

func (a *app) rotatorsOnAWS(ctx context.Context, f *keysFlags, r *rotateFlags) (rotators, func() error, error) {
	f.place.revocations = cmp.Or(f.place.revocations, a.env("REVOCATIONS_TABLE"))
	switch {
	case r.ring.value != "refresh" && (f.accessSecret == "" || f.public == ""):
		return nil, nil, usagef("on AWS access keys take --access-secret and --keys-table")
	case r.ring.value != "access" && f.refreshSecret == "":
		return nil, nil, usagef("on AWS refresh keys take --refresh-secret")
	case r.now && f.place.revocations == "":
		return nil, nil, usagef("on AWS --now takes --revocations-table, for the feed is told first")
	}
	k, err := openAWSKeys(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	closeAll := func() error { return nil }
	var revocations revocation.Appender
	if r.now {
		store, err := openTables(ctx, &f.place)
		if err != nil {
			return nil, nil, err
		}
		revocations, closeAll = store.revocations, store.close
	}
	all := r.rotators(k.access, k.refresh, k.public, revocations)
	client := kms.NewFromConfig(k.cfg)
	for use, one := range all {
		one.NewKey = likeTheLast(one.Vault, func(alg keyring.Algorithm) *kmssigner.Keeper {
			return &kmssigner.Keeper{Client: client, Name: r.kmsName + "/" + string(use), Algorithm: alg}
		})
		// What has ended stays for the deployment's own run: it knows which KMS keys are its to delete.
		one.Retire = func(_ context.Context, k keyring.Key) error {
			if k.KMSKey != "" {
				return errors.New("left for the rotate function")
			}
			return nil
		}
	}
	return all, closeAll, nil
}
