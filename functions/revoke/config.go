package main

import (
	"strconv"

	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/pkg/revoke"
)

// config is what the environment says.
type config struct {
	issuer            string
	acceptedIssuers   []string // its other names, while it moves to another domain
	clientsTable      string
	keysTable         string
	revocationsTable  string
	refreshKeysSecret string // Secrets Manager id or ARN
	perDay            int    // what a client may revoke in a day
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	// A key's document says itself where its private half is; a mistake in the mode shows all the same.
	r.OneOf("REFRESH_KEY_MODE", "secretsmanager", "secretsmanager", "kms")
	c := config{
		issuer:            r.Issuer("ISSUER"),
		clientsTable:      r.Required("CLIENTS_TABLE"),
		keysTable:         r.Required("KEYS_TABLE"),
		revocationsTable:  r.Required("REVOCATIONS_TABLE"),
		refreshKeysSecret: r.Required("REFRESH_KEYS_SECRET"),
	}
	c.acceptedIssuers = r.Issuers("ACCEPTED_ISSUERS", c.issuer)
	const perDay = "CLIENT_REVOCATIONS_PER_DAY"
	var err error
	if c.perDay, err = strconv.Atoi(r.Optional(perDay, strconv.Itoa(revoke.PerDay))); err != nil || c.perDay < 100 {
		r.Fail(perDay, "a number of at least 100")
	}
	return c, r.Err()
}
