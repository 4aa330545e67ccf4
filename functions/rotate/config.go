package main

import (
	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// config is what the environment says.
type config struct {
	accessKeysSecret  string // Secrets Manager id or ARN
	refreshKeysSecret string
	keysTable         string
	access, refresh   newKey
	allowHTTP         bool
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	c := config{
		accessKeysSecret:  r.Required("ACCESS_KEYS_SECRET"),
		refreshKeysSecret: r.Required("REFRESH_KEYS_SECRET"),
		keysTable:         r.Required("KEYS_TABLE"),
		allowHTTP:         r.AllowHTTP(),
	}
	if c.accessKeysSecret != "" && c.accessKeysSecret == c.refreshKeysSecret {
		r.Fail("REFRESH_KEYS_SECRET", "it must be another secret than ACCESS_KEYS_SECRET")
	}
	algorithm := r.OneOf("ACCESS_KEY_ALGORITHM", "ES256", "ES256", "RS256", "EdDSA")
	c.access = readKey(&r, "ACCESS_KEY_MODE", "ACCESS_KMS_KEY", keyring.Algorithm(algorithm))
	if c.access.inKMS && c.access.algorithm == keyring.EdDSA {
		r.Fail("ACCESS_KEY_ALGORITHM", "with ACCESS_KEY_MODE kms it must be ES256 or RS256")
	}
	c.refresh = readKey(&r, "REFRESH_KEY_MODE", "REFRESH_KMS_KEY", keyring.HS256)
	if c.refresh.inKMS {
		// Nobody but the issuer verifies refresh tokens, and KMS signs ECDSA faster than RSA.
		c.refresh.algorithm = keyring.ES256
	}
	return c, r.Err()
}

// readKey reads where a ring's new keys are to be. The KMS key is required in that mode, and without meaning in the other.
func readKey(r *env.Reader, mode, kmsKey string, algorithm keyring.Algorithm) newKey {
	k := newKey{algorithm: algorithm}
	if r.OneOf(mode, "secretsmanager", "secretsmanager", "kms") == "kms" {
		k.inKMS = true
		if k.kmsKey = r.Optional(kmsKey, ""); k.kmsKey == "" {
			r.Fail(kmsKey, "with "+mode+" kms it must be the id or ARN of a KMS key")
		}
	}
	return k
}
