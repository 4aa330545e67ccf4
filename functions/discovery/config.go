package main

import (
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
)

// config is what the environment says.
type config struct {
	issuer           string
	mtlsOrigin       string // where the token endpoints are reached by mutual TLS; empty: nowhere
	keysTable        string
	revocationsTable string
	feedWindow       time.Duration // how far back the feed goes
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	const day = 24 * time.Hour
	c := config{
		issuer: r.Issuer("ISSUER"), mtlsOrigin: r.Origin("MTLS_ORIGIN"), keysTable: r.Required("KEYS_TABLE"), revocationsTable: r.Required("REVOCATIONS_TABLE"),
		// No token lives longer than the longest grant, and what readers add (their staleness, a day at most, and margins).
		feedWindow: 25*time.Hour + max(
			r.Duration("MAX_GRANT_LIFETIME", 30*day, time.Minute, 365*day),
			r.Duration("MAX_BEARER_GRANT_LIFETIME", day, time.Minute, 365*day),
		),
	}
	return c, r.Err()
}
