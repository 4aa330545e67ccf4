package main

import "github.com/latchkey-auth/latchkey/internal/env"

// config is what the environment says.
type config struct {
	issuer            string
	clientsTable      string
	keysTable         string
	revocationsTable  string
	refreshKeysSecret string // Secrets Manager id or ARN
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
	return c, r.Err()
}
