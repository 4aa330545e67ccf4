// Package token is what Latchkey's two kinds of JWT say, how they are signed and how they are verified.
//
// An access token (RFC 9068, typ at+jwt) is for resource servers: minutes long, asymmetric, verified offline from the
// JWKS. A refresh token (typ rt+jwt) is for the issuer alone: it seals the whole grant, so that renewing needs no
// database. Different keys sign them, and the type is checked besides, so that neither passes for the other.
//
// There is one verifier; whoever takes a token (authorizer, refresh, introspection, revocation, the command line) comes to
// the same verdict on the same bytes. A bad token is an [*InvalidError]; any other error is an outage.
package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// The types in the header (RFC 8725 §3.11).
const (
	TypeAccess  = "at+jwt" // RFC 9068 §2.1
	TypeRefresh = "rt+jwt"
)

// Leeway is how far clocks may differ: a token is taken this long past its end, and this long before it was issued.
const Leeway = 5 * time.Second

// MaxLength is the longest token looked at, in bytes.
const MaxLength = 8 << 10

// Mode is how a refresh token may be used: a property of the client, sealed in its refresh tokens.
type Mode string

// The modes.
const (
	// ModeBearer: the token and the client id suffice; the grant does not slide.
	ModeBearer Mode = "bearer"
	// ModeSecret: the client authenticates at each refresh (RFC 6749 §6), at the token endpoint only.
	ModeSecret Mode = "secret"
	// ModeRotating: each token works once, and the answer has its successor; at the token endpoint only, which keeps a record
	// of the grant. A token that is used again after that ends the grant: see package rotating.
	ModeRotating Mode = "rotating"
	// ModeDPoP: each refresh proves possession of the key that the client signed in with (RFC 9449).
	ModeDPoP Mode = "dpop"
	// ModeMTLS: each refresh comes over a connection with the certificate that the client signed in with (RFC 8705).
	ModeMTLS Mode = "mtls"
)

// Modes are all of them.
var Modes = []Mode{ModeBearer, ModeDPoP, ModeMTLS, ModeRotating, ModeSecret}

// Confirmation is what a token is bound to (RFC 7800 §3.1): who presents it has to show each that is set. The zero value is
// that of a bearer token.
type Confirmation struct {
	JKT string // the thumbprint of the key that DPoP proofs are signed by (RFC 9449 §6.1)
	X5T string // that of the certificate of mutual TLS, by SHA-256 (RFC 8705 §3.1); see CertificateThumbprint
}

// Bound reports whether a token with it is more than a bearer token.
func (c Confirmation) Bound() bool { return c != Confirmation{} }

// confirmationJSON is its wire form.
type confirmationJSON struct {
	JKT string `json:"jkt,omitempty"`
	X5T string `json:"x5t#S256,omitempty"`
}

// MarshalJSON writes the claim cnf, and the member of that name in an introspection (RFC 8705 §3.2, RFC 9449 §6.2).
func (c Confirmation) MarshalJSON() ([]byte, error) { return json.Marshal(confirmationJSON(c)) }

// IsZero leaves it out of an object that says omitzero.
func (c Confirmation) IsZero() bool { return !c.Bound() }

// Type is the token_type of an access token that is bound so (RFC 6749 §7.1). One that is bound to a certificate alone is
// presented as a bearer token is.
func (c Confirmation) Type() string {
	if c.JKT != "" {
		return "DPoP" // RFC 9449 §5
	}
	return "Bearer"
}

// CertificateThumbprint is the one that tokens are bound to, of a certificate in DER.
func CertificateThumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Grant is what a sign-in established; each token of its family seals it.
type Grant struct {
	GrantID  string    // g_ and 128 random bits; revocation ends the whole family by it
	ClientID string    // RFC 8693 §4.3
	Subject  string    // the client's id where no user is involved
	AuthTime time.Time // when the client presented its credentials
	Epochs   Epochs
}

// Epochs seals the state of the records that a grant rests on: a record's random handle and its epoch then. When an
// operator takes something away, the record's epoch grows, and "this handle below that epoch" is revoked.
type Epochs []Epoch

