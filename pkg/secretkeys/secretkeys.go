// Package secretkeys keeps the private key documents in AWS Secrets Manager, one secret a ring.
//
//	vault := secretkeys.New(client, os.Getenv("ACCESS_KEYS_SECRET"), keyring.UseAccess)
//	document, err := vault.Load(ctx)
//
// The secret itself is made beforehand, by a template say, and may be empty: without a version, or with a placeholder
// (white space, {} or a document without keys). Nothing of its content gets into an error.
package secretkeys

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/latchkey-auth/latchkey/internal/awserr"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

const (
	service = "Secrets Manager"
	current = "AWSCURRENT" // the stage of the version that counts
	pending = "AWSPENDING" // that of one being made
)

// ErrNoSecret says that the secret itself is missing, which is a mistake of the set-up: keys are never put anywhere else.
var ErrNoSecret = errors.New("there is no such secret in this account and Region")

// A version that was written is not seen by every read at once; see settle.
const (
	settleReads = 20
	settlePause = 250 * time.Millisecond
)

// Vault is a secret that holds one ring's document. It implements keyring.Vault and is safe for use by many goroutines.
type Vault struct {
	client *secretsmanager.Client
	id     string
	use    keyring.Use
	pause  time.Duration // between the reads of settle
}

var _ keyring.Vault = (*Vault)(nil)

// New returns the vault in the secret of that name or ARN, for the ring of that use. It calls nothing.
func New(client *secretsmanager.Client, secretID string, use keyring.Use) *Vault {
	return &Vault{client: client, id: secretID, use: use, pause: settlePause}
}

// Load reads the document. keyring.ErrNoKeys: the secret has none yet. ErrNoSecret: there is no secret. Any other error is an
// outage, a missing permission, or a document that is damaged or not for this ring. Needs secretsmanager:GetSecretValue.
func (v *Vault) Load(ctx context.Context) (*keyring.Document, error) {
	d, _, err := v.Read(ctx)
	return d, err
}

// Read implements keyring.Vault: the revision is the id of the secret's current version, which a placeholder has too. Needs
// secretsmanager:GetSecretValue.
func (v *Vault) Read(ctx context.Context) (d *keyring.Document, version string, err error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &v.id, VersionStage: aws.String(current)}
	out, err := v.client.GetSecretValue(ctx, in)
	if err = translate(err); errors.Is(err, ErrNoSecret) {
		// moto says so too of a secret without that stage, unless it is asked for the value without naming one.
		in.VersionStage = nil
		if _, err = v.client.GetSecretValue(ctx, in); err == nil {
			return nil, "", keyring.ErrNoKeys
		}
		err = translate(err)
	}
	if err != nil {
		return nil, "", err
	}
	d, err = v.parse(out)
	return d, aws.ToString(out.VersionId), err
}

func (v *Vault) parse(out *secretsmanager.GetSecretValueOutput) (*keyring.Document, error) {
	content := out.SecretBinary
	if out.SecretString != nil {
		content = []byte(*out.SecretString)
	}
	if placeholder(content) {
		return nil, keyring.ErrNoKeys
	}
	return keyring.ParseDocument(content, v.use)
}

// placeholder reports whether a secret's content is white space or an object without members.
func placeholder(content []byte) bool {
	var members map[string]json.RawMessage
	return len(bytes.TrimSpace(content)) == 0 || json.Unmarshal(content, &members) == nil && members != nil && len(members) == 0
}

