// Function discovery serves the metadata, the public keys, the revocation feed and the OpenAPI document. It can read the public-keys document and
// the revocations, and nothing else.
package main

import (
	"log/slog"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/discovery"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

func main() {
	counts := metrics.Function(os.LookupEnv)
	log := jsonlog.Function(counts)
	handler, err := newHandler(log)
	if err != nil {
		log.Error("discovery.start_failed", "cause", err.Error())
		os.Exit(1)
	}
	version.Log(log, "discovery.started")
	lambda.Start(handler)
}

func newHandler(log *slog.Logger) (lambda.Handler, error) {
	c, err := readConfig(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	aws, err := awsenv.Config(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(aws)
	keys, err := dynamostore.NewKeys(db, c.keysTable)
	if err != nil {
		return nil, err
	}
	revocations, err := dynamostore.NewRevocations(db, c.revocationsTable)
	if err != nil {
		return nil, err
	}
	revocations.Now = clock.Now
	mux := http.NewServeMux()
	mux.Handle("/", discovery.Handler(discovery.Config{Issuer: c.issuer, MTLSOrigin: c.mtlsOrigin, Keys: keys, Log: log, Now: clock.Now}))
	mux.Handle(revocation.PathFeed, revocation.NewFeed(revocation.FeedConfig{Source: revocations, Window: c.feedWindow, Log: log, Now: clock.Now}))
	return lambdahttp.Handler(discovery.Logged(mux, log, clock.Now)), nil
}
