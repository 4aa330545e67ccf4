// Function introspect is POST /oauth2/introspect: what an access token is worth now, for resource servers that can't
// verify it themselves. It knows the public keys alone.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/introspect"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func main() {
	counts := metrics.Function(os.LookupEnv)
	log := jsonlog.Function(counts)
	handler, err := newHandler(os.LookupEnv, log, counts)
	if err != nil {
		log.Error("introspect.start_failed", "cause", err.Error())
		os.Exit(1)
	}
	version.Log(log, "introspect.started")
	lambda.Start(handler)
}

func newHandler(lookup func(string) (string, bool), log *slog.Logger, counts *metrics.Set) (lambda.Handler, error) {
	c, err := readConfig(lookup)
	if err != nil {
		return nil, err
	}
	aws, err := awsenv.Config(lookup)
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(aws)
	clients, err := dynamostore.NewClients(db, c.clientsTable)
	if err != nil {
		return nil, err
	}
	published, err := dynamostore.NewKeys(db, c.keysTable)
	if err != nil {
		return nil, err
	}
	revocations, err := c.revocations.View(c.accessCap, log)
	if err != nil {
		return nil, err
	}
	counts.Revocations(feedview.Age(revocations))
	keys := keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: published, Now: clock.Now, Log: log})
	handler, err := introspect.Endpoint{
		Clients: client.NewAuthenticator(clients, clock.Now),
		Tokens: token.Config{
			Issuer: c.issuer, AcceptedIssuers: c.acceptedIssuers, Keys: keys, MaxLifetime: c.accessCap, Revocations: revocations, Now: clock.Now,
		},
		Log: log, Now: clock.Now,
	}.Handler()
	if err != nil {
		return nil, err
	}
	return lambdahttp.Handler(handler), nil
}
