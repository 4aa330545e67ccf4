package main

import (
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/pkg/grant"
)

// config is what the environment says.
type config struct {
	issuer            string
	accessKeysSecret  string // Secrets Manager id or ARN
	refreshKeysSecret string
	accessKeysInKMS   bool
	refreshKeysInKMS  bool
	caps              grant.Caps
	revocations       feedview.Config
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	inKMS := func(name string) bool { return r.OneOf(name, "secretsmanager", "secretsmanager", "kms") == "kms" }
	const day = 24 * time.Hour
	c := config{
		issuer:            r.Issuer("ISSUER"),
		accessKeysSecret:  r.Required("ACCESS_KEYS_SECRET"),
		refreshKeysSecret: r.Required("REFRESH_KEYS_SECRET"),
		accessKeysInKMS:   inKMS("ACCESS_KEY_MODE"),
		refreshKeysInKMS:  inKMS("REFRESH_KEY_MODE"),
		caps: grant.Caps{
			Access:      r.Duration("MAX_ACCESS_TOKEN_LIFETIME", grant.DefaultAccessCap, time.Minute, day),
			Grant:       r.Duration("MAX_GRANT_LIFETIME", grant.DefaultGrantCap, time.Minute, 365*day),
			BearerGrant: r.Duration("MAX_BEARER_GRANT_LIFETIME", grant.DefaultBearerGrantCap, time.Minute, 365*day),
		},
	}
	c.revocations = feedview.Read(&r, c.issuer)
	return c, r.Err()
}
