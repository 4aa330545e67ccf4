// Package inner is a step on the way to a forbidden import.
package inner

import "encoding/base32"

// Encode encodes.
func Encode(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) }
