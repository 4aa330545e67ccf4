package traceid_test

import (
	"context"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/traceid"
)

func TestParse(t *testing.T) {
	const id = "1-5759e988-bd862e3fe1be46a994272793"
	for header, want := range map[string]struct {
		id      string
		sampled bool
	}{
		"Root=" + id: {id, false},
		"Root=" + id + ";Parent=53995c3f42cd8ad8;Sampled=1":        {id, true},
		"Self=1-67891234-12456789abcdef012345678; Root=" + id:      {id, false},
		"Sampled=1;Root=" + id + ";Sampled=?":                      {id, false},
		"Root=1-x;Root=" + id:                                      {id, false},
		"Root=" + id + ";Root=1-00000000-000000000000000000000000": {id, false},
		"": {}, "Sampled=1": {}, id: {}, "root=" + id: {}, "Root=" + id + "0": {}, "Root=" + strings.ToUpper(id): {},
		"Root=2-5759e988-bd862e3fe1be46a994272793": {}, "Root=1-5759e988abd862e3fe1be46a994272793": {},
		"Root=1-5759e988-bd862e3fe1be46a99427279\n": {}, `Root=1-5759e988-bd862e3fe1be46a99427"},{`: {},
		"Root=" + id + ";" + strings.Repeat("x", 512): {},
	} {
		if got, sampled := traceid.Parse(header); got != want.id || sampled != want.sampled {
			t.Errorf("%q: %q, %v; want %v", header, got, sampled, want)
		}
	}
}

func TestLambda(t *testing.T) {
	//nolint:staticcheck // SA1029: it is aws-lambda-go's key
	if got := traceid.Lambda(context.WithValue(t.Context(), "x-amzn-trace-id", "Root=1")); got != "Root=1" {
		t.Errorf("%q", got)
	}
	if got := traceid.Lambda(t.Context()); got != "" {
		t.Errorf("%q", got)
	}
}
