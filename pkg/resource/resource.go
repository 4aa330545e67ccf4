// Package resource is what a backend needs behind Latchkey's authorizer: who calls, and whether they may.
//
//	guard := &resource.Guard{}
//	mux.Handle("GET /orders", guard.Handler(http.HandlerFunc(orders), "orders:read"))
//	lambda.Start(lambdahttp.Handler(mux))
//
//	func orders(w http.ResponseWriter, r *http.Request) {
//		caller, _ := resource.From(r.Context())
//		…
//
// A function that takes API Gateway's events as they are asks the guard for the caller by [Guard.Event], WebSocket APIs'
// messages among them. A service without API Gateway in front verifies the tokens itself: package verify makes a guard that
// does, and the handlers behind it stay as they are.
//
// It fails closed. Where nothing, or half of it, was handed over, no authorizer stands in front: that is answered with
// status 500 and never taken for an anonymous caller, whom no route here knows. A token's end is checked again, since API
// Gateway answers from a cache, and so is its scope, though the authorizer may have rules: a route that is added without
// one is not open then.
//
// The event is believed, and so it has to be API Gateway's: a function's resource policy says who may invoke it.
package resource

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// Leeway is how far clocks may differ, as in pkg/token, which a backend need not link.
const Leeway = 5 * time.Second

// Caller is who calls, by a token that is valid.
type Caller struct {
	ClientID  string
	Subject   string   // the client's id where no user is involved
	Scope     []string // of the token, which may have less than the client may get
	GrantID   string   // of the sign-in: all tokens that came of it share it
	TokenID   string   // jti
	ExpiresAt time.Time
	// Claims are what else the authorizer is set to hand on: iss, aud (several joined by spaces), iat or auth_time.
	Claims map[string]string
}

// Has reports whether the token has all of these scope tokens. None has the empty one.
func (c *Caller) Has(scope ...string) bool {
	for _, s := range scope {
		if s == "" || !slices.Contains(c.Scope, s) {
			return false
		}
	}
	return true
}

type callerKey struct{}

// From returns the caller of a request that a Guard has let through; ok is false for any other request, which has none.
func From(ctx context.Context) (c *Caller, ok bool) {
	c, ok = ctx.Value(callerKey{}).(*Caller)
	return c, ok
}

// Guard lets through requests of callers that may. Its zero value takes the caller from the authorizer's context. Safe for
// many goroutines.
type Guard struct {
	// Authenticate tells who sends a request, or returns a *Refusal; any other error is answered with status 500. Nil: the
	// authorizer has told, and lambdahttp handed it on.
	Authenticate func(*http.Request) (*Caller, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes one line a refusal of Handler's; nil means slog.Default().
	Log *slog.Logger
}

// Handler has h serve the requests of callers whose token has all of the scope, and answers the others with a Refusal. Where
// no scope is named, any valid token will do.
func (g *Guard) Handler(h http.Handler, scope ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := g.authenticate(r)
		if err == nil {
			err = g.check(caller, scope)
		}
		if err != nil {
			refusal := asRefusal(err)
			g.log(r.Context(), refusal, caller)
			refusal.Write(w)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

// Event returns the caller of an event that API Gateway invokes a function with, if the token has all of the scope: REST,
// HTTP (payload formats 1.0 and 2.0) and WebSocket APIs, with each message of a connection too. Its error is a *Refusal.
func (g *Guard) Event(payload []byte, scope ...string) (*Caller, error) {
	values, err := authorizerOf(payload)
	if err != nil {
		return nil, nobody(err.Error())
	}
	return g.Authorizer(values, scope...)
}

// Authorizer is Event for an event that is parsed already. It takes the authorizer's context as aws-lambda-go has it:
// RequestContext.Authorizer, or with payload format 2.0 RequestContext.Authorizer.Lambda.
func (g *Guard) Authorizer(values map[string]any, scope ...string) (*Caller, error) {
	caller, err := read(texts(values))
	if err == nil {
		err = g.check(caller, scope)
	}
	if err != nil {
		return nil, err
	}
	return caller, nil
}

func (g *Guard) authenticate(r *http.Request) (*Caller, error) {
	if g.Authenticate != nil {
		return g.Authenticate(r)
	}
	values, _ := gatewayctx.Authorizer(r.Context())
	return read(values)
}

// check asks what every way of knowing a caller must have in common.
func (g *Guard) check(c *Caller, scope []string) error {
	switch {
	case c == nil:
		return nobody("nobody was authenticated")
	case !g.now().Before(c.ExpiresAt.Add(Leeway)):
		return &Refusal{Status: http.StatusUnauthorized, Code: InvalidToken, Description: "The access token has ended."}
	case !c.Has(scope...):
		return &Refusal{
			Status: http.StatusForbidden, Code: InsufficientScope, Scope: strings.Join(scope, " "),
			Description: "The access token has not the scope that this takes.",
		}
	}
	return nil
}

func (g *Guard) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

func (g *Guard) log(ctx context.Context, r *Refusal, c *Caller) {
	log, level := g.Log, slog.LevelInfo
	if log == nil {
		log = slog.Default()
	}
	if r.Status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.Int("status", r.Status)}
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("error", r.Code)
	add("cause", r.cause())
	if c != nil {
		add("client_id", c.ClientID)
		add("sub", c.Subject)
		add("grant_id", c.GrantID)
		add("jti", c.TokenID)
		add("scope", strings.Join(c.Scope, " "))
	}
	log.LogAttrs(ctx, level, "resource.refused", attrs...)
}
