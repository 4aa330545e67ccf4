package token

import (
	"strings"
	"time"
)

// SaysIssuedAt is when a token says that it was made, whoever wrote that: nothing of it was verified. It tells a token whose
// key may be too new to be known yet from one whose key is known not to be ours. ok is false if it says nothing that can be
// read.
func SaysIssuedAt(raw string) (at time.Time, ok bool) {
	parts := strings.Split(raw, ".")
	if len(raw) > MaxLength || len(parts) != 3 {
		return time.Time{}, false
	}
	c, err := parseClaims(nil, parts[1])
	if err != nil || !c.iat.set {
		return time.Time{}, false
	}
	return c.iat.time(), true
}
