// Package kmssigner signs with asymmetric keys whose private halves never leave AWS KMS.
//
//	source := keyring.NewSource(keyring.SourceConfig{Load: vault.Load, KMS: kmssigner.Signers(client, nil)})
//
// Each signature is one kms:Sign. KMS allows an account 1,000 a second in a Region, RSA and ECC counted apart.
package kmssigner

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/latchkey-auth/latchkey/internal/awserr"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

const service = "KMS"

// maxRaw is the longest message, in bytes, that KMS hashes by itself; for a longer one it takes the digest.
const maxRaw = 4096

// Signer signs with one key. It implements keyring.Signer and is safe for use by many goroutines.
type Signer struct {
	client   *kms.Client
	key      string
	alg      keyring.Algorithm
	observer Observer

	reading sync.Mutex
	public  *publicKey // once it has been read, guarded by reading
}

var _ keyring.Signer = (*Signer)(nil)

// algorithms has what KMS calls an algorithm.
var algorithms = map[keyring.Algorithm]types.SigningAlgorithmSpec{
	keyring.ES256: types.SigningAlgorithmSpecEcdsaSha256,
	keyring.RS256: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
}

// New returns a signer with the key of that id, ARN or alias, for the algorithm ES256 or RS256. It calls nothing.
func New(client *kms.Client, keyID string, alg keyring.Algorithm) (*Signer, error) {
	switch {
	case algorithms[alg] == "":
		return nil, fmt.Errorf("%s keys can't be kept in KMS: the algorithm must be ES256 or RS256", alg)
	case keyID == "":
		return nil, errors.New("no KMS key was given")
	}
	return &Signer{client: client, key: keyID, alg: alg}, nil
}

// Observer is told of each kms:Sign, from several goroutines perhaps: how long it took with all its tries, and whether KMS
// throttled one of them, though another was answered.
type Observer func(took time.Duration, throttled bool)

// Signers returns what keyring.SourceConfig.KMS asks for. The observer may be nil.
func Signers(client *kms.Client, o Observer) func(keyring.Key) (keyring.Signer, error) {
	return func(k keyring.Key) (keyring.Signer, error) {
		s, err := New(client, k.KMSKey, k.Algorithm)
		if err != nil {
			return nil, err // not s: a nil *Signer is a Signer that isn't nil
		}
		s.observer = o
		return s, nil
	}
}

// Sign signs a JWS signing input (RFC 7515 §5.1). The signature is in the form of RFC 7518: R‖S for ES256 (§3.4).
func (s *Signer) Sign(ctx context.Context, signingInput []byte) ([]byte, error) {
	in := &kms.SignInput{KeyId: &s.key, SigningAlgorithm: algorithms[s.alg], Message: signingInput, MessageType: types.MessageTypeRaw}
	if len(signingInput) > maxRaw {
		sum := sha256.Sum256(signingInput)
		in.Message, in.MessageType = sum[:], types.MessageTypeDigest
	}
	out, err := s.sign(ctx, in)
	if err != nil {
		return nil, awserr.Translate(service, err)
	}
	if s.alg == keyring.ES256 {
		return concatenate(out.Signature)
	}
	if n := len(out.Signature); n < 256 || n > 512 {
		return nil, fmt.Errorf("KMS: an RSA signature of %d bytes", n)
	}
	return out.Signature, nil
}

func (s *Signer) sign(ctx context.Context, in *kms.SignInput) (*kms.SignOutput, error) {
	start := time.Now()
	out, err := s.client.Sign(ctx, in)
	if s.observer != nil {
		s.observer(time.Since(start), throttled(out, err))
	}
	return out, err
}

var throttling = retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}

// throttled reports whether KMS throttled a try, as far as it is told: of a call that failed, the last one.
func throttled(out *kms.SignOutput, err error) bool {
	if err != nil {
		return throttling.IsErrorThrottle(err).Bool()
	}
	tries, _ := retry.GetAttemptResults(out.ResultMetadata)
	return slices.ContainsFunc(tries.Results, func(r retry.AttemptResult) bool { return throttling.IsErrorThrottle(r.Err).Bool() })
}