// Epoch is one record's.
type Epoch = revocation.Epoch

// Access is an access token's claims.
type Access struct {
	Grant
	Issuer    string
	Audience  []string
	IssuedAt  time.Time
	ExpiresAt time.Time
	ID        string // jti
	Scope     oauth.Scope

	Confirmation Confirmation // what it is bound to
}

// Refresh is a refresh token's claims. Its audience is its issuer.
type Refresh struct {
	Grant
	Issuer         string
	IssuedAt       time.Time
	ExpiresAt      time.Time
	ID             string
	Scope          oauth.Scope   // all that was granted; each access token has a part of it
	Resources      []string      // the audiences that access tokens may have; the first is the default (RFC 8707 §2.2)
	Mode           Mode          // how this token may be used
	GrantEnds      time.Time     // no token of the family outlives it
	AccessLifetime time.Duration // of the access tokens
	Generation     int64         // with ModeRotating: 1 for the first of its grant, one more for each successor; else 0
	Confirmation   Confirmation  // what it is bound to, with any mode
	KeyID          string        // of the key that verified it; of no token that is being made
}

// NewID returns 128 random bits for a jti, or with a prefix for other ids.
func NewID(prefix string) string {
	var b [16]byte
	rand.Read(b[:])
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// GrantPrefix begins each grant's id.
const GrantPrefix = "g_"

// Reason is why a token is invalid, in one word for logs and metrics.
type Reason string

// The reasons.
const (
	ReasonMalformed Reason = "malformed"
	ReasonType      Reason = "type"
	ReasonAlgorithm Reason = "algorithm"
	ReasonKey       Reason = "unknown_key"
	ReasonSignature Reason = "signature"
	ReasonIssuer    Reason = "issuer"
	ReasonAudience  Reason = "audience"
	ReasonExpired   Reason = "expired"
	ReasonNotYet    Reason = "not_yet_valid"
	ReasonClaims    Reason = "claims"
	ReasonRevoked   Reason = "revoked"
	ReasonEnded     Reason = "ended"  // its grant is over
	ReasonReused    Reason = "reused" // it has had its use; its grant ends with this
)

// InvalidError says that a token is bad, and why. Its text holds nothing of the token but, where that has ended, when.
type InvalidError struct {
	Reason Reason
	Detail string
}

func (e *InvalidError) Error() string { return "invalid token: " + string(e.Reason) + ": " + e.Detail }

func invalid(reason Reason, format string, args ...any) error {
	return &InvalidError{reason, fmt.Sprintf(format, args...)}
}

// VerificationKeys finds the key of an id: keyring.ErrUnknownKey where there is none; any other error is an outage.
type VerificationKeys interface {
	VerificationKey(ctx context.Context, kid string) (keyring.VerificationKey, error)
}

// Config is what a verifier needs to know.
type Config struct {
	// Issuer is the issuer taken, compared byte by byte. Required.
	Issuer string
	// AcceptedIssuers are other names of the same issuer: what it was called before it moved to another domain, or is to be
	// called. Their tokens are taken as its own, by the same keys. Never another deployment's. Nil: none.
	AcceptedIssuers []string
	// Audiences are those one of which an access token must name. Required for access tokens, unused for refresh tokens,
	// whose audience is the issuer that they name.
	Audiences []string
	// Keys are the verification keys. Required.
	Keys VerificationKeys
	// MaxLifetime is the deployment's cap on tokens of this kind: one that says to live longer, as one of before the cap was
	// lowered does, ends that long after it was issued. What is remembered of revoked tokens rests on it. Zero: no cap.
	MaxLifetime time.Duration
	// Revocations is asked last, about a token that is valid otherwise. Nil: nothing is ever revoked.
	Revocations Revocations
	// Cache is how many valid access tokens an AccessVerifier remembers at most, so that one which is shown again costs no
	// signature check; each takes 1 to 9 KiB. Time, key and revocations are asked anew at each sight. The claims of a
	// remembered token are shared by all who show it: see AccessVerifier.Verify. Unused for other verifiers. Zero: none.
	Cache int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Revocations knows what is revoked: a *revocation.RevokedError says that a token is; any other error is an outage.
// *revocation.View is one.
type Revocations interface {
	Check(ctx context.Context, f revocation.Facts) error
}

// verifier checks tokens of one kind.
type verifier struct {
	Config
	typ         string
	anyAudience bool // for AccessOrigin alone
	headers     *headers
	cache       *cache // nil: none
}

// AccessVerifier verifies access tokens. Make one with NewAccessVerifier. Safe for many goroutines.
type AccessVerifier struct{ v verifier }

// RefreshVerifier verifies refresh tokens. Make one with NewRefreshVerifier. Safe for many goroutines.
type RefreshVerifier struct{ v verifier }

// NewAccessVerifier refuses a configuration that would leave something unchecked.
func NewAccessVerifier(c Config) (*AccessVerifier, error) {
	if len(c.Audiences) == 0 {
		return nil, errors.New("token: an access-token verifier needs an audience")
	}
	for _, a := range c.Audiences {
		if a == "" {
			return nil, errors.New("token: an empty audience")
		}
	}
	if c.Cache < 0 {
		return nil, errors.New("token: a cache of fewer than no tokens")
	}
	v, err := newVerifier(c, TypeAccess)
	if c.Cache > 0 {
		v.cache = newCache(c.Cache)
	}
	return &AccessVerifier{v}, err
}

// NewRefreshVerifier refuses a configuration that would leave something unchecked.
func NewRefreshVerifier(c Config) (*RefreshVerifier, error) {
	v, err := newVerifier(c, TypeRefresh)
	return &RefreshVerifier{v}, err
}

func newVerifier(c Config, typ string) (verifier, error) {
	if c.Issuer == "" || c.Keys == nil {
		return verifier{}, errors.New("token: a verifier needs an issuer and keys")
	}
	if slices.Contains(c.AcceptedIssuers, "") {
		return verifier{}, errors.New("token: an accepted issuer without a name")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return verifier{Config: c, typ: typ, headers: new(headers)}, nil
}

// AccessOrigin tells which access tokens this issuer made. It judges neither whom they are for nor their time nor whether
// they are revoked, and so lets nobody in: it is for revoking them. Make one with NewAccessOrigin. Safe for many
// goroutines.
type AccessOrigin struct{ v verifier }

// NewAccessOrigin makes an AccessOrigin; Audiences and Revocations are unused.
func NewAccessOrigin(c Config) (*AccessOrigin, error) {
	v, err := newVerifier(c, TypeAccess)
	v.anyAudience = true
	return &AccessOrigin{v}, err
}

// Authentic returns the claims of an access token that this issuer made.
func (a *AccessOrigin) Authentic(ctx context.Context, raw string) (*Access, error) {
	c, _, err := a.v.authentic(ctx, raw)
	if err != nil {
		return nil, err
	}
	return &c.Access, nil
}

// Cached is how many tokens were shown that were remembered, and how many that had to be verified, bad ones among them. Both
// are zero without Config.Cache.
func (a *AccessVerifier) Cached() (hits, misses uint64) {
	if a.v.cache == nil {
		return 0, 0
	}
	return a.v.cache.hits.Load(), a.v.cache.misses.Load()
}

// Verify returns the claims of a valid access token. They must not be changed: with Config.Cache, each who shows the token
// gets the same.
func (a *AccessVerifier) Verify(ctx context.Context, raw string) (*Access, error) {
	verify := a.v.verify
	if a.v.cache != nil {
		verify = a.v.verifySeen
	}
	c, err := verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	return &c.Access, nil
}

// Verify returns the claims of a valid refresh token.
func (r *RefreshVerifier) Verify(ctx context.Context, raw string) (*Refresh, error) {
	c, err := r.v.verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if c.mode == "" || len(c.resources) == 0 || !c.grantEnds.set || !c.accessLifetime.set || c.accessLifetime.n <= 0 {
		return nil, invalid(ReasonClaims, "a claim that every refresh token has is missing")
	}
	if (c.mode == ModeRotating) != (c.generation > 0) {
		return nil, invalid(ReasonClaims, "a generation is what refresh tokens of mode rotating have, and no others")
	}
	if c.mode == ModeDPoP && c.Confirmation.JKT == "" || c.mode == ModeMTLS && c.Confirmation.X5T == "" {
		return nil, invalid(ReasonClaims, "it is not bound to what its mode asks for")
	}
	return &Refresh{
		Grant: c.Grant, Issuer: c.Issuer, IssuedAt: c.iat.time(), ExpiresAt: c.exp.time(), ID: c.ID, Scope: c.Scope,
		Resources: c.resources, Mode: c.mode, GrantEnds: c.grantEnds.time(),
		AccessLifetime: time.Duration(c.accessLifetime.n) * time.Second, Generation: c.generation,
		Confirmation: c.Confirmation, KeyID: c.kid,
	}, nil
}

// Authentic returns the claims of a refresh token that this issuer made, though its time may be over and it may be revoked:
// enough to revoke its grant by, and for nothing else.
func (r *RefreshVerifier) Authentic(ctx context.Context, raw string) (*Grant, error) {
	c, _, err := r.v.authentic(ctx, raw)
	if err != nil {
		return nil, err
	}
	return &c.Grant, nil
}

// verify is the one way to a verdict: what authentic asks, then the time, then the revocations.
func (v *verifier) verify(ctx context.Context, raw string) (*claims, error) {
	c, _, err := v.authentic(ctx, raw)
	if err != nil {
		return nil, err
	}
	if _, err := v.valid(ctx, v.capped(c), 0); err != nil {
		return nil, err
	}
	return c, nil
}

// capped ends the claims at the cap.
func (v *verifier) capped(c *claims) *claims {
	if v.MaxLifetime > 0 {
		c.exp.n = min(c.exp.n, c.iat.n+int64(v.MaxLifetime/time.Second))
		c.ExpiresAt = c.exp.time()
	}
	return c
}

// valid judges what may change for an authentic token: the time and the revocations, of which it was held against those up
// to since before.
func (v *verifier) valid(ctx context.Context, c *claims, since revocation.Said) (said revocation.Said, err error) {
	if err := c.checkTime(v.Now()); err != nil {
		return 0, err
	}
	if v.Revocations == nil {
		return 0, nil
	}
	facts := revocation.Facts{
		KeyID: c.kid, GrantID: c.GrantID, Subject: c.Subject, Issuer: c.Issuer, AuthTime: c.AuthTime, Epochs: c.Epochs,
	}
	if v.typ == TypeAccess {
		facts.TokenID = c.ID
	}
	if len(v.AcceptedIssuers) > 0 && c.Issuer != v.Issuer {
		facts.Renamed = v.Issuer
	}
	if r, ok := v.Revocations.(sinceChecker); ok {
		said, err = r.CheckSince(ctx, facts, since)
	} else {
		err = v.Revocations.Check(ctx, facts)
	}
	if err == nil {
		return said, nil
	}
	var revoked *revocation.RevokedError
	if errors.As(err, &revoked) {
		return 0, invalid(ReasonRevoked, "%s", revoked.Reason)
	}
	return 0, fmt.Errorf("looking for revocations: %w", err)
}

// sinceChecker are Revocations that know when they need not look again, as *revocation.View does.
type sinceChecker interface {
	CheckSince(ctx context.Context, f revocation.Facts, since revocation.Said) (revocation.Said, error)
}

// key finds the key of an id.
func (v *verifier) key(ctx context.Context, kid string) (keyring.VerificationKey, error) {
	key, err := v.Keys.VerificationKey(ctx, kid)
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, keyring.ErrUnknownKey):
		return keyring.VerificationKey{}, invalid(ReasonKey, "no key of its kid verifies now")
	}
	return keyring.VerificationKey{}, fmt.Errorf("finding the verification key: %w", err)
}

// authentic returns the claims of a token that we made, for whom it is meant here, whenever it was, and the key that
// verified it: shape, header, signature, then claims.
func (v *verifier) authentic(ctx context.Context, raw string) (*claims, keyring.VerificationKey, error) {
	var none keyring.VerificationKey
	head, body, signature, err := split(raw)
	if err != nil {
		return nil, none, err
	}
	h, known := v.headers.get(head)
	if !known {
		if h, err = parseHeader(head); err != nil {
			return nil, none, err
		}
	}
	if h.typ != v.typ {
		return nil, none, invalid(ReasonType, "the typ is not %s", v.typ)
	}
	key, err := v.key(ctx, h.kid)
	if err != nil {
		return nil, none, err
	}
	if h.alg != string(key.Algorithm) {
		return nil, none, invalid(ReasonAlgorithm, "the alg is not its key's, %s", key.Algorithm)
	}
	buf := make([]byte, 0, strictBase64.DecodedLen(len(signature))+strictBase64.DecodedLen(len(body)))
	sig, err := decodeSegment(buf, signature)
	if err != nil {
		return nil, none, err
	}
	if err := key.Verify(raw[:len(head)+1+len(body)], sig); err != nil {
		return nil, none, invalid(ReasonSignature, "the signature does not verify")
	}
	if !known {
		v.headers.add(head, h)
	}
	c, err := parseClaims(sig, body)
	if err != nil {
		return nil, none, err
	}
	c.kid = h.kid
	if err := c.check(v); err != nil {
		return nil, none, err
	}
	return c, key, nil
}

// split takes the compact serialisation apart (RFC 7515 §7.1).
func split(raw string) (head, body, signature string, err error) {
	if len(raw) > MaxLength {
		return "", "", "", invalid(ReasonMalformed, "longer than %d bytes", MaxLength)
	}
	head, rest, ok1 := strings.Cut(raw, ".")
	body, signature, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(signature, ".") {
		return "", "", "", invalid(ReasonMalformed, "not three parts joined by dots")
	}
	return head, body, signature, nil
}

// check judges the claims, but for the time, of a token whose signature is good.
func (c *claims) check(v *verifier) error {
	switch {
	case c.Issuer != v.Issuer && !slices.Contains(v.AcceptedIssuers, c.Issuer):
		return invalid(ReasonIssuer, "of another issuer")
	case !c.meantFor(v):
		return invalid(ReasonAudience, "for another audience")
	case !c.exp.set || !c.iat.set || !c.authTime.set:
		return invalid(ReasonClaims, "exp, iat or auth_time is missing")
	case c.ID == "" || c.Subject == "" || c.ClientID == "" || c.GrantID == "" || len(c.Epochs) == 0:
		return invalid(ReasonClaims, "jti, sub, client_id, grant_id or epochs is missing")
	case c.authTime.n > c.iat.n+int64(Leeway/time.Second):
		// Who has stolen a key could put a sign-in so far into the future that no revocation of those before a time reaches it.
		return invalid(ReasonClaims, "its sign-in is later than itself")
	case c.exp.n <= c.iat.n:
		return invalid(ReasonClaims, "it ends before it begins")
	}
	return nil
}

// checkTime judges whether it is a token's time.
func (c *claims) checkTime(now time.Time) error {
	switch {
	case !now.Before(c.exp.time().Add(Leeway)):
		return invalid(ReasonExpired, "it ended at %s", c.exp.time().UTC().Format(time.RFC3339))
	case now.Add(Leeway).Before(c.iat.time()) || c.nbf.set && now.Add(Leeway).Before(c.nbf.time()):
		return invalid(ReasonNotYet, "it begins later than now")
	}
	return nil
}

// meantFor judges the audience of a token whose issuer is taken.
func (c *claims) meantFor(v *verifier) bool {
	switch {
	case v.anyAudience:
		return true
	case v.typ == TypeRefresh:
		return slices.Contains(c.Audience, c.Issuer)
	}
	return slices.ContainsFunc(c.Audience, func(have string) bool { return slices.Contains(v.Audiences, have) })
}
