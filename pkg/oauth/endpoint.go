package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"
)

// Outcome is what an endpoint's one log line says besides the error. A handler fills in what it has come to know; empty
// fields are left out. Nothing secret and no token goes in.
type Outcome struct {
	Event     string // such as "token.issued"; empty: the endpoint's name and ".answered"
	GrantType string
	ClientID  string
	Subject   string
	GrantID   string
	TokenID   string // the access token's jti
	Scope     string
	Audience  string
	KeyID     string // of the key that verified the token in hand
	Reason    string // why a token was refused, in one word; with an error alone
	Audit     bool   // the line belongs to the audit stream, as that of each error does
	Cause     string // of an answer that says nothing of what it was, such as that to a token which was not revoked
}

// Endpoint is an http.Handler made of a function that returns an answer or an error. It writes either, with the headers
// of RFC 6749 §5, and logs one line for it. A panic is a server_error like any other fault.
type Endpoint struct {
	Name   string // first part of the log's event, such as "token"
	Handle func(r *http.Request, o *Outcome) (answer any, err error)
	Log    *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := e.now()
	var outcome Outcome
	answer, body, err := e.handle(r, &outcome)
	if err != nil {
		WriteError(w, err)
	} else {
		if t, ok := answer.(*TokenResponse); ok {
			t.headers(w.Header())
		}
		write(w, http.StatusOK, body)
	}
	e.log(r, &outcome, err, e.now().Sub(start))
}

// handle returns the answer and its JSON, so that one that can't be written as such is a fault like any other.
func (e *Endpoint) handle(r *http.Request, o *Outcome) (answer any, body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http looks for this very value
				panic(p)
			}
			answer, body, err = nil, nil, &panicError{value: p, stack: debug.Stack()}
		}
	}()
	if answer, err = e.Handle(r, o); err != nil {
		return nil, nil, err
	}
	if t, ok := answer.(*TokenResponse); ok {
		body, err = t.json()
	} else {
		body, err = json.Marshal(answer)
	}
	return answer, body, err
}

func (e *Endpoint) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

func (e *Endpoint) log(r *http.Request, o *Outcome, err error, took time.Duration) {
	log := e.Log
	if log == nil {
		log = slog.Default()
	}
	level, event := slog.LevelInfo, o.Event
	if event == "" {
		event = e.Name + ".answered"
	}
	attrs := make([]slog.Attr, 0, 16)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, clip(value)))
		}
	}
	if err != nil {
		refusal := asError(err)
		event = e.Name + ".refused"
		if refusal.Status() >= 500 {
			level, event = slog.LevelError, e.Name+".failed"
		}
		add("error", string(refusal.Code))
		add("reason", o.Reason)
		add("error_description", refusal.Description)
		if refusal.cause != nil {
			add("cause", refusal.cause.Error())
		}
		var p *panicError
		if errors.As(err, &p) {
			attrs = append(attrs, slog.String("stack", string(p.stack)))
		}
		attrs = append(attrs, slog.Int("status", refusal.Status()))
	}
	if err == nil {
		add("cause", o.Cause)
	}
	add("grant_type", o.GrantType)
	add("client_id", o.ClientID)
	add("sub", o.Subject)
	add("grant_id", o.GrantID)
	add("jti", o.TokenID)
	add("scope", o.Scope)
	add("aud", o.Audience)
	add("kid", o.KeyID)
	if o.Audit || err != nil {
		add("source_ip", address(r.RemoteAddr))
		add("stream", StreamAudit)
	}
	attrs = append(attrs, slog.Float64("latency_ms", float64(took.Microseconds())/1000))
	// Not by LogAttrs, which looks for the line of code that it was called from: that is always this one.
	if h := log.Handler(); h.Enabled(r.Context(), level) {
		record := slog.NewRecord(time.Now(), level, event, 0)
		record.AddAttrs(attrs...)
		_ = h.Handle(r.Context(), record)
	}
}

// StreamAudit is the member "stream" of the log lines that make up the audit trail: who was given what, or refused, and by whom
// things were changed.
const StreamAudit = "audit"

// address is that of an address and port, empty where there is none.
func address(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	return a.Addr().String()
}

// clip bounds what a stranger can make us write: names in a request may be as long as its body.
func clip(s string) string {
	const most = 512
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// panicError carries a panic to the log.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }
