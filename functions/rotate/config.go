package main

import (
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// The caps where no others are chosen, as in pkg/grant, which rotate need not link.
const (
	defaultAccessCap      = time.Hour
	defaultGrantCap       = 720 * time.Hour
	defaultBearerGrantCap = 24 * time.Hour
)

// config is what the environment says.
type config struct {
	keysTable        string
	revocationsTable string
	access, refresh  ring
	maxStaleness     time.Duration // of the issuers' copies of the revocations
	allowHTTP        bool
}

// ring is what is said of one ring.
type ring struct {
	use       keyring.Use
	secret    string // Secrets Manager id or ARN
	algorithm keyring.Algorithm
	inKMS     bool   // else keys are of our own making
	kmsKey    string // id or ARN of a first key that is there already, with inKMS; empty: it is made
	kmsName   string // what KMS keys that we make are called after, with inKMS
	schedule  keyring.Schedule
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	const day = 24 * time.Hour
	c := config{
		keysTable:        r.Required("KEYS_TABLE"),
		revocationsTable: r.Required("REVOCATIONS_TABLE"),
		maxStaleness:     r.Duration("MAX_STALENESS", revocation.MaxStaleness, time.Second, day),
		allowHTTP:        r.AllowHTTP(),
	}
	algorithm := r.OneOf("ACCESS_KEY_ALGORITHM", "ES256", "ES256", "RS256", "EdDSA")
	c.access = readRing(&r, keyring.UseAccess, "ACCESS", keyring.Algorithm(algorithm))
	c.refresh = readRing(&r, keyring.UseRefresh, "REFRESH", keyring.HS256)
	if c.access.secret != "" && c.access.secret == c.refresh.secret {
		r.Fail("REFRESH_KEYS_SECRET", "it must be another secret than ACCESS_KEYS_SECRET")
	}
	if c.access.inKMS && c.access.algorithm == keyring.EdDSA {
		r.Fail("ACCESS_KEY_ALGORITHM", "with ACCESS_KEY_MODE kms it must be ES256 or RS256")
	}
	if c.refresh.inKMS {
		// Nobody but the issuer verifies refresh tokens, and KMS signs ECDSA faster than RSA.
		c.refresh.algorithm = keyring.ES256
	}
	period := r.Duration("KEY_ROTATION_PERIOD", keyring.DefaultPeriod, day, 5*365*day)
	c.access.schedule = keyring.Schedule{
		Lead:   r.Duration("KEY_PUBLISH_LEAD", keyring.DefaultAccessLead, keyring.MinAccessLead, 30*day),
		Period: period,
		Cap:    r.Duration("MAX_ACCESS_TOKEN_LIFETIME", defaultAccessCap, time.Minute, day),
	}
	c.refresh.schedule = keyring.Schedule{
		Lead:   keyring.RefreshLead,
		Period: period,
		Cap: max(r.Duration("MAX_GRANT_LIFETIME", defaultGrantCap, time.Minute, 365*day),
			r.Duration("MAX_BEARER_GRANT_LIFETIME", defaultBearerGrantCap, time.Minute, 365*day)),
	}
	return c, r.Err()
}

func readRing(r *env.Reader, use keyring.Use, prefix string, algorithm keyring.Algorithm) ring {
	return ring{
		use:       use,
		secret:    r.Required(prefix + "_KEYS_SECRET"),
		algorithm: algorithm,
		inKMS:     r.OneOf(prefix+"_KEY_MODE", "secretsmanager", "secretsmanager", "kms") == "kms",
		kmsKey:    r.Optional(prefix+"_KMS_KEY", ""),
		kmsName:   r.Optional("KMS_KEY_NAME", "latchkey") + "/" + string(use),
	}
}
