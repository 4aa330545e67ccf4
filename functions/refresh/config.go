package main

import (
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// config is what the environment says.
type config struct {
	issuer            string
	acceptedIssuers   []string // its other names, while it moves to another domain
	mtlsOrigin        string   // where the endpoint is reached by mutual TLS; empty: nowhere
	accessKeysSecret  string   // Secrets Manager id or ARN
	refreshKeysSecret string
	accessKeysInKMS   bool
	refreshKeysInKMS  bool
	caps              grant.Caps
	revocations       feedview.Config
}

// addresses are those of the endpoint, which DPoP proofs are made for. All names of the issuer lead here.
func (c *config) addresses() []string {
	urls := []string{c.issuer + oauth.PathRefresh}
	for _, other := range c.acceptedIssuers {
		urls = append(urls, other+oauth.PathRefresh)
	}
	if c.mtlsOrigin != "" {
		urls = append(urls, c.mtlsOrigin+oauth.PathRefresh)
	}
	return urls
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	inKMS := func(name string) bool { return r.OneOf(name, "secretsmanager", "secretsmanager", "kms") == "kms" }
	const day = 24 * time.Hour
	c := config{
		issuer:            r.Issuer("ISSUER"),
		mtlsOrigin:        r.Origin("MTLS_ORIGIN"),
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
	c.acceptedIssuers = r.Issuers("ACCEPTED_ISSUERS", c.issuer)
	c.revocations = feedview.Read(&r, c.issuer)
	return c, r.Err()
}
