//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

const (
	// region is where everything is. moto has each Region's resources apart from the others', as AWS has.
	region = "us-east-1"

	clientID = "demo"
	scope    = "orders:read orders:write"
	audience = "https://api.latchkey.example"

	// bucket is of S3, where CloudFormation waits for custom resources' answers. events/rotate-custom-resource-*.json name it.
	bucket = "cloudformation"
)

// prepare makes what the functions use, and registers a client.
func (l *local) prepare(ctx context.Context) error {
	cfg := aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(l.endpoint()),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil // moto takes any
		}),
		// The SDK warns at each answer whose checksum it didn't get to, which is every one of moto's.
		Logger: logging.Nop{},
	}
	db := dynamodb.NewFromConfig(cfg)
	tables := dynamostore.Tables{Clients: "ClientsTable", Keys: "KeysTable", Revocations: "RevocationsTable"}
	if err := dynamostore.CreateTables(ctx, db, tables); err != nil {
		return err
	}
	if err := dynamostore.CreateUserTables(ctx, db, "UsersTable", "SignInsTable"); err != nil {
		return err
	}
	if err := dynamostore.CreateIssuerTables(ctx, db, "IssuersTable", "AssertionsTable"); err != nil {
		return err
	}
	if err := dynamostore.CreateGrantsTable(ctx, db, "GrantsTable"); err != nil {
		return err
	}
	if err := makeSecrets(ctx, secretsmanager.NewFromConfig(cfg)); err != nil {
		return err
	}
	if err := request(ctx, http.MethodPut, l.endpoint()+"/"+bucket); err != nil {
		return err
	}
	return l.register(ctx, db, tables)
}

func makeSecrets(ctx context.Context, secrets *secretsmanager.Client) error {
	for _, name := range []string{"AccessKeysSecret", "RefreshKeysSecret", "SignInKeySecret"} {
		in := &secretsmanager.CreateSecretInput{Name: &name}
		if name == "SignInKeySecret" { // the others are filled by the first keys
			random, err := secrets.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(64)})
			if err != nil {
				return fmt.Errorf("secret %s: %w", name, err)
			}
			in.SecretString = random.RandomPassword
		}
		if _, err := secrets.CreateSecret(ctx, in); err != nil {
			return fmt.Errorf("secret %s: %w", name, err)
		}
	}
	return nil
}

// register makes the client that the commands sign in.
func (l *local) register(ctx context.Context, db *dynamodb.Client, tables dynamostore.Tables) error {
	store, err := dynamostore.New(db, tables)
	if err != nil {
		return err
	}
	scopes, err := oauth.ParseScope(scope)
	if err != nil {
		return err
	}
	registry := client.Registry{Store: store, Revocations: store.RevocationStore}
	_, l.secret, err = registry.Create(ctx, client.Spec{
		ID: clientID, Name: "Client of sam local", Scopes: scopes, Audiences: []string{audience}, Introspects: []string{audience},
	})
	return err
}
