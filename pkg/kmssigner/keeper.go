package kmssigner

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/latchkey-auth/latchkey/internal/awserr"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// TagKey is the key of the tag that a Keeper's KMS keys have, its value the Keeper's name: by it roles are allowed to sign
// with keys that were not there when the roles were made.
const TagKey = "latchkey"

// DeletionDays is how long KMS keeps a key that was given up, during which its deletion can be cancelled.
const DeletionDays = 30

// Keeper makes the KMS keys of one ring, and gives them up. KMS has no way to make a key just once, so a key is found by its
// alias, alias/latchkey/NAME/AFTER, where AFTER is the id of the key in the ring that it succeeds. Of any number of keys made
// at once for one place, the first to get the alias is the one; the others are given up at once.
type Keeper struct {
	Client *kms.Client
	// Name is the stack and the ring, such as "latchkey/access": it may have letters, digits, -, _ and /.
	Name      string
	Algorithm keyring.Algorithm // ES256 or RS256
	// Foreign is a KMS key, by id or ARN, that is not the Keeper's to delete. Empty: there is none.
	Foreign string
}

// specs has what KMS calls a kind of key.
var specs = map[keyring.Algorithm]types.KeySpec{
	keyring.ES256: types.KeySpecEccNistP256,
	keyring.RS256: types.KeySpecRsa2048,
}

// NewKey returns the key that comes after the one of that id in the ring, "" for the first one, and makes it if it is not
// there. It is published and signs from the given time on. Needs kms:GetPublicKey, CreateKey, TagResource, CreateAlias and
// ScheduleKeyDeletion.
func (k *Keeper) NewKey(ctx context.Context, after string, from time.Time) (keyring.Key, error) {
	if specs[k.Algorithm] == "" {
		return keyring.Key{}, errors.New("keys in KMS sign ES256 or RS256")
	}
	if after == "" {
		after = "none"
	}
	alias := "alias/latchkey/" + k.Name + "/" + after
	key, err := NewKey(ctx, k.Client, alias, k.Algorithm, from)
	if missing := (noKeyError{}); !errors.As(err, &missing) {
		return key, err
	}
	made, err := k.Client.CreateKey(ctx, &kms.CreateKeyInput{
		KeySpec: specs[k.Algorithm], KeyUsage: types.KeyUsageTypeSignVerify,
		Description: aws.String("Latchkey signing key, " + k.Name),
		Tags:        []types.Tag{{TagKey: aws.String(TagKey), TagValue: &k.Name}},
	})
	if err != nil {
		return keyring.Key{}, awserr.Translate("KMS CreateKey", err)
	}
	arn := aws.ToString(made.KeyMetadata.Arn)
	_, failed := k.Client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &arn})
	mine, err := NewKey(ctx, k.Client, arn, k.Algorithm, from)
	if err != nil || failed == nil {
		return mine, err
	}
	// Somebody was faster, or the answer to an earlier try of ours got lost: whichever key has the alias is the one.
	key, err = NewKey(ctx, k.Client, alias, k.Algorithm, from)
	if err == nil && key.ID == mine.ID {
		return key, nil
	}
	if err := k.delete(ctx, arn); err != nil {
		return keyring.Key{}, err
	}
	if err != nil {
		return keyring.Key{}, awserr.Translate("KMS CreateAlias", failed)
	}
	return key, nil
}

// Retire schedules a key for deletion, after DeletionDays. A key that is scheduled already or gone is no error, nor is one that
// is not in KMS or Foreign. Needs kms:ScheduleKeyDeletion.
func (k *Keeper) Retire(ctx context.Context, key keyring.Key) error {
	if key.KMSKey == "" || k.Foreign != "" && bare(key.KMSKey) == bare(k.Foreign) {
		return nil
	}
	return k.delete(ctx, key.KMSKey)
}

// bare is a key's id of the id or the ARN.
func bare(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

func (k *Keeper) delete(ctx context.Context, id string) error {
	_, err := k.Client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: aws.String(bare(id)), PendingWindowInDays: aws.Int32(DeletionDays)})
	var state *types.KMSInvalidStateException
	var gone *types.NotFoundException
	if err == nil || errors.As(err, &state) || errors.As(err, &gone) {
		return nil
	}
	return awserr.Translate("KMS ScheduleKeyDeletion", err)
}
