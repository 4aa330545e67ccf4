package secretkeys

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// next is the stage of a version that Replace puts. It is not AWSPENDING: that belongs to a rotation of Secrets Manager, which
// may be under way and must not lose its version.
const next = "LATCHKEYNEXT"

// Replace implements keyring.Vault: the document is put as a new version, and the stage AWSCURRENT moved to it from the version
// that was read, which Secrets Manager refuses if it is anywhere else by then. A version that was put in vain has no stage
// once another one is put, and is removed by Secrets Manager some time. Needs secretsmanager:GetSecretValue, PutSecretValue
// and UpdateSecretVersionStage.
func (v *Vault) Replace(ctx context.Context, d *keyring.Document, revision string) error {
	put, err := v.put(ctx, d, token(), next)
	if err != nil {
		return err
	}
	return v.commit(ctx, revision, aws.ToString(put.VersionId))
}

// commit makes a version the current one in place of another, and waits until reads see it.
func (v *Vault) commit(ctx context.Context, from, to string) error {
	moved := v.move(ctx, current, from, to)
	for range settleReads {
		_, version, err := v.Read(ctx)
		switch {
		case version == to:
			return nil // it may be that the answer to an earlier try of ours got lost
		case err != nil:
			return err
		case version != from && moved != nil:
			return keyring.ErrConflict
		case version != from:
			return nil // ours, and somebody's after it
		}
		// Where the move failed, another one's may not be seen yet.
		select {
		case <-time.After(v.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if moved != nil {
		return moved
	}
	return errors.New("the keys are stored but can't be read yet: try again")
}

// Is reports whether the vault is in the secret of that id, as Secrets Manager names it: by its ARN.
func (v *Vault) Is(secretID string) bool {
	if v.id == secretID {
		return true
	}
	// A name, in whose ARN it is followed by six characters.
	_, name, ok := strings.Cut(secretID, ":secret:")
	return ok && len(name) > 7 && name[len(name)-7] == '-' && name[:len(name)-7] == v.id
}

// The following are the steps of a rotation by Secrets Manager, whose ClientRequestToken is the id of the version to come.

// Waiting returns the document of the version that a rotation is to end with, whether or not it has become the current one;
// keyring.ErrNoKeys if it has no value yet. Needs secretsmanager:GetSecretValue.
func (v *Vault) Waiting(ctx context.Context, token string) (d *keyring.Document, isCurrent bool, err error) {
	out, err := v.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &v.id, VersionId: &token})
	if err = translate(err); err != nil {
		return nil, false, err
	}
	d, err = v.parse(out)
	return d, slices.Contains(out.VersionStages, current), err
}

// Wait stores a document as the version that a rotation is to end with. Needs secretsmanager:PutSecretValue.
func (v *Vault) Wait(ctx context.Context, d *keyring.Document, token string) error {
	_, err := v.put(ctx, d, token, pending)
	return err
}

// Finish makes the waiting version the current one in place of the version from: keyring.ErrConflict if another one is. Needs
// what Replace does.
func (v *Vault) Finish(ctx context.Context, token, from string) error {
	return v.commit(ctx, from, token)
}

// Abandon takes the stage AWSPENDING from the version of a rotation that can't end, so that another one may begin.
func (v *Vault) Abandon(ctx context.Context, token string) error {
	return v.move(ctx, pending, token, "")
}

var _ keyring.Stager = (*Vault)(nil)

// Staged implements keyring.Stager: what a rotation of Secrets Manager's is to end with, and what Replace has put and not made
// the current version. A version without keys that can be read is none. Needs secretsmanager:GetSecretValue.
func (v *Vault) Staged(ctx context.Context) ([]keyring.Staged, error) {
	var all []keyring.Staged
	for _, stage := range []string{pending, next} {
		out, err := v.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &v.id, VersionStage: &stage})
		switch err = translate(err); {
		case errors.Is(err, keyring.ErrNoKeys), errors.Is(err, ErrNoSecret): // moto says the second of a stage that is not there
			continue
		case err != nil:
			return nil, err
		}
		if d, err := v.parse(out); err == nil && !slices.Contains(out.VersionStages, current) {
			all = append(all, keyring.Staged{Document: d, Stage: stage, Version: aws.ToString(out.VersionId)})
		}
	}
	return all, nil
}

// Drop implements keyring.Stager. What Replace has put loses its stage to the next that it puts. Needs
// secretsmanager:UpdateSecretVersionStage.
func (v *Vault) Drop(ctx context.Context, s keyring.Staged) error {
	if s.Stage != pending {
		return nil
	}
	return v.Abandon(ctx, s.Version)
}
