// Function token is POST /oauth2/token: every grant type, client secrets and users' passwords checked against DynamoDB, and
// assertions by the keys of those who made them.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/collector"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/internal/outbound"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/assertionkeys"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/clientassertion"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/jwtbearer"
	"github.com/latchkey-auth/latchkey/pkg/grant/password"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

func main() {
	collector.Function(os.LookupEnv)
	counts := metrics.Function(os.LookupEnv)
	log := jsonlog.Function(counts)
	handler, err := newHandler(log, counts)
	if err != nil {
		log.Error("token.start_failed", "cause", err.Error())
		os.Exit(1)
	}
	version.Log(log, "token.started")
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
	db := dynamodb.NewFromConfig(aws)
	store, err := dynamostore.NewClients(db, c.clientsTable)
	if err != nil {
		return nil, err
	}
	users, err := dynamostore.NewUsers(db, c.usersTable)
	if err != nil {
		return nil, err
	}
	signIns, err := dynamostore.NewSignIns(db, c.signInsTable)
	if err != nil {
		return nil, err
	}
	issuers, err := dynamostore.NewIssuers(db, c.issuersTable)
	if err != nil {
		return nil, err
	}
	assertions, err := dynamostore.NewAssertions(db, c.assertionsTable)
	if err != nil {
		return nil, err
	}
	grants, err := dynamostore.NewGrants(db, c.grantsTable)
	if err != nil {
		return nil, err
	}
	reused, err := dynamostore.NewRevocations(db, c.revocationsTable)
	if err != nil {
		return nil, err
	}
	reused.Now = clock.Now

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
		Rotations:   &rotating.Grants{Store: grants, Revocations: reused, Now: clock.Now},
		Revocations: revocations,
	}
	tokens, err := token.NewRefreshVerifier(token.Config{
		Issuer: c.issuer, AcceptedIssuers: c.acceptedIssuers, Keys: refreshKeys, Revocations: revocations, Now: clock.Now,
	})
	if err != nil {
		return nil, err
	}
	assertionKeys := assertionkeys.New(outbound.Client(outbound.Config{}), log, clock.Now)
	trusted := &issuer.Verifier{Store: issuers, Keys: assertionKeys, Now: clock.Now}
	clients := &clientassertion.Authenticator{
		Clients: client.NewAuthenticator(store, clock.Now), Keys: assertionKeys, Issuers: trusted, Uses: assertions,
		Issuer: c.issuer, AcceptedIssuers: c.acceptedIssuers, TokenEndpoints: c.addresses(), Now: clock.Now,
	}
	signInKey := func(ctx context.Context) ([]byte, error) { return secretkeys.Value(ctx, secrets, c.signInKeySecret) }
	return lambdahttp.Handler(grant.Endpoint{
		Name: "token", Log: log, Now: clock.Now,
		URLs: c.addresses(), Proofs: &dpop.Verifier{Nonces: &dpop.Nonces{Keys: refreshKeys, Now: clock.Now}, Now: clock.Now},
		Types: map[string]grant.Type{
			oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: minter},
			oauth.GrantRefreshToken:      &refresh.Type{Tokens: tokens, Minter: minter, Clients: clients},
			oauth.GrantJWTBearer: &jwtbearer.Type{
				Clients: clients, Issuers: trusted, Users: users, Uses: assertions, Minter: minter, Now: clock.Now,
			},
			oauth.GrantPassword: &password.Type{Clients: clients, Minter: minter, Users: user.NewAuthenticator(user.AuthenticatorConfig{
				// A sandbox has one request at a time, and little memory where it has more.
				Users: users, Hashes: 1, Waiting: 4, Log: log, Now: clock.Now,
				Backoff: &backoff.Limiter{Store: signIns, Key: signInKey, Now: clock.Now},
			})},
		},
	}.Handler()), nil
}
