// Function rotate makes a deployment's keys: the first ones as a custom resource of its stack, before any route answers,
// later ones on a schedule or by Secrets Manager's rotation, and all anew in an emergency. It may run at any time, at once
// with others of its kind, and be ended at any point.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/awsenv"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/customresource"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

func main() {
	counts := metrics.Function(os.LookupEnv)
	log := jsonlog.Function(counts)
	handler, err := newHandler(os.LookupEnv, clock.Now, log, counts)
	if err != nil {
		log.Error("rotate.start_failed", "cause", err.Error())
		os.Exit(1)
	}
	version.Log(log, "rotate.started")
	lambda.Start(handler)
}

func newHandler(lookup func(string) (string, bool), now func() time.Time, log *slog.Logger, counts *metrics.Set) (lambda.Handler, error) {
	c, err := readConfig(lookup)
	if err != nil {
		return nil, err
	}
	aws, err := awsenv.Config(lookup)
	if err != nil {
		return nil, err
	}
	db, secrets, client := dynamodb.NewFromConfig(aws), secretsmanager.NewFromConfig(aws), kms.NewFromConfig(aws)
	public, err := dynamostore.NewKeys(db, c.keysTable)
	if err != nil {
		return nil, err
	}
	revocations, err := dynamostore.NewRevocations(db, c.revocationsTable)
	if err != nil {
		return nil, err
	}
	revocations.Now = now
	rotator := keyring.Rotator{Revocations: revocations, Revoked: revocations, MaxStaleness: c.maxStaleness, Now: now, Log: log}
	refresh := newKeys(c.refresh, secrets, client, rotator)
	rotator.Public = public
	access := newKeys(c.access, secrets, client, rotator)
	first := &keyring.First{
		Access: access.vault, Refresh: refresh.vault, Public: public,
		NewAccess: access.first, NewRefresh: refresh.first, Now: now,
	}
	stack := &customresource.Handler{ID: "latchkey-first-keys", Make: firstKeys(first, log), Attributes: digest, AllowHTTP: c.allowHTTP, Log: log}
	return &handler{rings: []*keys{access, refresh}, stack: stack, log: log, counts: counts, now: now}, nil
}
