package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// digest answers the stack with Digest, which changes whenever one of the property Settings does. The template has it in the
// versions of all functions, so that a change of a parameter publishes new ones (docs/decisions/20-versions-and-digest.md).
func digest(properties json.RawMessage) (map[string]string, error) {
	var p struct{ Settings []string }
	if len(properties) == 0 {
		properties = json.RawMessage("{}")
	}
	if err := json.Unmarshal(properties, &p); err != nil {
		return nil, errors.New("the property Settings is not a list of strings")
	}
	text, err := json.Marshal(p.Settings)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return map[string]string{"Digest": hex.EncodeToString(sum[:8])}, nil
}
