package token

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/strictjson"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// parsedHeader is a JOSE header. jku, x5u, jwk and x5c are passed over: a key comes from the ring by its id, or not at
// all.
type parsedHeader struct{ alg, kid, typ string }

func parseHeader(segment string) (parsedHeader, error) {
	var h parsedHeader
	data, err := decodeSegment(nil, segment)
	if err != nil {
		return h, err
	}
	var critical bool
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
		return h, invalid(ReasonMalformed, "header: %v", err)
	case critical:
		return h, invalid(ReasonMalformed, "header: crit, b64, zip or enc is not supported")
	case h.kid == "" || h.alg == "":
		return h, invalid(ReasonMalformed, "header: alg or kid is missing")
	}
	return h, nil
}

// numericDate is a NumericDate claim (RFC 7519 §2) in whole seconds, which is all that we write.
type numericDate struct {
	n   int64
	set bool
}

func (t numericDate) time() time.Time { return time.Unix(t.n, 0) }

func (t *numericDate) read(d *strictjson.Decoder) error {
	n, err := d.Int()
	if err == nil && n < 0 {
		return errors.New("a negative time")
	}
	*t = numericDate{n, true}
	return err
}

// claims are both kinds' claims as read. Times are judged as numbers and, in the Access, handed out.
type claims struct {
	Access
	kid                                                string
	iat, exp, nbf, authTime, grantEnds, accessLifetime numericDate
	resources                                          []string
	mode                                               Mode
	generation                                         int64

	// What reading takes, with room for as many as there usually are: one allocation for all.
	decoder      strictjson.Decoder
	audienceRoom [2]string
	resourceRoom [2]string
	epochsRoom   [2]Epoch
}

// parseClaims reads the claims, by way of the room behind buf.
func parseClaims(buf []byte, segment string) (*claims, error) {
	data, err := decodeSegment(buf, segment)
	if err != nil {
		return nil, err
	}
	c := new(claims)
	if err := c.decoder.Cut(data, c.member); err != nil {
		return nil, invalid(ReasonClaims, "%v", err)
	}
	c.AuthTime, c.IssuedAt, c.ExpiresAt = c.authTime.time(), c.iat.time(), c.exp.time()
	return c, nil
}

// member reads one claim.
func (c *claims) member(d *strictjson.Decoder, name []byte) (err error) {
	switch string(name) {
	case "iss":
		c.Issuer, err = d.String()
	case "aud":
		c.Audience, err = d.AppendStrings(c.audienceRoom[:0])
	case "sub":
		c.Subject, err = d.String()
	case "client_id":
		c.ClientID, err = d.String()
	case "jti":
		c.ID, err = d.String()
	case "grant_id":
		c.GrantID, err = d.String()
	case "scope":
		var s string
		if s, err = d.String(); err == nil {
			c.Scope, err = oauth.ParseScope(s)
		}
	case "exp":
		err = c.exp.read(d)
	case "iat":
		err = c.iat.read(d)
	case "nbf":
		err = c.nbf.read(d)
	case "auth_time":
		err = c.authTime.read(d)
	case "grant_ends":
		err = c.grantEnds.read(d)
	case "access_lifetime":
		err = c.accessLifetime.read(d)
	case "epochs":
		c.Epochs = c.epochsRoom[:0]
		err = d.Object(c.epoch)
	case "resources":
		c.resources, err = d.AppendStrings(c.resourceRoom[:0])
	case "refresh_mode":
		var s string
		s, err = d.String()
		c.mode = Mode(s)
	case "generation":
		if c.generation, err = d.Int(); err == nil && c.generation < 1 {
			err = errors.New("a generation below 1")
		}
	case "cnf":
		c.Confirmation, err = readConfirmation(d)
	default:
		err = d.Skip()
	}
	return err
}

// epoch reads one member of epochs.
func (c *claims) epoch(d *strictjson.Decoder, handle []byte) error {
	name := d.Name(handle)
	n, err := d.Int()
	c.Epochs = append(c.Epochs, Epoch{Handle: name, N: n})
	return err
}

// readConfirmation refuses a binding that it does not know: to pass over it would make a bearer token of a bound one.
func readConfirmation(d *strictjson.Decoder) (Confirmation, error) {
	var c Confirmation
	err := d.Object(func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "jkt":
			c.JKT, err = readThumbprint(d)
		case "x5t#S256":
			c.X5T, err = readThumbprint(d)
		default:
			err = errors.New("cnf binds the token to something unknown")
		}
		return err
	})
	if err == nil && !c.Bound() {
		err = errors.New("cnf is empty")
	}
	return c, err
}

// readThumbprint reads the base64url of a SHA-256.
func readThumbprint(d *strictjson.Decoder) (string, error) {
	s, err := d.String()
	if err != nil {
		return "", err
	}
	if sum, err := decodeSegment(nil, s); err != nil || len(sum) != sha256.Size {
		return "", errors.New("cnf holds no thumbprint by SHA-256")
	}
	return s, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

// decodeSegment is base64url as RFC 7515 §2 has it: no padding, and only one spelling of each value, so that a token's
// text can't be altered and mean the same. (An ECDSA signature can, by whoever knows one: -s signs what s does. So
// nothing that must not be got around is keyed on a token's text.)
//
// It is appended to buf, and what was appended is returned.
func decodeSegment(buf []byte, s string) ([]byte, error) {
	if strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 { // which the decoder would pass over
		return nil, invalid(ReasonMalformed, "a line break in base64url")
	}
	out, err := strictBase64.AppendDecode(buf, []byte(s))
	if err != nil || len(out) == len(buf) {
		return nil, invalid(ReasonMalformed, "not base64url")
	}
	return out[len(buf):], nil
}
