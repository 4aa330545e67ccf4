// Package assertion verifies JWTs that others make and present to the token endpoint (RFC 7523): a client's own, by which it
// authenticates, and those of an issuer that the operator trusts. It knows neither clients nor issuers: who expects an
// assertion says what it must be.
//
// A bad assertion is an [*InvalidError]; any other error is an outage.
package assertion

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/strictjson"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Bounds of an assertion.
const (
	MaxLength = 8 << 10 // of the whole of it, in bytes
	MaxID     = 256     // of its jti
	MaxValue  = 512     // of its subject, and of each claim that is looked at
)

// Algorithms are those that assertions may be signed by.
var Algorithms = []string{string(keyring.ES256), string(keyring.EdDSA), string(keyring.RS256)}

// InvalidError says that an assertion is bad, and why. Its text holds nothing of the assertion.
type InvalidError struct{ Detail string }

func (e *InvalidError) Error() string { return "invalid assertion: " + e.Detail }

// Invalid makes an InvalidError.
func Invalid(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...)}
}

// Expect is what an assertion must be.
type Expect struct {
	Issuer     string
	Subject    string   // "" for any
	Audiences  []string // one of which it must name
	OneAud     bool     // it must be for that one alone
	Algorithms []string
	Types      []string      // of the header's typ; none is always taken
	MaxAge     time.Duration // since its iat, which it must have then; 0 for any
	MaxLife    time.Duration // to its exp; 0 for any
	WithID     bool          // it must have a jti
	Claims     []string      // names of claims that are wanted: strings, integers, true or false
}

// Claims are what a good one says.
type Claims struct {
	Issuer, Subject, ID string
	Audience            []string
	IssuedAt, ExpiresAt time.Time         // IssuedAt is zero where there is none
	Values              map[string]string // of the claims wanted, those that are there

	input string // what was signed
}

// Keys finds the key of an id; see token.VerificationKeys.
type Keys = token.VerificationKeys

// Uses remembers which assertions had their use.
type Uses interface {
	// UseAssertion reports whether this is the first use of a key; an error is an outage. It is forgotten when it expires.
	UseAssertion(ctx context.Context, key string, now, expires time.Time) (first bool, err error)
}

// Use has an assertion's one use: an InvalidError says that it was used before.
func Use(ctx context.Context, uses Uses, c *Claims, now time.Time) error {
	first, err := uses.UseAssertion(ctx, c.key(), now, c.ExpiresAt.Add(2*token.Leeway))
	switch {
	case err != nil:
		return fmt.Errorf("recording the use of an assertion: %w", err)
	case !first:
		return Invalid("it was used before: each is taken once")
	}
	return nil
}

// key tells one assertion from others: by its jti where it has one, which its issuer gives once, else by what was signed.
// Never by its whole text: whoever knows one ECDSA signature of a text can make another.
func (c *Claims) key() string {
	kind, id := "jti", c.ID
	if id == "" {
		kind, id = "input", c.input
	}
	return Hash(kind, c.Issuer, id)
}

// Hash is the SHA-256, in base64url, of texts that are kept apart.
func Hash(texts ...string) string {
	var all []byte
	for _, t := range texts {
		all = append(binary.BigEndian.AppendUint32(all, uint32(len(t))), t...) //nolint:gosec // no text is of 4 GiB
	}
	sum := sha256.Sum256(all)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Peek returns whose assertion it says to be, and about whom. Nothing vouches for either.
func Peek(raw string) (issuer, subject string, err error) {
	parts, err := split(raw)
	if err != nil {
		return "", "", err
	}
	c, err := parseClaims(parts[1], nil)
	if err != nil {
		return "", "", err
	}
	return c.iss, c.sub, nil
}

// Verify returns the claims of an assertion that is what is expected.
func Verify(ctx context.Context, raw string, keys Keys, e Expect, now time.Time) (*Claims, error) {
	parts, err := split(raw)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(parts[0])
	if err != nil {
		return nil, err
	}
	if h.typ != "" && !slices.ContainsFunc(e.Types, func(t string) bool { return strings.EqualFold(t, h.typ) }) {
		return nil, Invalid("its typ is of another kind of token")
	}
	// The list and the key have to agree on the algorithm; what the header says is only compared with it.
	if !slices.Contains(e.Algorithms, h.alg) {
		return nil, Invalid("its alg is none of %s", strings.Join(e.Algorithms, ", "))
	}
	key, err := keys.VerificationKey(ctx, h.kid)
	switch {
	case errors.Is(err, keyring.ErrUnknownKey):
		return nil, Invalid("no key of its issuer's has its kid")
	case err != nil:
		return nil, fmt.Errorf("finding the key of an assertion: %w", err)
	case h.alg != string(key.Algorithm):
		return nil, Invalid("its alg is not its key's")
	}
	signature, err := decodeSegment(parts[2])
	if err != nil {
		return nil, err
	}
	input := raw[:len(parts[0])+1+len(parts[1])]
	if err := key.Verify(input, signature); err != nil {
		return nil, Invalid("its signature does not verify")
	}
	c, err := parseClaims(parts[1], e.Claims)
	if err != nil {
		return nil, err
	}
	if err := c.check(e, now); err != nil {
		return nil, err
	}
	good := &Claims{
		Issuer: c.iss, Subject: c.sub, ID: c.jti, Audience: c.aud, ExpiresAt: time.Unix(*c.exp, 0), Values: c.values, input: input,
	}
	if c.iat != nil {
		good.IssuedAt = time.Unix(*c.iat, 0)
	}
	return good, nil
}

// split bounds an assertion before it is looked at.
func split(raw string) ([]string, error) {
	if len(raw) > MaxLength {
		return nil, Invalid("it is longer than %d bytes", MaxLength)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, Invalid("it is not three parts joined by dots")
	}
	return parts, nil
}

type header struct{ alg, kid, typ string }

// parseHeader passes over jku, x5u, jwk and x5c: a key comes from where the operator said.
func parseHeader(segment string) (header, error) {
	var h header
	data, err := decodeSegment(segment)
	if err != nil {
		return h, err
	}
	critical := false
	err = strictjson.Object(data, func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "alg":
			h.alg, err = d.String()
		case "kid":
			h.kid, err = d.String()
		case "typ":
			h.typ, err = d.String()
		case "crit", "b64", "zip", "enc":
			// Extensions that change what the bytes mean, none of which is ours (RFC 7515 §4.1.11, RFC 7797 §3).
			critical = true
			err = d.Skip()
		default:
			err = d.Skip()
		}
		return err
	})
	switch {
	case err != nil:
		return h, Invalid("its header: %v", err)
	case critical:
		return h, Invalid("its header has crit, b64, zip or enc, which are not supported")
	case h.alg == "" || h.kid == "":
		return h, Invalid("its header has no alg or no kid")
	}
	return h, nil
}

