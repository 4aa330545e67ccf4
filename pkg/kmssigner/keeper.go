package kmssigner

import (
	"context"
	"errors"
	"fmt"
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

// Patience is how long a Keeper goes on trying to use what it has made. KMS takes up to five minutes until a tag counts in
// decisions on access; up to then the key's maker, whose rights rest on the tag, is refused.
const Patience = 6 * time.Minute

// Pauses between tries, and what is left of the context's time for giving a key up.
const (
	firstPause  = time.Second
	maxPause    = 15 * time.Second
	giveUpTime  = 10 * time.Second
	failedToEnd = "; the key made for it could not be given up, and has the tag " + TagKey + "="
)

// Keeper makes the KMS keys of one ring, and gives them up. KMS has no way to make a key just once, so a key is found by its
// alias, alias/latchkey/NAME/AFTER, where AFTER is the id of the key in the ring that it succeeds. Of any number of keys made
// at once for one place, the first to get the alias is the one; the others are given up at once. One that got the alias and
// could not be used yet is left for the next run, which finds it by that.
type Keeper struct {
	Client *kms.Client
	// Name is the stack and the ring, such as "latchkey/access": it may have letters, digits, -, _ and /.
	Name      string
	Algorithm keyring.Algorithm // ES256 or RS256
	// Foreign is a KMS key, by id or ARN, that is not the Keeper's to delete. Empty: there is none.
	Foreign string
	// Pause waits, or returns the context's error. Nil: by the clock.
	Pause func(ctx context.Context, d time.Duration) error
}

// specs has what KMS calls a kind of key.
var specs = map[keyring.Algorithm]types.KeySpec{
	keyring.ES256: types.KeySpecEccNistP256,
	keyring.RS256: types.KeySpecRsa2048,
}

// NewKey returns the key that comes after the one of that id in the ring, "" for the first one, and makes it if it is not
// there. It is published and signs from the given time on. A new key may take minutes until it can be used: NewKey waits for
// that, for Patience or until the context is about to end. Needs kms:GetPublicKey, CreateKey, TagResource, CreateAlias and
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
	arn, left := aws.ToString(made.KeyMetadata.Arn), Patience
	describe := func(id string) (key keyring.Key, err error) {
		err = k.settle(ctx, &left, func() error {
			key, err = NewKey(ctx, k.Client, id, k.Algorithm, from)
			return err
		})
		return key, err
	}
	failed := k.settle(ctx, &left, func() error {
		_, err := k.Client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &arn})
		return marked("KMS CreateAlias", err)
	})
	switch {
	case failed == nil:
		return describe(arn)
	case unsettled(failed):
		return keyring.Key{}, k.giveUp(ctx, arn, failed)
	}
	// Somebody was faster, or the answer to an earlier try of ours got lost: whichever key has the alias is the one.
	key, err = describe(alias)
	switch missing := (noKeyError{}); {
	case err == nil && bare(key.KMSKey) == bare(arn):
		return key, nil
	case err == nil:
		return key, k.delete(ctx, arn)
	case errors.As(err, &missing):
		return keyring.Key{}, k.giveUp(ctx, arn, failed)
	}
	// It may be ours, and a key that is found by the alias must stay.
	return keyring.Key{}, errors.Join(failed, err)
}

// settle does what may fail for no other reason than that a key, its tag or its alias was made a moment ago, until it fails
// for another one or there is no time left: for pauses, or of the context.
func (k *Keeper) settle(ctx context.Context, left *time.Duration, do func() error) error {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do()
		deadline, bound := ctx.Deadline()
		if !unsettled(err) || pause > *left || bound && time.Until(deadline) < pause+giveUpTime || k.pause(ctx, pause) != nil {
			return err
		}
		*left -= pause
	}
}

func (k *Keeper) pause(ctx context.Context, d time.Duration) error {
	if k.Pause != nil {
		return k.Pause(ctx, d)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveUp gives up a key that nothing names, though the context may have ended, and returns why.
func (k *Keeper) giveUp(ctx context.Context, arn string, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime/2)
	defer cancel()
	if err := k.delete(ctx, arn); err != nil {
		return fmt.Errorf("%w%s%s: %w", why, failedToEnd, k.Name, err)
	}
	return why
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
