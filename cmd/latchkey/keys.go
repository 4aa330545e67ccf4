package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

const keysHelp = `Signing keys: those of access tokens, whose public halves are published as a JWKS, and those of refresh tokens, which are
never published. They are in --dir on the laptop. On AWS the private ones are in two secrets of Secrets Manager (or in KMS,
the secrets naming the KMS keys), the public ones in a DynamoDB table; credentials and the region come from the usual places.

Private halves are never shown.`

// keysFlags are those of all key commands.
type keysFlags struct {
	place                               place
	accessSecret, refreshSecret, public string // on AWS
	asJSON                              bool
}

func (f *keysFlags) aws() bool {
	return f.accessSecret != "" || f.refreshSecret != "" || f.public != ""
}

func (a *app) keysCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "keys", Short: "Make, list and rotate signing keys", Long: keysHelp})
	var f keysFlags
	fl := cmd.PersistentFlags()
	a.addDirFlag(fl, &f.place)
	fl.StringVar(&f.accessSecret, "access-secret", "", "Secrets Manager `name` or ARN of the access keys (env ACCESS_KEYS_SECRET)")
	fl.StringVar(&f.refreshSecret, "refresh-secret", "", "Secrets Manager `name` or ARN of the refresh keys (env REFRESH_KEYS_SECRET)")
	fl.StringVar(&f.public, "keys-table", "", "DynamoDB `table` of the public keys (env KEYS_TABLE)")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.AddCommand(a.keysInit(&f), a.keysList(&f), a.keysRotate(&f))
	return cmd
}

// keysEnvironment fills in what is not on the command line; --dir there means the laptop.
func (a *app) keysEnvironment(f *keysFlags) error {
	given := f.aws()
	if given && f.place.dirGiven() {
		return usagef("--dir is the laptop's, and --access-secret, --refresh-secret and --keys-table are AWS's: give either")
	}
	if f.place.dirGiven() {
		return nil
	}
	for _, v := range []struct {
		to   *string
		name string
	}{{&f.accessSecret, "ACCESS_KEYS_SECRET"}, {&f.refreshSecret, "REFRESH_KEYS_SECRET"}, {&f.public, "KEYS_TABLE"}} {
		if *v.to == "" {
			*v.to = a.env(v.name)
		}
	}
	return nil
}

func (a *app) keysInit(f *keysFlags) *cobra.Command {
	algorithm := choice{value: string(keyring.ES256), allowed: []string{string(keyring.ES256), string(keyring.RS256), string(keyring.EdDSA)}}
	var accessKMS, refreshKMS string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the first keys, where there are none",
		Long: `Makes the first keys, and leaves those that are there: it can be run again at any time. "latchkey dev" and a deployment
of the template do this by themselves.

On AWS it takes all of --access-secret, --refresh-secret and --keys-table, all of which must exist. It needs
secretsmanager:GetSecretValue, PutSecretValue and UpdateSecretVersionStage, dynamodb:GetItem and PutItem, and with KMS keys
kms:GetPublicKey.`,
		Example: `  latchkey keys init
  latchkey keys init --access-secret latchkey-access --refresh-secret latchkey-refresh --keys-table latchkey-keys --algorithm RS256`,
		Args: noArgs,
		RunE: a.action(func(ctx context.Context, _ []string) error {
			if err := a.keysEnvironment(f); err != nil {
				return err
			}
			var made keyring.Made
			var err error
			if f.aws() {
				made, err = initAWS(ctx, f, keyring.Algorithm(algorithm.value), accessKMS, refreshKMS, a.now)
			} else if accessKMS != "" || refreshKMS != "" {
				return usagef("KMS keys go with --access-secret, --refresh-secret and --keys-table")
			} else {
				made, err = a.initLaptop(ctx, f.place.dir, keyring.Algorithm(algorithm.value))
			}
			if err != nil {
				return err
			}
			for use, did := range map[keyring.Use]bool{keyring.UseAccess: made.Access, keyring.UseRefresh: made.Refresh} {
				if did {
					a.audit(ctx, f.scene(), "keys.created", string(use), nil, map[string]any{"use": use})
				}
			}
			return a.printMade(f, made)
		}),
	}
	cmd.Flags().Var(&algorithm, "algorithm", "of a first access key: ES256, RS256 or EdDSA")
	cmd.Flags().StringVar(&accessKMS, "access-kms-key", "", "KMS `key` (id or ARN) that is to sign access tokens; its kind must suit --algorithm")
	cmd.Flags().StringVar(&refreshKMS, "refresh-kms-key", "", "KMS `key` (id or ARN) that is to sign refresh tokens, ECC_NIST_P256; without it they are\nsigned with HMAC-SHA-256 by a key in the secret")
	return cmd
}

