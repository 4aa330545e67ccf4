// Function revoke is POST /oauth2/revoke: a client ends its own tokens. It verifies access tokens by the public keys, and
// holds the refresh keys, since whoever can check an HMAC can make one; the access keys are out of its reach.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/revoke"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func main() {
	counts := metrics.Function(os.LookupEnv)
	log := jsonlog.Function(counts)
	handler, err := newHandler(os.LookupEnv, log)
	if err != nil {
		log.Error("revoke.start_failed", "cause", err.Error())
		os.Exit(1)
	}
	version.Log(log, "revoke.started")
	lambda.Start(handler)
}

func newHandler(lookup func(string) (string, bool), log *slog.Logger) (lambda.Handler, error) {
	c, err := readConfig(lookup)
	if err != nil {
		return nil, err
	}
	aws, err := awsenv.Config(lookup)
	if err != nil {
		return nil, err
	}
	store, err := dynamostore.New(dynamodb.NewFromConfig(aws), dynamostore.Tables{
		Clients: c.clientsTable, Keys: c.keysTable, Revocations: c.revocationsTable,
	})
	if err != nil {
		return nil, err
	}
	store.RevocationStore.Now = clock.Now

	// Nothing is signed here: where the refresh keys are in KMS, the document's public halves suffice.
	refreshKeys := keyring.NewSource(keyring.SourceConfig{
		Load: secretkeys.New(secretsmanager.NewFromConfig(aws), c.refreshKeysSecret, keyring.UseRefresh).Load, Now: clock.Now, Log: log,
	})
	refresh, err := token.NewRefreshVerifier(token.Config{Issuer: c.issuer, AcceptedIssuers: c.acceptedIssuers, Keys: refreshKeys, Now: clock.Now})
	if err != nil {
		return nil, err
	}
	accessKeys := keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: store, Now: clock.Now, Log: log})
	access, err := token.NewAccessOrigin(token.Config{Issuer: c.issuer, AcceptedIssuers: c.acceptedIssuers, Keys: accessKeys, Now: clock.Now})
	if err != nil {
		return nil, err
	}
	return lambdahttp.Handler(revoke.Endpoint{
		Clients: client.NewAuthenticator(store, clock.Now), Refresh: refresh, Access: access, Revocations: store,
		Quota: store, PerDay: c.perDay, Log: log, Now: clock.Now,
	}.Handler()), nil
}
