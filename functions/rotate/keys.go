package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
)

// newKey says what a ring's new keys are.
type newKey struct {
	algorithm keyring.Algorithm
	inKMS     bool   // else they are of our own making
	kmsKey    string // id or ARN, with inKMS
}

// maker returns what keyring.First makes keys by.
func (k newKey) maker(client *kms.Client) func(context.Context, time.Time) (keyring.Key, error) {
	return func(ctx context.Context, from time.Time) (keyring.Key, error) {
		if k.inKMS {
			return kmssigner.NewKey(ctx, client, k.kmsKey, k.algorithm, from)
		}
		return keyring.Generate(k.algorithm, from)
	}
}

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
		if err != nil {
			log.ErrorContext(ctx, "keys.init_failed", append(done, "cause", err.Error())...)
			return nil, err
		}
		log.InfoContext(ctx, "keys.init", done...)
		return summary{made.Access, made.Refresh, made.Public}, nil
	}
}
