// Package dpop verifies DPoP proofs (RFC 9449): small JWTs, one a request, by which a client shows that it holds the private
// key which its tokens are bound to. Where they are stolen, tokens alone are of no use.
//
//	v := &dpop.Verifier{}
//	proof, err := v.Verify(ctx, r.Header.Values(dpop.Header), dpop.Request{Method: r.Method, URLs: []string{"https://api.example/orders"}, AccessToken: raw})
//
// Every item of RFC 9449 §4.3 is checked. A bad proof is an [*InvalidError] and one that wants a newer nonce a
// [*NonceError]; any other error is an outage. What a proof does not cover is the rest of the request: whoever gets hold of
// a proof *and* the token can repeat that method at that URL, with another body perhaps, for as long as the proof is taken.
// Nonces and Replays are there to narrow that down.
package dpop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/strictjson"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// The names on the wire.
const (
	Header      = "DPoP"       // the request header with the proof (RFC 9449 §4.1)
	HeaderNonce = "DPoP-Nonce" // the answer's header with a nonce (RFC 9449 §8)
	Scheme      = "DPoP"       // the authentication scheme of bound access tokens (RFC 9449 §7.1)
	Type        = "dpop+jwt"   // a proof's typ
)

// Algorithms are those that proofs may be signed by. Ed25519 is RFC 9864's name of what EdDSA is with such a key.
var Algorithms = []string{"ES256", "Ed25519", "EdDSA", "RS256"}

// Bounds of a proof.
const (
	MaxLength = 4 << 10 // of the whole of it, in bytes
	MaxID     = 256     // of its jti
)

// DefaultWindow is how old a proof may be.
const DefaultWindow = time.Minute

