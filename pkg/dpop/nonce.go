package dpop

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// NonceLife is how long a nonce is taken; NonceInterval how long the same one is given out.
const (
	NonceLife     = time.Minute
	NonceInterval = NonceLife / 2
)

// maxNonce bounds what is looked at: an RSA signature of 4,096 bits and a key's id fit in.
const maxNonce = 1 << 10

// Keys are a ring's. *keyring.Source is one. Any error but keyring.ErrUnknownKey is an outage.
type Keys interface {
	SigningKey(ctx context.Context) (keyring.SigningKey, error)
	VerificationKey(ctx context.Context, kid string) (keyring.VerificationKey, error)
}

// Nonces are the server's part of a proof (RFC 9449 §8), by which it was made within the last minute and not earlier, by
// whoever had the key for a moment. They are kept nowhere: a nonce is the beginning of a half minute, the id of a key and
// that key's signature, so that every process with the same ring takes it. The ring is that of refresh keys, which no one
// but the issuer has; what is signed can't be taken for a token, since it has a space in it. A process signs once in half
// a minute at most, however many ask: that costs one kms:Sign where the ring is in KMS, and nothing otherwise.
//
// Make one with a composite literal; do not copy it. Safe for many goroutines.
type Nonces struct {
	Keys Keys             // required
	Now  func() time.Time // nil: time.Now

	current atomic.Pointer[nonce]
}

type nonce struct {
	began int64
	text  string
}

// Current returns the nonce to give out. An error is an outage.
func (n *Nonces) Current(ctx context.Context) (string, error) {
	now := time.Now
	if n.Now != nil {
		now = n.Now
	}
	began := now().Truncate(NonceInterval).Unix()
	if c := n.current.Load(); c != nil && c.began == began {
		return c.text, nil
	}
	key, err := n.Keys.SigningKey(ctx)
	if err != nil {
		return "", err
	}
	signature, err := key.Sign(ctx, []byte(nonceInput(began)))
	if err != nil {
		return "", fmt.Errorf("signing a nonce: %w", err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := strconv.FormatInt(began, 10) + "." + b64([]byte(key.ID)) + "." + b64(signature)
	n.current.Store(&nonce{began, text})
	return text, nil
}

func nonceInput(began int64) string { return "latchkey dpop nonce " + strconv.FormatInt(began, 10) }

// check returns a *NonceError unless the nonce is one of ours and recent.
func (n *Nonces) check(ctx context.Context, text string, now time.Time) error {
	err := n.verify(ctx, text, now)
	if !errors.Is(err, errNonce) {
		return err
	}
	fresh, err := n.Current(ctx)
	if err != nil {
		return err
	}
	return &NonceError{fresh}
}

var errNonce = errors.New("not a recent nonce of ours")

func (n *Nonces) verify(ctx context.Context, text string, now time.Time) error {
	parts := strings.Split(text, ".")
	if len(text) > maxNonce || len(parts) != 3 {
		return errNonce
	}
	seconds, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return errNonce
	}
	// The time first, so that what is old costs no look for its key.
	began := time.Unix(seconds, 0)
	if !now.Before(began.Add(NonceLife)) || began.After(now.Add(token.Leeway)) {
		return errNonce
	}
	kid, errKid := decodeSegment(parts[1])
	signature, errSignature := decodeSegment(parts[2])
	if errKid != nil || errSignature != nil {
		return errNonce
	}
	key, err := n.Keys.VerificationKey(ctx, string(kid))
	if errors.Is(err, keyring.ErrUnknownKey) {
		return errNonce
	} else if err != nil {
		return err
	}
	if key.Verify(nonceInput(seconds), signature) != nil {
		return errNonce
	}
	return nil
}
