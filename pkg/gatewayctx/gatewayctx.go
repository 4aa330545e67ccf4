// Package gatewayctx carries what API Gateway knows about a request, beside the request itself, to the handlers that
// want it.
//
// It exists so that a handler can read the authorizer's findings without importing the adapter that translates
// events: lambdahttp puts the values in, handlers take them out, and a test can do either.
//
//	who, ok := gatewayctx.Authorizer(r.Context())
//	if !ok {
//		// No authorizer stood in front of this route: refuse.
//	}
package gatewayctx

import "context"

type (
	requestIDKey  struct{}
	traceIDKey    struct{}
	authorizerKey struct{}
)

// WithRequestID returns a context that carries the gateway's id of the request.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID is the gateway's id of the request, the one that its access log shows; empty where there is none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// WithTraceID returns a context that carries the id of the trace that the request is part of.
func WithTraceID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, traceIDKey{}, id)
}

// TraceID is the id of the trace that the request is part of, the Root of its header X-Amzn-Trace-Id; empty where there is none.
// A client may have chosen it.
func TraceID(ctx context.Context) string {
	id, _ := ctx.Value(traceIDKey{}).(string)
	return id
}

// WithAuthorizer returns a context that carries the context which a Lambda authorizer put out for this request. The
// map is kept, not copied.
func WithAuthorizer(ctx context.Context, values map[string]string) context.Context {
	return context.WithValue(ctx, authorizerKey{}, values)
}

// Authorizer is the context which a Lambda authorizer put out for this request: numbers and booleans in their JSON
// spelling, and on REST APIs "principalId" among them. The map is shared and must not be changed. ok is false where
// no Lambda authorizer has answered, which a handler that relies on one must take as a refusal.
func Authorizer(ctx context.Context) (values map[string]string, ok bool) {
	values, ok = ctx.Value(authorizerKey{}).(map[string]string)
	return values, ok
}
