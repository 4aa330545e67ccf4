package main

import (
	"context"
	"log/slog"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
)

// keys is a ring as the function works on it.
type keys struct {
	use     keyring.Use
	vault   *secretkeys.Vault
	rotator *keyring.Rotator
	// first makes the ring's first key.
	first func(ctx context.Context, from time.Time) (keyring.Key, error)
	kms   func(keyring.Key) (keyring.Signer, error)
}

func newKeys(c ring, secrets *secretsmanager.Client, client *kms.Client, r keyring.Rotator) *keys {
	k := &keys{use: c.use, vault: secretkeys.New(secrets, c.secret, c.use), kms: kmssigner.Signers(client, nil)}
	r.Vault, r.Schedule = k.vault, c.schedule
	// Keys that a deployment made before its mode was changed are given up as they were made.
	keeper := &kmssigner.Keeper{Client: client, Name: c.kmsName, Algorithm: c.algorithm, Foreign: c.kmsKey}
	r.Retire = keeper.Retire
	r.NewKey = keeper.NewKey
	if !c.inKMS {
		r.NewKey = func(_ context.Context, _ string, from time.Time) (keyring.Key, error) {
			return keyring.Generate(c.algorithm, from)
		}
	}
	k.first = func(ctx context.Context, from time.Time) (keyring.Key, error) {
		if c.inKMS && c.kmsKey != "" {
			return kmssigner.NewKey(ctx, client, c.kmsKey, c.algorithm, from)
		}
		return r.NewKey(ctx, firstOf(c.secret), from)
	}
	k.rotator = &r
	return k
}

var notInAlias = regexp.MustCompile(`^.*:|[^A-Za-z0-9_-]`)

// firstOf stands for the predecessor of a secret's first key, which another secret's must not be.
func firstOf(secret string) string { return "first-of-" + notInAlias.ReplaceAllString(secret, "") }

// summary says what an invocation did. True is made or written now, false was there already.
type summary struct {
	AccessKeys  bool `json:"access_keys_made"`
	RefreshKeys bool `json:"refresh_keys_made"`
	PublicKeys  bool `json:"public_keys_written"`
}

// firstKeys makes the keys that are missing and logs the outcome.
func firstKeys(first *keyring.First, log *slog.Logger) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		start := time.Now()
		made, err := first.Make(ctx)
		done := []any{
			"access_keys_made", made.Access, "refresh_keys_made", made.Refresh, "public_keys_written", made.Public,
			"latency_ms", time.Since(start).Milliseconds(),
		}
		if err != nil || made.Access || made.Refresh || made.Public {
			done = append(done, "stream", oauth.StreamAudit)
		}
		if err != nil {
			log.ErrorContext(ctx, "keys.init_failed", append(done, "cause", err.Error())...)
			return nil, err
		}
		log.InfoContext(ctx, "keys.init", done...)
		return summary{made.Access, made.Refresh, made.Public}, nil
	}
}
