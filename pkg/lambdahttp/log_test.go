package lambdahttp_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
)

// What is answered without the handler has a line too.
func TestLines(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(jsonlog.New(&log))
	t.Cleanup(func() { slog.SetDefault(before) })
	h := lambdahttp.Handler(http.NotFoundHandler())
	for payload, want := range map[string]string{
		`{"Records":[]}`: `"level":"ERROR","event":"http.failed","cause":"lambdahttp: the event is not an API Gateway or function URL request"}`,
		strings.TrimSuffix(v2, "}") + `,"body":"%","isBase64Encoded":true}`: `"level":"INFO","event":"http.refused","error":"invalid_request","cause":"the event's body is not valid base64","status":400}`,
	} {
		log.Reset()
		_, _ = h.Invoke(t.Context(), []byte(payload))
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
			t.Errorf("%s\nlogged %s, want %s", payload, got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	const header, lambda = "1-5759e988-bd862e3fe1be46a994272793", "1-5759e988-000000000000000000000000"
	for _, test := range []struct{ headers, id, lambda, wantID, wantTrace string }{
		{`{"X-AMZN-TRACE-ID":"Root=` + header + `"}`, "r-1", "Root=" + lambda, "r-1", header},
		{`{"x-amzn-trace-id":"Root=1-\n"}`, strings.Repeat("r", 129), "Root=" + lambda + ";Sampled=0", "", lambda},
		{`{"x-amzn-trace-id":"Root=1-2-3"}`, "", "", "", ""},
	} {
		called := false
		h := lambdahttp.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			called = true
			if id, trace := gatewayctx.RequestID(r.Context()), gatewayctx.TraceID(r.Context()); id != test.wantID || trace != test.wantTrace {
				t.Errorf("%+v: %q, %q", test, id, trace)
			}
		}))
		//nolint:staticcheck // SA1029: it is aws-lambda-go's key
		ctx := context.WithValue(t.Context(), "x-amzn-trace-id", test.lambda)
		_, err := h.Invoke(ctx, []byte(`{"version":"2.0","rawPath":"/","headers":`+test.headers+`,"requestContext":{"requestId":"`+test.id+`","http":{"method":"GET"}}}`))
		if err != nil || !called {
			t.Errorf("%v", err)
		}
	}
}
