package gatewayctx_test

import (
	"context"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

func TestNothingIsTold(t *testing.T) {
	ctx := context.Background()
	if got := gatewayctx.RequestID(ctx); got != "" {
		t.Errorf("RequestID of an empty context = %q", got)
	}
	if values, ok := gatewayctx.Authorizer(ctx); ok || values != nil {
		t.Errorf("Authorizer of an empty context = %v, %v: it must tell that there is none", values, ok)
	}
}

func TestRoundTrip(t *testing.T) {
	ctx := gatewayctx.WithRequestID(context.Background(), "id-1")
	ctx = gatewayctx.WithAuthorizer(ctx, map[string]string{"sub": "demo"})
	if got := gatewayctx.RequestID(ctx); got != "id-1" {
		t.Errorf("RequestID = %q, want id-1", got)
	}
	values, ok := gatewayctx.Authorizer(ctx)
	if !ok || values["sub"] != "demo" {
		t.Errorf("Authorizer = %v, %v, want sub=demo", values, ok)
	}
	// An authorizer that said nothing is still an authorizer.
	if _, ok := gatewayctx.Authorizer(gatewayctx.WithAuthorizer(ctx, map[string]string{})); !ok {
		t.Error("Authorizer does not tell an empty context from none")
	}
}
