// Package authorizer is a Lambda authorizer for API Gateway: it takes a request's access token out of the event, has it
// verified, and answers in the form that the event's kind asks for.
//
//	a, err := authorizer.New(authorizer.Config{Verifier: verifier})
//	lambda.Start(a)
//
// It knows five kinds of event, told apart by their content: REST APIs' TOKEN and REQUEST, HTTP APIs' with payload formats 1.0
// and 2.0, and WebSocket APIs' $connect. Its outcomes are
//
//   - a valid token: a policy that lists what it may call until its end, or on HTTP APIs with format 2.0 a simple response
//     where Config says so, with the token's claims as context: client_id, sub, scope, grant_id, jti and exp (seconds since
//     1970), all as strings;
//   - no token or a bad one: on REST and WebSocket APIs the error ErrUnauthorized, of which API Gateway makes a 401; on HTTP
//     APIs, where that is not documented, a policy that denies or a simple response that does, of which it makes a 403;
//   - Latchkey's own trouble, such as keys that can't be fetched or revocations that are out of date: any other error, of
//     which API Gateway makes a 500. It is never taken for a bad token, nor a bad token for it.
//
// A denial's context has a reason, one word, and where RFC 6750 §3.1 has one an error, both safe to show: for access logs and
// gateway responses.
//
// API Gateway caches a policy and applies it to every route behind the authorizer, so the policy covers all that a token
// may call, not just the route asked for, and ends with the token. (That of a sender-constrained token is about its request
// alone and ends at once: see Origins.) A simple response is cached as well and has no end of its
// own: backends check exp, which is in the context.
//
// With rules (Config.Routes) an API that they don't name is denied, and so is a route that none of them names. Decisions are
// on what API Gateway has routed to, routeKey or httpMethod and resource, and never on a path. What is answered, and what the
// identity sources have to be where API Gateway caches, depends on the form of the API's rules:
//
//   - token: one policy with all that the token may call. The identity source is the Authorization header.
//   - route: a policy for the request's own ARN. REST APIs (type REQUEST): Authorization, context.httpMethod and context.path.
//     HTTP APIs: Authorization, $context.routeKey, $context.httpMethod and $context.path.
//   - simple responses, whatever the form: Authorization and $context.routeKey.
//
// An HTTP API's event shows its identity sources' values, and without the route's key among them the answer is no. REST
// APIs' events don't: there a policy for one ARN, kept for more than that, denies the rest. A valid token that is denied for
// want of scope is told by the reason "scope" and the error insufficient_scope: in the log always, and in the context except
// where the one policy is kept for the token's other requests too.
package authorizer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// The errors that Invoke returns. Lambda logs the text of errors, so that theirs says nothing of the request.
var (
	// ErrUnauthorized has exactly the text of which REST and WebSocket APIs make a 401.
	ErrUnauthorized = errors.New("Unauthorized")
	// ErrUnavailable says that the token could not be judged.
	ErrUnavailable = errors.New("latchkey: keys or revocations unavailable")
	// ErrUnknownEvent says that the event is of no kind that this package knows.
	ErrUnknownEvent = errors.New("latchkey: not an authorizer event of a known kind")
	// ErrInternal is a fault of ours.
	ErrInternal = errors.New("latchkey: internal error")
)

// Verifier judges a token: a *token.InvalidError says that it is bad; any other error is an outage.
// *token.AccessVerifier is one.
type Verifier interface {
	Verify(ctx context.Context, raw string) (*token.Access, error)
}

// Config is what an Authorizer needs.
type Config struct {
	// Verifier judges tokens. Required.
	Verifier Verifier
	// Routes are the rules: which APIs there are, and which scopes their routes need. Nil: a valid token may call everything.
	Routes *routes.Set
	// VerifierFor makes the verifier for an API whose rules have audiences of their own. New calls it once for each set of
	// them. Required if there is one.
	VerifierFor func(audiences []string) (Verifier, error)
	// Claims are those that the context has besides the usual ones, where an API's rules don't say: of aud (several joined by
	// spaces), auth_time, iat and iss.
	Claims []string
	// SimpleResponses has HTTP API 2.0 events answered by {"isAuthorized", "context"}, as the API's authorizer is then set
	// to expect (EnableSimpleResponses). All other kinds have policies alone.
	SimpleResponses bool
	// WebSocketToken is where the token of a WebSocket API's $connect may be, besides the Authorization header. Zero: nowhere.
	WebSocketToken WebSocketToken
	// Origins are the APIs that take sender-constrained tokens. Nil: none does.
	Origins Origins
	// Proofs verifies DPoP proofs. Nil: those of the last minute are taken, each once as far as this process knows.
	Proofs *dpop.Verifier
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes one line an outcome; nil means slog.Default().
	Log *slog.Logger
}

// Authorizer implements aws-lambda-go's lambda.Handler. Make it with New. Safe for many goroutines.
type Authorizer struct {
	Config
	open *rules                 // those where there are none
	apis map[*routes.API]*rules // else
}

