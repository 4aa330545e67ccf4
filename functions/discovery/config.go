package main

import "github.com/latchkey-auth/latchkey/internal/env"

// config is what the environment says.
type config struct {
	issuer    string
	keysTable string
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	c := config{issuer: r.Issuer("ISSUER"), keysTable: r.Required("KEYS_TABLE")}
	return c, r.Err()
}
