// Package lambdahttp runs a net/http handler as a Lambda function behind API Gateway or a function URL.
//
//	lambda.Start(lambdahttp.Handler(mux))
//
// It understands three kinds of event, told apart by their content: HTTP APIs with payload format 2.0, REST APIs (and
// HTTP APIs with payload format 1.0), and Lambda function URLs. Each is answered in its own form.
//
// What a handler sees is what it would see on a server, with these rules where the forms differ:
//
//   - The path is the one that the gateway decided on, the route's or the resource's, wherever that is a literal one.
//     Only for routes with variables, $default and function URLs is it the path that was sent, without the stage.
//   - Headers are never split at commas. HTTP APIs and function URLs join a repeated header with commas before the
//     function is called; a REST API keeps the values apart, and so do we.
//   - The certificate that a client has shown to the gateway by mutual TLS is in the request's TLS, which is nil otherwise.
//   - Bodies are decoded where the event says that they are base64, whatever their content type.
//   - The gateway's request id, the id of the trace and the Lambda authorizer's context are in the request's context: see gatewayctx.
package lambdahttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

// ErrUnknownEvent is returned by Invoke for an event that is none of the kinds this package knows, or not JSON. It
// tells nothing of the event, since Lambda logs the text of errors.
var ErrUnknownEvent = errors.New("lambdahttp: the event is not an API Gateway or function URL request")

// Handler returns a Lambda handler that answers each event with what h answers to it as a request.
//
// The request's context ends when a twentieth of the invocation's time is left, so that h can answer that there was an outage.
//
// An event that can't be recognised is ErrUnknownEvent; a body that is not the base64 it is said to be, or a client
// certificate that can't be read, is answered with status 400, without asking h. A panic in h is answered with status 500 and logged with its stack: the process
// goes on, as a net/http server does.
func Handler(h http.Handler) lambda.Handler { return handler{h} }

type handler struct{ http.Handler }

// Invoke implements lambda.Handler.
func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if ends, ok := ctx.Deadline(); ok {
		// Who is ended by Lambda can say nothing of why.
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, ends.Add(-time.Until(ends)/20))
		defer cancel()
	}
	event, err := parse(payload)
	if err != nil {
		slog.LogAttrs(ctx, slog.LevelError, "http.failed", slog.String("cause", err.Error()))
		return nil, err
	}
	var res *response
	req, err := event.request(ctx)
	if err != nil {
		what := "the event's body is not valid base64"
		if errors.Is(err, errCertificate) {
			what = "the client certificate can't be read"
		}
		res = failure(http.StatusBadRequest, "invalid_request", what)
		slog.LogAttrs(event.context(ctx), slog.LevelInfo, "http.refused",
			slog.String("error", "invalid_request"), slog.String("cause", what), slog.Int("status", res.status))
	} else {
		res = serve(h.Handler, req)
	}
	out, err := json.Marshal(event.answer(res))
	if err != nil {
		// Strings, numbers and maps of strings can always be marshalled.
		return nil, fmt.Errorf("lambdahttp: writing the answer: %w", err)
	}
	return out, nil
}

// serve asks h, and turns its panic into an answer that says nothing of it.
func serve(h http.Handler, req *http.Request) (res *response) {
	defer func() {
		if v := recover(); v != nil {
			slog.ErrorContext(req.Context(), "http.panic", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			res = failure(http.StatusInternalServerError, "server_error", "")
		}
	}()
	w := &responseWriter{header: make(http.Header)}
	h.ServeHTTP(w, req)
	return w.finish(req.Method)
}

// failure is an answer of our own, in the form of RFC 6749 §5.2.
func failure(status int, code, description string) *response {
	body, _ := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{code, description})
	return &response{
		status: status,
		header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}},
		body:   body,
	}
}
