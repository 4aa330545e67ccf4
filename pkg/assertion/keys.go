package assertion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// MaxURL is the longest URL of a record, in bytes.
const MaxURL = 512

// MaxStoredJWKS is the largest set of keys in a record, in bytes.
const MaxStoredJWKS = 16 << 10

// KeySource is where the keys of an assertion's maker are: a JWKS itself, or the URL of one. Empty: there are none.
type KeySource string

// JWKS is the set itself, nil where it is at a URL.
func (s KeySource) JWKS() []byte {
	if !strings.HasPrefix(string(s), "{") {
		return nil
	}
	return []byte(s)
}

// URL is where the set is, empty where it is here.
func (s KeySource) URL() string {
	if s.JWKS() != nil {
		return ""
	}
	return string(s)
}

// Validate says what is wrong with it, in words for the operator.
func (s KeySource) Validate() error {
	switch set := s.JWKS(); {
	case s == "":
		return nil
	case set == nil:
		return ValidURL("jwks_uri", string(s), true)
	case len(set) > MaxStoredJWKS:
		return fmt.Errorf("the JWKS is larger than %d bytes", MaxStoredJWKS)
	default:
		if _, err := keyring.ParseJWKS(set); err != nil {
			return fmt.Errorf("the JWKS, in which each key has to have a kid: %w", err)
		}
		return nil
	}
}

// ParseKeys makes a KeySource of a JWKS.
func ParseKeys(jwks []byte) (KeySource, error) {
	var out bytes.Buffer
	if err := json.Compact(&out, jwks); err != nil {
		return "", fmt.Errorf("the JWKS is not JSON: %w", err)
	}
	s := KeySource(out.String())
	if s.JWKS() == nil {
		return "", fmt.Errorf("the JWKS is not an object with the member keys (RFC 7517 section 5)")
	}
	return s, s.Validate()
}

// ValidURL takes https URLs without user and fragment, and without a query unless that may be; http for this machine's own
// addresses alone, which is of use only where a laptop was told to go there. What is no character of a URL is refused (RFC 3986
// §2), for some of it steers the terminals and logs in which it is shown.
func ValidURL(what, s string, query bool) error {
	u, err := url.Parse(s)
	visible := !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
	if err == nil && visible && len(s) <= MaxURL && u.Host != "" && u.User == nil && u.Fragment == "" && (query || u.RawQuery == "" && !u.ForceQuery) {
		ip, errIP := netip.ParseAddr(u.Hostname())
		local := u.Hostname() == "localhost" || errIP == nil && ip.IsLoopback()
		if u.Scheme == "https" || u.Scheme == "http" && local {
			return nil
		}
	}
	return fmt.Errorf("%s %q: it must be an https URL of at most %d bytes", what, s, MaxURL)
}
