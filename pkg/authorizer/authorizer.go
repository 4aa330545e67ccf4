// Package authorizer is a Lambda authorizer for API Gateway: it takes a request's access token out of the event, has it
// verified, and answers in the form that the event's kind asks for.
//
//	a, err := authorizer.New(authorizer.Config{Verifier: verifier})
//	lambda.Start(a)
//
// It knows three kinds of event, told apart by their content: REST APIs' TOKEN and REQUEST, and HTTP APIs' with payload
// format 2.0. Its outcomes are
//
//   - a valid token: a policy that allows all of this API's stage until the token's end, or on HTTP APIs a simple response
//     where Config says so, with the token's claims as context (see Context);
//   - no token or a bad one: on REST APIs the error ErrUnauthorized, of which API Gateway makes a 401; on HTTP APIs, where
//     that is not documented, a policy that denies or a simple response that does, of which it makes a 403;
//   - Latchkey's own trouble, such as keys that can't be fetched or revocations that are out of date: any other error, of
//     which API Gateway makes a 500. It is never taken for a bad token, nor a bad token for it.
//
// API Gateway caches a policy and applies it to every route behind the authorizer, so the policy covers all that a token
// may call, not just the route asked for, and ends with the token. A simple response is cached as well and has no end of its
// own: backends check exp, which is in the context.
package authorizer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// The errors that Invoke returns. Lambda logs the text of errors, so that theirs says nothing of the request.
var (
	// ErrUnauthorized has exactly the text of which REST APIs make a 401.
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
	// SimpleResponses has HTTP API 2.0 events answered by {"isAuthorized", "context"}, as the API's authorizer is then set
	// to expect (EnableSimpleResponses). REST APIs are always answered by policies.
	SimpleResponses bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes one line an outcome; nil means slog.Default().
	Log *slog.Logger
}

// Authorizer implements aws-lambda-go's lambda.Handler. Make it with New. Safe for many goroutines.
type Authorizer struct {
	Config
}

// New refuses a configuration without a verifier.
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
	return &Authorizer{c}, nil
}

// refusal is why a request is not let through: a word that is safe to show, and a text for the log without any part of the
// token.
type refusal struct{ reason, detail string }

// The reasons besides token.Reason's.
const (
	reasonMissing        = "missing"         // no Authorization header
	reasonRepeated       = "repeated"        // several of them
	reasonScheme         = "scheme"          // not Bearer
	reasonCredentials    = "credentials"     // Bearer, but not one token of the characters that tokens have
	reasonIdentitySource = "identity_source" // API Gateway would cache the answer under something else than this token
)

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
	access, refused, err := a.decide(ctx, e)
	if err != nil {
		o.cause = err.Error()
		return nil, ErrUnavailable
	}
	o.access, o.refused = access, refused
	if refused != nil && e.kind.rest() {
		return nil, ErrUnauthorized
	}
	return json.Marshal(a.answer(e, access, refused))
}

// decide returns the token's claims, or why the request is refused; an error is an outage.
func (a *Authorizer) decide(ctx context.Context, e *event) (*token.Access, *refusal, error) {
	raw, refused := e.token()
	if refused != nil {
		return nil, refused, nil
	}
	access, err := a.Verifier.Verify(ctx, raw)
	var bad *token.InvalidError
	if errors.As(err, &bad) {
		return nil, &refusal{string(bad.Reason), bad.Detail}, nil
	} else if err != nil {
		return nil, nil, err
	}
	// The verifier grants a leeway after exp. A policy doesn't, since it ends at exp: it would be answered, at once and from
	// the cache, by a 403, where the client needs a 401 to know that a new token will do.
	if !a.simple(e) && !a.Now().Before(access.ExpiresAt) {
		return nil, &refusal{string(token.ReasonExpired), "it ended, within the leeway; a policy has none"}, nil
	}
	return access, nil, nil
}

func (a *Authorizer) simple(e *event) bool { return a.SimpleResponses && e.kind == kindHTTP2 }

// answer is the answer in the event's form; exactly one of access and refused is set.
func (a *Authorizer) answer(e *event, access *token.Access, refused *refusal) any {
	switch {
	case a.simple(e) && refused != nil:
		return simpleResponse{false, deniedContext(refused)}
	case a.simple(e):
		return simpleResponse{true, Context(access)}
	case refused != nil:
		return policyResponse{"unauthorized", policy(deny(e.api)), deniedContext(refused)}
	}
	return policyResponse{access.Subject, policy(statements(access, e.api)), Context(access)}
}

// Context is what backends are told of a token: client_id, sub, scope, grant_id, jti and exp (seconds since 1970), all as
// strings, which every kind of API passes on unchanged, from its cache too.
func Context(access *token.Access) map[string]string {
	return map[string]string{
		"client_id": access.ClientID,
		"sub":       access.Subject,
		"scope":     access.Scope.String(),
		"grant_id":  access.GrantID,
		"jti":       access.ID,
		"exp":       strconv.FormatInt(access.ExpiresAt.Unix(), 10),
	}
}

// deniedContext is for access logs ($context.authorizer.reason); no backend gets it.
func deniedContext(r *refusal) map[string]string { return map[string]string{"reason": r.reason} }

// outcome is what the log line says.
type outcome struct {
	event   *event
	access  *token.Access
	refused *refusal
	cause   string
	stack   string
}

func (a *Authorizer) log(ctx context.Context, o *outcome, err error, took time.Duration) {
	attrs := make([]slog.Attr, 0, 12)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	level, event := slog.LevelInfo, "authorizer.allowed"
	switch {
	case o.refused != nil:
		event = "authorizer.refused"
		add("error", "invalid_token") // RFC 6750 §3.1
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
		add("api", o.event.api.ID)
		add("stage", o.event.api.Stage)
	}
	if t := o.access; t != nil {
		add("client_id", t.ClientID)
		add("sub", t.Subject)
		add("grant_id", t.GrantID)
		add("jti", t.ID)
		add("scope", t.Scope.String())
	}
	attrs = append(attrs, slog.Float64("latency_ms", float64(took.Microseconds())/1000))
	a.Log.LogAttrs(ctx, level, event, attrs...)
}
