// Function rotate makes a deployment's first keys: as a custom resource of its stack, before any route answers, or invoked
// by hand. What is there already it leaves alone.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/customresource"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
)

func main() {
	log := jsonlog.Function()
	handler, err := newHandler(os.LookupEnv, log)
	if err != nil {
		log.Error("rotate.start_failed", "cause", err.Error())
		os.Exit(1)
	}
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
	public, err := dynamostore.NewKeys(dynamodb.NewFromConfig(aws), c.keysTable)
	if err != nil {
		return nil, err
	}
	secrets, keys := secretsmanager.NewFromConfig(aws), kms.NewFromConfig(aws)
	first := &keyring.First{
		Access:     secretkeys.New(secrets, c.accessKeysSecret, keyring.UseAccess),
		Refresh:    secretkeys.New(secrets, c.refreshKeysSecret, keyring.UseRefresh),
		Public:     public,
		NewAccess:  c.access.maker(keys),
		NewRefresh: c.refresh.maker(keys),
		Now:        clock.Now,
	}
	return &customresource.Handler{ID: "latchkey-first-keys", Make: firstKeys(first, log), AllowHTTP: c.allowHTTP, Log: log}, nil
}