type claims struct {
	iss, sub, jti string
	aud           []string
	exp, iat, nbf *int64
	bound         bool // by cnf
	event         bool // by events
	values        map[string]string
}

func parseClaims(segment string, wanted []string) (*claims, error) {
	data, err := decodeSegment(segment)
	if err != nil {
		return nil, err
	}
	c := &claims{values: map[string]string{}}
	date := func(d *strictjson.Decoder) (*int64, error) {
		n, err := d.Int()
		return &n, err
	}
	err = strictjson.Object(data, func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "iss":
			c.iss, err = d.String()
		case "sub":
			c.sub, err = d.String()
		case "jti":
			c.jti, err = d.String()
		case "aud":
			c.aud, err = d.Strings()
		case "exp":
			c.exp, err = date(d)
		case "iat":
			c.iat, err = date(d)
		case "nbf":
			c.nbf, err = date(d)
		case "cnf":
			c.bound = true
			err = d.Skip()
		case "events":
			c.event = true
			err = d.Skip()
		default:
			if slices.Contains(wanted, string(name)) {
				c.values[string(name)], err = d.Scalar()
				return err
			}
			err = d.Skip()
		}
		return err
	})
	if err != nil {
		return nil, Invalid("its claims: %v", err)
	}
	if slices.Contains(wanted, "sub") {
		c.values["sub"] = c.sub
	}
	return c, nil
}

// check judges the claims of an assertion whose signature is good.
func (c *claims) check(e Expect, now time.Time) error {
	switch {
	case c.iss != e.Issuer:
		return Invalid("its iss is another one")
	case c.sub == "" || len(c.sub) > MaxValue:
		return Invalid("its sub is missing, or longer than %d bytes", MaxValue)
	case e.Subject != "" && c.sub != e.Subject:
		return Invalid("its sub is another one")
	case !slices.ContainsFunc(c.aud, func(a string) bool { return slices.Contains(e.Audiences, a) }):
		return Invalid("its aud is another one")
	case e.OneAud && len(c.aud) != 1:
		return Invalid("its aud is more than one")
	case c.exp == nil:
		return Invalid("it has no exp")
	case c.iat == nil && e.MaxAge > 0:
		return Invalid("it has no iat")
	case len(c.jti) > MaxID:
		return Invalid("its jti is longer than %d bytes", MaxID)
	case e.WithID && c.jti == "":
		return Invalid("it has no jti")
	case c.bound:
		return Invalid("it is bound to a key by cnf, which nobody shows here")
	case c.event:
		// It tells of something, such as that the subject was signed out. Not all say so by their typ (RFC 8417 §2.2, §4.5).
		return Invalid("it tells of events, and vouches for nobody")
	}
	for _, v := range c.values {
		if len(v) > MaxValue {
			return Invalid("a claim of it is longer than %d bytes", MaxValue)
		}
	}
	return c.checkTime(e, now)
}

func (c *claims) checkTime(e Expect, now time.Time) error {
	later := func(t *int64) bool { return t != nil && time.Unix(*t, 0).After(now.Add(token.Leeway)) }
	switch exp := time.Unix(*c.exp, 0); {
	case !now.Before(exp.Add(token.Leeway)):
		return Invalid("it has expired")
	case later(c.nbf), later(c.iat):
		return Invalid("it begins later than now")
	case e.MaxLife > 0 && exp.After(now.Add(e.MaxLife+token.Leeway)):
		return Invalid("its exp is more than %d seconds ahead", int64(e.MaxLife/time.Second))
	case e.MaxAge > 0 && !now.Before(time.Unix(*c.iat, 0).Add(e.MaxAge+token.Leeway)):
		return Invalid("its iat is more than %d seconds ago", int64(e.MaxAge/time.Second))
	}
	return nil
}

// decodeSegment is base64url without padding and with one spelling of each value, and not empty.
func decodeSegment(s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		return nil, Invalid("a part of it is not base64url")
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, Invalid("a part of it is not base64url")
	}
	return data, nil
}