// Verifier verifies proofs. The zero value takes proofs of the last minute. Safe for many goroutines.
type Verifier struct {
	// Window is how old a proof may be; zero means DefaultWindow. Clocks may differ by token.Leeway besides.
	Window time.Duration
	// Nonces makes each proof hold a recent one. Nil: none is asked for, and one that a proof holds is passed over.
	Nonces *Nonces
	// Replays refuses a proof that was seen before. Nil: nothing is remembered.
	Replays *Replays
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Request is what a proof must have been made for.
type Request struct {
	Method string
	// URLs are the addresses, one of which the request was made to, as the server's configuration has them and never as the
	// request's own Host does. Query and fragment are passed over.
	URLs []string
	// AccessToken is the token that the request presents, "" at a token endpoint.
	AccessToken string
}

// Proof is what a valid one says.
type Proof struct {
	Thumbprint string    // of its key (RFC 7638), as a bound token's Confirmation.JKT has it
	ID         string    // its jti
	IssuedAt   time.Time // by the client's clock
}

// Reason is why a proof is invalid, in one word for logs and metrics.
type Reason string

// The reasons, in the order of RFC 9449 §4.3.
const (
	ReasonMissing   Reason = "proof_missing"
	ReasonRepeated  Reason = "proof_repeated" // more than one header
	ReasonMalformed Reason = "proof_malformed"
	ReasonType      Reason = "proof_type"
	ReasonAlgorithm Reason = "proof_algorithm"
	ReasonKey       Reason = "proof_key"
	ReasonSignature Reason = "proof_signature"
	ReasonMethod    Reason = "proof_method"
	ReasonURL       Reason = "proof_url"
	ReasonNonce     Reason = "proof_nonce"
	ReasonTime      Reason = "proof_time"
	ReasonToken     Reason = "proof_token"    // made for another access token
	ReasonBinding   Reason = "proof_binding"  // by another key than the one that the access token is bound to
	ReasonReplayed  Reason = "proof_replayed" // it had its use
)

// InvalidError says that a proof is bad (invalid_dpop_proof), and why. Its text holds nothing of the proof.
type InvalidError struct {
	Reason Reason
	Detail string
}

func (e *InvalidError) Error() string { return "invalid DPoP proof: " + e.Detail }

func invalid(reason Reason, format string, args ...any) error {
	return &InvalidError{reason, fmt.Sprintf(format, args...)}
}

// NonceError says that a proof is good but for its nonce (use_dpop_nonce), and which it may have.
type NonceError struct{ Nonce string }

func (e *NonceError) Error() string { return "a DPoP proof without a nonce of ours that is recent" }

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

func (v *Verifier) window() time.Duration {
	if v.Window != 0 {
		return v.Window
	}
	return DefaultWindow
}

// Verify judges the values of the DPoP header. Whoever takes a bound access token still has to compare its binding with the
// proof's thumbprint; see Bound.
func (v *Verifier) Verify(ctx context.Context, header []string, r Request) (*Proof, error) {
	switch {
	case len(header) == 0:
		return nil, invalid(ReasonMissing, "there is no DPoP header")
	case len(header) > 1:
		return nil, invalid(ReasonRepeated, "there is more than one DPoP header")
	}
	p, err := parse(header[0])
	if err != nil {
		return nil, err
	}
	if err := p.checkRequest(r); err != nil {
		return nil, err
	}
	now := v.now()
	if err := p.checkTime(now, v.window()); err != nil {
		return nil, err
	}
	if v.Nonces != nil {
		if err := v.Nonces.check(ctx, p.nonce, now); err != nil {
			return nil, err
		}
	}
	proof := &Proof{Thumbprint: p.thumbprint, ID: p.jti, IssuedAt: time.Unix(p.iat, 0)}
	if v.Replays != nil && !v.Replays.first(proof, now, v.window()+2*token.Leeway) {
		return nil, invalid(ReasonReplayed, "the proof was used before: make a new one for each request")
	}
	return proof, nil
}

// Bound compares the key of a proof with the one that an access token is bound to (RFC 9449 §4.3, the last item). A token
// that is bound to none is refused: to take it would let a client believe that its proofs count (§7.1).
func (p *Proof) Bound(c token.Confirmation) error {
	switch c.JKT {
	case "":
		return invalid(ReasonBinding, "the access token is not bound to a key")
	case p.Thumbprint:
		return nil
	}
	return invalid(ReasonBinding, "the access token is bound to another key")
}

// parsed is a proof whose signature verifies by the key that it names itself.
type parsed struct {
	alg, typ                   string
	key                        keyring.VerificationKey
	thumbprint                 string
	jti, htm, htu, ath, nonce  string
	iat                        int64
	hasIAT, hasKey, isCritical bool
	privateKey                 bool
	ends, begins               *int64 // exp and nbf, of which RFC 9449 says nothing and RFC 7519 does
}

// parse checks all that does not depend on the request: items 2 to 7 of RFC 9449 §4.3.
func parse(raw string) (*parsed, error) {
	if len(raw) > MaxLength {
		return nil, invalid(ReasonMalformed, "the proof is longer than %d bytes", MaxLength)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, invalid(ReasonMalformed, "the proof is not three parts joined by dots")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = decodeSegment(part); err != nil {
			return nil, invalid(ReasonMalformed, "a part of the proof is not base64url")
		}
	}
	p := &parsed{}
	if err := p.readHeader(decoded[0]); err != nil {
		return nil, err
	}
	if err := p.key.Verify(raw[:len(parts[0])+1+len(parts[1])], decoded[2]); err != nil {
		return nil, invalid(ReasonSignature, "the proof's signature does not verify by its jwk")
	}
	return p, p.readClaims(decoded[1])
}

// readHeader reads the JOSE header. kid, jku, x5u and x5c are passed over: the key is in jwk, or nowhere.
func (p *parsed) readHeader(data []byte) error {
	var jwk keyring.JWK
	err := strictjson.Object(data, func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "alg":
			p.alg, err = d.String()
		case "typ":
			p.typ, err = d.String()
		case "jwk":
			p.hasKey = true
			if jwk, err = keyring.ReadJWK(d); errors.Is(err, keyring.ErrPrivateJWK) {
				p.privateKey, err = true, nil
			}
		case "crit", "b64", "zip", "enc":
			// Extensions that change what the bytes mean, none of which is ours (RFC 7515 §4.1.11, RFC 7797 §3).
			p.isCritical = true
			err = d.Skip()
		default:
			err = d.Skip()
		}
		return err
	})
	switch {
	case err != nil:
		return invalid(ReasonMalformed, "the proof's header: %v", err)
	case p.isCritical:
		return invalid(ReasonMalformed, "the proof's header: crit, b64, zip or enc is not supported")
	case p.typ != Type:
		return invalid(ReasonType, "the proof's typ is not %s", Type)
	case !slices.Contains(Algorithms, p.alg):
		return invalid(ReasonAlgorithm, "the proof's alg is none of %s", strings.Join(Algorithms, ", "))
	case !p.hasKey:
		return invalid(ReasonKey, "the proof's header has no jwk")
	case p.privateKey:
		return invalid(ReasonKey, "the proof's jwk is not a public key: whatever was private in it is compromised")
	case jwk.Algorithm != "" && string(jwk.Algorithm) != p.alg, jwk.Use != "" && jwk.Use != "sig":
		return invalid(ReasonKey, "the proof's jwk is for something else than the proof's alg")
	}
	jwk.Algorithm = ""
	if p.key, err = jwk.VerificationKey(); err != nil {
		return invalid(ReasonKey, "the proof's jwk: %v", err)
	}
	if string(p.key.Algorithm) != p.alg && !(p.key.Algorithm == keyring.EdDSA && p.alg == "Ed25519") {
		return invalid(ReasonKey, "the proof's jwk is not a key for its alg")
	}
	if p.thumbprint, err = p.key.Thumbprint(); err != nil {
		return invalid(ReasonKey, "the proof's jwk: %v", err)
	}
	return nil
}

