// Function discovery serves the metadata and the public keys. It can read the public-keys document and nothing else.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/discovery"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
)

func main() {
	log := jsonlog.Function()
	handler, err := newHandler(log)
	if err != nil {
		log.Error("discovery.start_failed", "cause", err.Error())
		os.Exit(1)
	}
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
	store, err := dynamostore.NewKeys(dynamodb.NewFromConfig(aws), c.keysTable)
	if err != nil {
		return nil, err
	}
	return lambdahttp.Handler(discovery.Handler(discovery.Config{Issuer: c.issuer, Keys: store, Log: log, Now: clock.Now})), nil
}
