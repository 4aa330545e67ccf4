package authorizer_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestIDs: lines tell which request they are of, and of which trace where that is of use, by the header or by Lambda.
func TestIDs(t *testing.T) {
	const (
		header = "1-67891233-abcdef012345678912345678" // the fixtures'
		lambda = "1-67891233-000000000000000000000000"
	)
	w := newWorld(t)
	good, bad := "Bearer "+w.token(nil), "Bearer x"
	for _, test := range []struct {
		name, token, old, new, lambda string
		form                          form
		wantID, wantTrace             any
	}{
		{"allowed", good, "", "", "Root=" + lambda, forms[1], "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", nil},
		{"allowed and recorded", good, "Root=" + header, "Root=" + header + ";Sampled=1", "", forms[1], "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", header},
		{"recorded by Lambda", good, "", "", "Root=" + lambda + ";Sampled=1", forms[1], "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", lambda},
		{"another header says so", good, `"Host"`, `"X-Say":"Sampled=1","Host"`, "", forms[1], "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", nil},
		{"refused", bad, "", "", "Root=" + lambda, forms[1], "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", header},
		{"refused, with another's text", bad, "Root=" + header, `Root=1-\n\",\"event\":\"x`, "Root=x", forms[1], "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", nil},
		{"refused, TOKEN", bad, "", "", "Root=" + lambda, forms[0], nil, lambda},
		{"an id that is too long", bad, "c6af9ac6-", strings.Repeat("c6af9ac6-", 20), "", forms[1], nil, header},
		{"no event", bad, "arn:aws", "arn;aws", "Root=" + lambda, forms[1], nil, lambda},
	} {
		payload := event(t, test.form, test.token)
		if test.old != "" {
			if !bytes.Contains(payload, []byte(test.old)) {
				t.Fatalf("%s: the event has no %s", test.name, test.old)
			}
			payload = bytes.ReplaceAll(payload, []byte(test.old), []byte(test.new))
		}
		//nolint:staticcheck // SA1029: it is aws-lambda-go's key
		ctx := context.WithValue(t.Context(), "x-amzn-trace-id", test.lambda)
		_, _ = w.authorizer(test.form.setting).Invoke(ctx, payload)
		if line := w.line(); line["request_id"] != test.wantID || line["trace_id"] != test.wantTrace {
			t.Errorf("%s: %v", test.name, line)
		}
	}
}