// concatenate turns an ECDSA signature over P-256 from DER (RFC 3279 §2.2.3) into R‖S (RFC 7518 §3.4).
func concatenate(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	malformed := errors.New("KMS: an ECDSA signature that is malformed")
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, malformed
	}
	// encoding/asn1 lets a sequence hold more than was asked for, among other things; DER has one form for each value.
	if again, err := asn1.Marshal(sig); err != nil || !bytes.Equal(again, der) {
		return nil, malformed
	}
	order := elliptic.P256().Params().N
	out := make([]byte, 64)
	for i, n := range []*big.Int{sig.R, sig.S} {
		if n.Sign() <= 0 || n.Cmp(order) >= 0 {
			return nil, malformed
		}
		n.FillBytes(out[32*i : 32*i+32])
	}
	return out, nil
}

// noKeyError says that there is no key of that id or alias, deniedError that one may not be used. Both are also what KMS says
// of a key for a while after it was made.
type (
	noKeyError  struct{ error }
	deniedError struct{ error }
)

// marked is awserr.Translate that keeps those two apart from other errors.
func marked(call string, err error) error {
	translated := awserr.Translate(call, err)
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NotFoundException":
			return noKeyError{translated}
		case "AccessDeniedException":
			return deniedError{translated}
		}
	}
	return translated
}

// unsettled reports whether an error is one of the two.
func unsettled(err error) bool {
	var missing noKeyError
	var denied deniedError
	return errors.As(err, &missing) || errors.As(err, &denied)
}

type publicKey struct {
	der []byte // SubjectPublicKeyInfo
	arn string // of the key itself, where we were given an alias
}

// PublicKey returns the key's public half, as SubjectPublicKeyInfo in DER. It is read once, and must be that of a key for
// signing by the signer's algorithm. Needs kms:GetPublicKey.
func (s *Signer) PublicKey(ctx context.Context) ([]byte, error) {
	p, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(p.der), nil
}

func (s *Signer) read(ctx context.Context) (*publicKey, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.public != nil {
		return s.public, nil
	}
	out, err := s.client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &s.key})
	if err != nil {
		return nil, marked(service, err)
	}
	if out.KeyUsage != types.KeyUsageTypeSignVerify {
		return nil, fmt.Errorf("the KMS key has the usage %s: it must be %s", out.KeyUsage, types.KeyUsageTypeSignVerify)
	}
	if want := algorithms[s.alg]; !slices.Contains(out.SigningAlgorithms, want) {
		return nil, fmt.Errorf("the KMS key signs by %s: %s needs %s", list(out.SigningAlgorithms), s.alg, want)
	}
	// The key says more than its description: ECDSA_SHA_256 is also what KMS calls ECDSA over another curve, secp256k1.
	if _, err := keyring.FromKMS(s.key, s.alg, out.PublicKey, time.Time{}); err != nil {
		return nil, fmt.Errorf("the KMS key: %w", err)
	}
	s.public = &publicKey{der: out.PublicKey, arn: aws.ToString(out.KeyId)}
	return s.public, nil
}

func list(algorithms []types.SigningAlgorithmSpec) string {
	words := make([]string, len(algorithms))
	for i, a := range algorithms {
		words[i] = string(a)
	}
	return strings.Join(words, ", ")
}

// NewKey describes the KMS key of that id, ARN or alias as one of a ring, which is published and signs from the given time
// on. What is described is the key itself, for an alias may move. Needs kms:GetPublicKey.
func NewKey(ctx context.Context, client *kms.Client, keyID string, alg keyring.Algorithm, from time.Time) (keyring.Key, error) {
	s, err := New(client, keyID, alg)
	if err != nil {
		return keyring.Key{}, err
	}
	p, err := s.read(ctx)
	if err != nil {
		return keyring.Key{}, err
	}
	if p.arn != "" {
		keyID = p.arn
	}
	return keyring.FromKMS(keyID, alg, p.der, from)
}
