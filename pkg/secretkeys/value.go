package secretkeys

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// Value returns the content of a secret that is no ring's, such as a key that the template had Secrets Manager make up.
// ErrNoSecret: there is none of that name or ARN, or it has no value. Needs secretsmanager:GetSecretValue.
func Value(ctx context.Context, client *secretsmanager.Client, secretID string) ([]byte, error) {
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &secretID})
	if err = translate(err); errors.Is(err, keyring.ErrNoKeys) {
		return nil, ErrNoSecret // translate speaks of rings
	}
	if err != nil {
		return nil, err
	}
	if out.SecretString != nil {
		return []byte(*out.SecretString), nil
	}
	return out.SecretBinary, nil
}
