// Package openapi is the OpenAPI 3.1 document of every endpoint, written by hand in openapi.json. Tests hold it to the code and
// to the answers: see internal/openapitest.
package openapi

import (
	"bytes"
	_ "embed" // the document
	"encoding/json"
)

//go:embed openapi.json
var source []byte

// placeholder is the issuer in the document as it is written.
const placeholder = "https://auth.example.com"

// Document returns the document, as JSON without white space, for an issuer: a URL without a path. It stands for the issuer
// wherever the document names one, first of all as its server.
func Document(issuer string) ([]byte, error) {
	quoted, err := json.Marshal(issuer)
	if err != nil {
		return nil, err
	}
	text := bytes.Trim(quoted, `"`)
	var out bytes.Buffer
	if err := json.Compact(&out, bytes.ReplaceAll(source, []byte(placeholder), text)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
