package main

import (
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/internal/feedview"
)

// config is what the environment says.
type config struct {
	issuer          string
	acceptedIssuers []string // its other names, while it moves to another domain
	clientsTable    string
	keysTable       string
	accessCap       time.Duration // the deployment's, as the issuer has it
	revocations     feedview.Config
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	c := config{
		issuer:       r.Issuer("ISSUER"),
		clientsTable: r.Required("CLIENTS_TABLE"),
		keysTable:    r.Required("KEYS_TABLE"),
		accessCap:    r.Duration("MAX_ACCESS_TOKEN_LIFETIME", time.Hour, time.Minute, 24*time.Hour),
	}
	c.acceptedIssuers = r.Issuers("ACCEPTED_ISSUERS", c.issuer)
	c.revocations = feedview.Read(&r, c.issuer)
	return c, r.Err()
}
