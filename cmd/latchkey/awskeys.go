package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
)

// keyMaker makes a key that signs from a time on.
type keyMaker = func(ctx context.Context, from time.Time) (keyring.Key, error)

// generator makes keys whose private halves are here.
func generator(alg keyring.Algorithm) keyMaker {
	return func(_ context.Context, from time.Time) (keyring.Key, error) { return keyring.Generate(alg, from) }
}

// awsKeys are the places that the flags name; one that they don't name is nil.
type awsKeys struct {
	cfg             aws.Config
	access, refresh keyring.Vault
	public          keyring.PublicStore
}

func openAWSKeys(ctx context.Context, f *keysFlags) (*awsKeys, error) {
	cfg, err := awsConfig(ctx)
	if err != nil {
		return nil, err
	}
	k := &awsKeys{cfg: cfg}
	secrets := secretsmanager.NewFromConfig(cfg)
	if f.accessSecret != "" {
		k.access = secretkeys.New(secrets, f.accessSecret, keyring.UseAccess)
	}
	if f.refreshSecret != "" {
		k.refresh = secretkeys.New(secrets, f.refreshSecret, keyring.UseRefresh)
	}
	if f.public != "" {
		if k.public, err = dynamostore.NewKeys(dynamodb.NewFromConfig(cfg), f.public); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// initAWS is `latchkey keys init` on AWS.
func initAWS(ctx context.Context, f *keysFlags, alg keyring.Algorithm, accessKMS, refreshKMS string, now func() time.Time) (keyring.Made, error) {
	switch {
	case f.accessSecret == "" || f.refreshSecret == "" || f.public == "":
		return keyring.Made{}, usagef("on AWS it takes all of --access-secret, --refresh-secret and --keys-table")
	case f.accessSecret == f.refreshSecret:
		return keyring.Made{}, usagef("--access-secret and --refresh-secret are the same: access and refresh keys must be apart")
	case accessKMS != "" && alg == keyring.EdDSA:
		return keyring.Made{}, usagef("KMS signs ES256 or RS256 here, not EdDSA: choose another --algorithm")
	}
	k, err := openAWSKeys(ctx, f)
	if err != nil {
		return keyring.Made{}, err
	}
	first := keyring.First{
		Access: k.access, Refresh: k.refresh, Public: k.public,
		NewAccess: generator(alg), NewRefresh: generator(keyring.HS256), Now: now,
	}
	if accessKMS != "" {
		first.NewAccess = k.inKMS(accessKMS, alg)
	}
	if refreshKMS != "" {
		first.NewRefresh = k.inKMS(refreshKMS, keyring.ES256)
	}
	return first.Make(ctx)
}

// inKMS makes keys of one that is in KMS.
func (k *awsKeys) inKMS(id string, alg keyring.Algorithm) keyMaker {
	client := kms.NewFromConfig(k.cfg)
	return func(ctx context.Context, from time.Time) (keyring.Key, error) {
		return kmssigner.NewKey(ctx, client, id, alg, from)
	}
}