// New refuses a configuration without a verifier, or with rules that it can't keep.
func New(c Config) (*Authorizer, error) {
	if c.Verifier == nil {
		return nil, errors.New("authorizer: no verifier")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Proofs == nil {
		c.Proofs = &dpop.Verifier{Now: c.Now, Replays: &dpop.Replays{}}
	}
	a := &Authorizer{Config: c}
	if err := a.prepare(); err != nil {
		return nil, err
	}
	return a, nil
}

// Invoke answers one event.
func (a *Authorizer) Invoke(ctx context.Context, payload []byte) (out []byte, err error) {
	start := a.Now()
	var o outcome
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, ErrInternal
			o.cause, o.stack = fmt.Sprintf("panic: %v", p), string(debug.Stack())
		}
		a.log(ctx, &o, err, a.Now().Sub(start))
	}()

	e, err := parseEvent(payload)
	if err != nil {
		o.cause = err.Error()
		return nil, ErrUnknownEvent
	}
	o.event = e
	return a.answer(ctx, e, &o)
}

// answer decides, and notes for the log what and why.
func (a *Authorizer) answer(ctx context.Context, e *event, o *outcome) ([]byte, error) {
	var g grant
	r, refused := a.rulesFor(e)
	if refused == nil {
		var err error
		if o.access, refused, err = a.verify(ctx, e, r); err != nil {
			o.cause = err.Error()
			return nil, ErrUnavailable
		}
	}
	if refused == nil {
		g, refused = a.grant(e, r, o.access)
	}
	if refused == nil && o.access.Confirmation.Bound() {
		if g, refused = a.alone(e, g); refused == nil && r.API != nil {
			refused = e.unambiguous()
		}
	}
	if refused == nil {
		var out []byte
		if out, refused = a.permit(e, r, o.access, g.resources); refused == nil {
			o.refused = g.beyond
			return out, nil
		}
	}
	o.refused = refused
	if !refused.denied && e.kind.unauthorized() {
		return nil, ErrUnauthorized
	}
	return a.refuse(e, o.access, refused), nil
}

// verify returns the claims of the request's token, or why it is refused; an error is an outage.
func (a *Authorizer) verify(ctx context.Context, e *event, r *rules) (*token.Access, *refusal, error) {
	c, refused := a.credentials(e)
	if refused != nil {
		return nil, refused, nil
	}
	access, err := r.verifier.Verify(ctx, c.token)
	var bad *token.InvalidError
	if errors.As(err, &bad) {
		return nil, &refusal{reason: string(bad.Reason), code: codeToken, detail: bad.Detail}, nil
	} else if err != nil {
		return nil, nil, err
	}
	// The verifier grants a leeway after exp. A policy doesn't, since it ends at exp: it would be answered, at once and from
	// the cache, by a 403, where the client needs a 401 to know that a new token will do.
	if !a.simple(e) && !a.Now().Before(access.ExpiresAt) {
		return nil, &refusal{
			reason: string(token.ReasonExpired), code: codeToken, detail: "it ended, within the leeway; a policy has none",
		}, nil
	}
	refused, err = a.possession(ctx, e, r, c, access)
	return access, refused, err
}

func (a *Authorizer) simple(e *event) bool { return a.SimpleResponses && e.kind == kindHTTP2 }

// outcome is what the log line says.
type outcome struct {
	event   *event
	access  *token.Access
	refused *refusal
	cause   string
	stack   string
}

func (a *Authorizer) log(ctx context.Context, o *outcome, err error, took time.Duration) {
	attrs := make([]slog.Attr, 0, 14)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	level, event := slog.LevelInfo, "authorizer.allowed"
	switch {
	case o.refused != nil:
		event = "authorizer.refused"
		if o.refused.denied {
			event = "authorizer.denied"
		}
		if o.refused.ours {
			level = slog.LevelWarn
		}
		add("error", o.refused.code)
		add("reason", o.refused.reason)
		add("cause", o.refused.detail)
	case err != nil:
		level, event = slog.LevelError, "authorizer.failed"
		add("error", err.Error())
		add("cause", o.cause)
		add("stack", o.stack)
	}
	if o.event != nil {
		add("kind", o.event.kind.String())
		add("api", o.event.arn.api)
		add("stage", o.event.arn.stage)
		if a.Routes != nil && o.event.kind != kindToken {
			method, path := o.event.route()
			add("method", method)
			add("route", path)
		}
	}
	if t := o.access; t != nil {
		add("client_id", t.ClientID)
		add("sub", t.Subject)
		add("grant_id", t.GrantID)
		add("jti", t.ID)
		add("scope", t.Scope.String())
	}
	attrs = append(attrs, slog.Float64("latency_ms", float64(took.Microseconds())/1000))
	if o.event != nil {
		add("request_id", o.event.requestID())
	}
	add("trace_id", o.event.trace(ctx, o.refused == nil && err == nil))
	a.Log.LogAttrs(ctx, level, event, attrs...)
}
