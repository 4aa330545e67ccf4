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
	data, err := decodeSegment(segment)
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

func (d numericDate) time() time.Time { return time.Unix(d.n, 0) }

// claims are both kinds' claims as read.
type claims struct {
	kid, iss, sub, clientID, jti, grantID              string
	aud                                                []string
	scope                                              oauth.Scope
	iat, exp, nbf, authTime, grantEnds, accessLifetime numericDate
	epochs                                             Epochs
	resources                                          []string
	mode                                               Mode
	generation                                         int64
	cnf                                                Confirmation
}

func (c *claims) grant() Grant {
	return Grant{GrantID: c.grantID, ClientID: c.clientID, Subject: c.sub, AuthTime: c.authTime.time(), Epochs: c.epochs}
}

func parseClaims(segment string) (*claims, error) {
	data, err := decodeSegment(segment)
	if err != nil {
		return nil, err
	}
	var c claims
	date := func(d *strictjson.Decoder, to *numericDate) error {
		n, err := d.Int()
		if err == nil && n < 0 {
			return errors.New("a negative time")
		}
		*to = numericDate{n, true}
		return err
	}
	err = strictjson.Object(data, func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "iss":
			c.iss, err = d.String()
		case "aud":
			c.aud, err = d.Strings()
		case "sub":
			c.sub, err = d.String()
		case "client_id":
			c.clientID, err = d.String()
		case "jti":
			c.jti, err = d.String()
		case "grant_id":
			c.grantID, err = d.String()
		case "scope":
			var s string
			if s, err = d.String(); err == nil {
				c.scope, err = oauth.ParseScope(s)
			}
		case "exp":
			err = date(d, &c.exp)
		case "iat":
			err = date(d, &c.iat)
		case "nbf":
			err = date(d, &c.nbf)
		case "auth_time":
			err = date(d, &c.authTime)
		case "grant_ends":
			err = date(d, &c.grantEnds)
		case "access_lifetime":
			err = date(d, &c.accessLifetime)
		case "epochs":
			err = d.Object(func(d *strictjson.Decoder, handle []byte) error {
				n, err := d.Int()
				c.epochs = append(c.epochs, Epoch{Handle: string(handle), N: n})
				return err
			})
		case "resources":
			c.resources, err = d.Strings()
		case "refresh_mode":
			var s string
			s, err = d.String()
			c.mode = Mode(s)
		case "generation":
			if c.generation, err = d.Int(); err == nil && c.generation < 1 {
				err = errors.New("a generation below 1")
			}
		case "cnf":
			c.cnf, err = readConfirmation(d)
		default:
			err = d.Skip()
		}
		return err
	})
	if err != nil {
		return nil, invalid(ReasonClaims, "%v", err)
	}
	return &c, nil
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
	if sum, err := decodeSegment(s); err != nil || len(sum) != sha256.Size {
		return "", errors.New("cnf holds no thumbprint by SHA-256")
	}
	return s, nil
}

// decodeSegment is base64url as RFC 7515 §2 has it: no padding, and only one spelling of each value, so that a token's
// text can't be altered and mean the same. (An ECDSA signature can, by whoever knows one: -s signs what s does. So
// nothing that must not be got around is keyed on a token's text.)
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		return nil, invalid(ReasonMalformed, "a line break in base64url")
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(data) == 0 {
		return nil, invalid(ReasonMalformed, "not base64url")
	}
	return data, nil
}
