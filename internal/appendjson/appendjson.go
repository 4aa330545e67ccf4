// Package appendjson writes JSON by appending to a buffer, where encoding/json's allocations would count.
package appendjson

import (
	"bytes"
	"encoding/json"
)

// String appends s as a JSON string. What needs escapes is left to encoding/json, which knows them all; but <, > and & stay as
// they are: escaped, each would take six bytes, and no HTML is near.
func String(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return append(dst, escaped(s)...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func escaped(s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always has a form, whatever its bytes
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