func (p *parsed) readClaims(data []byte) error {
	date := func(d *strictjson.Decoder) (*int64, error) {
		n, err := d.Int()
		return &n, err
	}
	err := strictjson.Object(data, func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "jti":
			p.jti, err = d.String()
		case "htm":
			p.htm, err = d.String()
		case "htu":
			p.htu, err = d.String()
		case "ath":
			p.ath, err = d.String()
		case "nonce":
			p.nonce, err = d.String()
		case "iat":
			p.hasIAT = true
			p.iat, err = d.Int()
		case "exp":
			p.ends, err = date(d)
		case "nbf":
			p.begins, err = date(d)
		default:
			err = d.Skip()
		}
		return err
	})
	switch {
	case err != nil:
		return invalid(ReasonMalformed, "the proof's claims: %v", err)
	case p.jti == "" || p.htm == "" || p.htu == "" || !p.hasIAT:
		return invalid(ReasonMalformed, "the proof lacks jti, htm, htu or iat")
	case len(p.jti) > MaxID:
		return invalid(ReasonMalformed, "the proof's jti is longer than %d bytes", MaxID)
	}
	return nil
}

// checkRequest compares the proof with the request that it came with.
func (p *parsed) checkRequest(r Request) error {
	if p.htm != r.Method {
		return invalid(ReasonMethod, "the proof's htm is not the request's method")
	}
	made, err := normalURL(p.htu)
	if err != nil {
		return invalid(ReasonURL, "the proof's htu: %v", err)
	}
	if !slices.ContainsFunc(r.URLs, func(u string) bool {
		here, err := normalURL(u)
		return err == nil && here == made
	}) {
		return invalid(ReasonURL, "the proof's htu is not the address of this request")
	}
	if r.AccessToken != "" && p.ath != TokenHash(r.AccessToken) {
		return invalid(ReasonToken, "the proof's ath is not the hash of the access token")
	}
	return nil
}

// TokenHash is the claim ath for an access token (RFC 9449 §4.2).
func TokenHash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkTime judges a proof's age by the client's clock.
func (p *parsed) checkTime(now time.Time, window time.Duration) error {
	made := time.Unix(p.iat, 0)
	switch {
	case made.After(now.Add(token.Leeway)):
		return invalid(ReasonTime, "the proof's iat is later than now: check the client's clock")
	case !now.Before(made.Add(window + token.Leeway)):
		return invalid(ReasonTime, "the proof's iat is more than %d seconds ago: make a new proof for each request", int(window/time.Second))
	case p.ends != nil && !now.Before(time.Unix(*p.ends, 0).Add(token.Leeway)):
		return invalid(ReasonTime, "the proof has ended")
	case p.begins != nil && time.Unix(*p.begins, 0).After(now.Add(token.Leeway)):
		return invalid(ReasonTime, "the proof begins later than now")
	}
	return nil
}

// decodeSegment is base64url without padding and with one spelling of each value, and not empty.
func decodeSegment(s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		return nil, errors.New("not base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