func (a *app) printMade(f *keysFlags, made keyring.Made) error {
	if f.asJSON {
		return a.printJSON(struct {
			Access  bool `json:"access_created"`
			Refresh bool `json:"refresh_created"`
			Public  bool `json:"public_written"`
		}{made.Access, made.Refresh, made.Public})
	}
	say := func(did bool, yes, no string) {
		if did {
			fmt.Fprintln(a.stdout, yes)
		} else {
			fmt.Fprintln(a.stdout, no)
		}
	}
	say(made.Access, "Made the first access key.", "There are access keys already; they were left as they are.")
	say(made.Refresh, "Made the first refresh key.", "There are refresh keys already; they were left as they are.")
	if f.aws() {
		say(made.Public, "Published the public half.", "The public halves are published already.")
	}
	return nil
}

// keyInfo is a key as it is listed. Its JSON is a promise to scripts.
type keyInfo struct {
	ID          string            `json:"kid"`
	Algorithm   keyring.Algorithm `json:"alg"`
	Use         keyring.Use       `json:"use"`
	State       keyring.State     `json:"state"`
	InKMS       bool              `json:"in_kms,omitempty"`
	Published   string            `json:"published"`
	SignsFrom   string            `json:"signs_from"`
	VerifyUntil string            `json:"verify_until,omitempty"`
}

func (a *app) keysList(f *keysFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keys and what each does by now",
		Long: `Lists the keys. By the clock each of them is
  pending    published, and to sign later
  signing    the one that signs
  verifying  not signing any more; tokens that it signed are taken
  retired    of no use any more

On AWS --keys-table lists the access keys by their public halves, which needs dynamodb:GetItem alone. --access-secret and
--refresh-secret list what is in the secrets.

With --json: an array of objects with kid, alg, use (access or refresh), state, in_kms where it is true, published,
signs_from and, where an end is set, verify_until (RFC 3339).`,
		Args: noArgs,
		RunE: a.action(func(ctx context.Context, _ []string) error {
			if err := a.keysEnvironment(f); err != nil {
				return err
			}
			list, err := a.readKeys(ctx, f)
			if err != nil {
				return err
			}
			if f.asJSON {
				return a.printJSON(list)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "USE\tSTATE\tALG\tSIGNS FROM\tVERIFIES UNTIL\tKID")
			for _, k := range list {
				where := ""
				if k.InKMS {
					where = " (in KMS)"
				}
				until := "no end set"
				if k.VerifyUntil != "" {
					until = k.VerifyUntil
				}
				fmt.Fprintf(w, "%s\t%s\t%s%s\t%s\t%s\t%s\n", k.Use, k.State, k.Algorithm, where, k.SignsFrom, until, k.ID)
			}
			return w.Flush()
		}),
	}
}

// readKeys reads what there is in the places named.
func (a *app) readKeys(ctx context.Context, f *keysFlags) ([]keyInfo, error) {
	list := []keyInfo{}
	now := a.now()
	private := func(v keyring.Vault, what string) error {
		d, err := v.Load(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		for i, state := range keyring.States(d.Keys, now) {
			k := d.Keys[i]
			list = append(list, newKeyInfo(k.ID, k.Algorithm, d.Use, k.Times, state, k.KMSKey != ""))
		}
		return nil
	}
	if !f.aws() {
		keys, err := existingLaptopKeys(f.place.dir)
		if err != nil {
			return nil, err
		}
		return list, errors.Join(private(keys.access, "access keys"), private(keys.refresh, "refresh keys"))
	}
	vaults, err := openAWSKeys(ctx, f)
	if err != nil {
		return nil, err
	}
	if vaults.access != nil {
		if err := private(vaults.access, "access keys"); err != nil {
			return nil, err
		}
	} else if vaults.public != nil {
		d, _, err := vaults.public.PublicKeys(ctx)
		if err != nil {
			return nil, fmt.Errorf("public keys: %w", err)
		}
		for i, state := range keyring.States(d.Keys, now) {
			k := d.Keys[i]
			list = append(list, newKeyInfo(k.JWK.ID, k.JWK.Algorithm, keyring.UseAccess, k.Times, state, false))
		}
	}
	if vaults.refresh != nil {
		if err := private(vaults.refresh, "refresh keys"); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func newKeyInfo(id string, alg keyring.Algorithm, use keyring.Use, t keyring.Times, state keyring.State, inKMS bool) keyInfo {
	return keyInfo{
		ID: id, Algorithm: alg, Use: use, State: state, InKMS: inKMS,
		Published: stamp(t.Published), SignsFrom: stamp(t.SignsFrom), VerifyUntil: stamp(t.VerifyUntil),
	}
}

// laptopJWKS is what the laptop's discovery would serve.
func (a *app) laptopJWKS(ctx context.Context, p *place) ([]byte, error) {
	keys, err := existingLaptopKeys(p.dir)
	if err != nil {
		return nil, err
	}
	d, _, err := keys.PublicKeys(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(d.JWKS(a.now()))
}

// choice is a flag's value that is one of a few.
type choice struct {
	value   string
	allowed []string
}

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	for _, one := range c.allowed {
		if s == one {
			c.value = s
			return nil
		}
	}
	last := len(c.allowed) - 1
	return fmt.Errorf("it must be %s or %s", strings.Join(c.allowed[:last], ", "), c.allowed[last])
}

func (c *choice) String() string { return c.value }

// Type implements pflag.Value; help shows it.
func (c *choice) Type() string { return "name" }
