// Function refresh is POST /oauth2/refresh: a new access token by the strength of a refresh token alone. It links no
// database and takes no client credential.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/collector"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func main() {
	collector.Function(os.LookupEnv)
	counts := metrics.Function(os.LookupEnv)
	log := jsonlog.Function(counts)
	handler, err := newHandler(log, counts)
	if err != nil {
		log.Error("refresh.start_failed", "cause", err.Error())
		os.Exit(1)
	}
	version.Log(log, "refresh.started")
	lambda.Start(handler)
}

func newHandler(log *slog.Logger, counts *metrics.Set) (lambda.Handler, error) {
	c, err := readConfig(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	aws, err := awsenv.Config(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	secrets := secretsmanager.NewFromConfig(aws)

	// No refresh token outlives the longest grant.
	revocations, err := c.revocations.RefreshView(max(c.caps.Grant, c.caps.BearerGrant), log)
	if err != nil {
		return nil, err
	}
	counts.Revocations(feedview.Age(revocations))
	source := func(use keyring.Use, secret string, inKMS bool) *keyring.Source {
		s := keyring.SourceConfig{Load: secretkeys.New(secrets, secret, use).Load, Revoked: revocations.KeyRevoked, Now: clock.Now, Log: log}
		if inKMS {
			s.KMS = kmssigner.Signers(kms.NewFromConfig(aws), counts.Signed)
		}
		return keyring.NewSource(s)
	}
	refreshKeys := source(keyring.UseRefresh, c.refreshKeysSecret, c.refreshKeysInKMS)
	minter := &grant.Minter{
		Issuer: c.issuer, Caps: c.caps, Now: clock.Now,
		AccessKeys:  source(keyring.UseAccess, c.accessKeysSecret, c.accessKeysInKMS),
		RefreshKeys: refreshKeys,
	}
	tokens, err := token.NewRefreshVerifier(token.Config{
		Issuer: c.issuer, AcceptedIssuers: c.acceptedIssuers, Keys: refreshKeys, Revocations: revocations, Now: clock.Now,
	})
	if err != nil {
		return nil, err
	}
	return lambdahttp.Handler(grant.Endpoint{
		Name: "refresh", NoCredentials: true, Log: log, Now: clock.Now,
		URLs: c.addresses(), Proofs: &dpop.Verifier{Nonces: &dpop.Nonces{Keys: refreshKeys, Now: clock.Now}, Now: clock.Now},
		Types: map[string]grant.Type{
			oauth.GrantRefreshToken: &refresh.Type{Tokens: tokens, Minter: minter},
		},
	}.Handler()), nil
}