// Create stores the document if there is none, else returns keyring.ErrKeysExist; of any number of calls at once, one stores.
// Needs secretsmanager:GetSecretValue, PutSecretValue and UpdateSecretVersionStage.
//
// A new version is put beside the current one, if there is one, and the stage AWSCURRENT then moved to it from where it
// was seen to be. Secrets Manager refuses to move it from anywhere else, so only one mover succeeds. A secret's very
// first version gets AWSCURRENT with being put, whatever stage was asked for.
func (v *Vault) Create(ctx context.Context, d *keyring.Document) error {
	_, from, err := v.Read(ctx)
	switch {
	case err == nil:
		return keyring.ErrKeysExist
	case !errors.Is(err, keyring.ErrNoKeys):
		return err
	}
	put, err := v.put(ctx, d, token(), pending)
	if err != nil {
		return err
	}
	mine := aws.ToString(put.VersionId)
	// What is still pending when we leave would keep Secrets Manager from rotating the secret. Where another one has
	// taken the stage over, there is nothing to remove; where it fails, nothing depends on it.
	defer func() { _ = v.move(ctx, pending, mine, "") }()

	if !slices.Contains(put.VersionStages, current) {
		if err := v.move(ctx, current, from, mine); err != nil {
			// Another one has it, or it is ours already and the answer to an earlier try got lost, or there is an outage.
			if settled := v.settle(ctx, mine); settled == nil || errors.Is(settled, keyring.ErrKeysExist) {
				return settled
			}
			return err
		}
	}
	return v.settle(ctx, mine)
}

// put puts a new version with a stage. The token becomes the version's id, and makes the SDK's retries of one call one version.
func (v *Vault) put(ctx context.Context, d *keyring.Document, token, stage string) (*secretsmanager.PutSecretValueOutput, error) {
	content, err := json.Marshal(d)
	if err != nil {
		return nil, errors.New("the key document can't be written as JSON")
	}
	if _, err := keyring.ParseDocument(content, v.use); err != nil {
		return nil, fmt.Errorf("not stored, for it could not be read again: %w", err)
	}
	out, err := v.client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &v.id, SecretString: aws.String(string(content)), ClientRequestToken: &token, VersionStages: []string{stage},
	})
	return out, translate(err)
}

// settle waits until a document is seen, for Secrets Manager is eventually consistent and the next thing that is done is to
// read what was written. Whichever is seen stands: keyring.ErrKeysExist if it is not ours.
func (v *Vault) settle(ctx context.Context, mine string) error {
	for range settleReads {
		_, version, err := v.Read(ctx)
		switch {
		case version == mine:
			return nil
		case err == nil:
			return keyring.ErrKeysExist
		case !errors.Is(err, keyring.ErrNoKeys):
			return err
		}
		select {
		case <-time.After(v.pause):
		case <-ctx.Done():
			return fmt.Errorf("the keys are stored but can't be read yet: %w", ctx.Err())
		}
	}
	return errors.New("the keys are stored but can't be read yet: try again")
}

// move takes a stage from one version to another; either may be "", for none. It fails if the stage is anywhere else.
func (v *Vault) move(ctx context.Context, stage, from, to string) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &v.id, VersionStage: &stage}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	if to != "" {
		in.MoveToVersionId = &to
	}
	_, err := v.client.UpdateSecretVersionStage(ctx, in)
	return translate(err)
}

// token returns a random UUID (RFC 9562 §5.4), the form that Secrets Manager recommends.
func token() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// translate makes errors of the SDK ours. Secrets Manager has one code for a secret that is not there and for one without
// a value; only its text tells them apart. A text that we don't know counts as a secret without a value: if that is
// wrong, Create finds out, because putting a value says without doubt that the secret is not there.
func translate(err error) error {
	var missing *types.ResourceNotFoundException
	var refused *types.InvalidRequestException
	var api smithy.APIError
	if !errors.As(err, &api) {
		return awserr.Translate(service, err)
	}
	switch {
	case errors.As(err, &missing) && noSecret(err, missing.ErrorMessage()):
		return ErrNoSecret
	case errors.As(err, &missing):
		return keyring.ErrNoKeys
	case errors.As(err, &refused) && strings.Contains(refused.ErrorMessage(), "delet"):
		return errors.New("the secret is scheduled for deletion: restore it first")
	}
	return awserr.Translate(service, err)
}

// noSecret tells the two apart: "can't find the specified secret." and "can't find the specified secret value for
// staging label: AWSCURRENT". Only a read can mean the second.
func noSecret(err error, text string) bool {
	var op *smithy.OperationError
	if errors.As(err, &op) && op.OperationName != "GetSecretValue" {
		return true
	}
	return strings.HasSuffix(strings.TrimSpace(text), "find the specified secret.")
}
