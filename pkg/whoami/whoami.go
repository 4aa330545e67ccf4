// Package whoami is the sample resource: it answers what the authorizer handed to the backend.
//
// It shows what every backend behind the authorizer does: it takes the caller from the authorizer's context and from
// nowhere else, refuses where there is none, and checks the token's end again, since API Gateway answers from a cache.
package whoami

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// Leeway is how far clocks may differ, as in pkg/token, which a backend need not link.
const Leeway = 5 * time.Second

// Handler answers GET with an Answer. It refuses with status 403 and the error access_denied where no authorizer has
// handed it a caller: then none stands in front of it, and no token can help; and with status 401 and the error
// invalid_token (RFC 6750 §3.1) where the caller's token has ended.
type Handler struct {
	// AllowOrigin says whose pages may read the answers, such as "*": no cookie is taken, so that there is nothing to ride on.
	// Empty: no page of another origin.
	AllowOrigin string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes one line an outcome; nil means slog.Default().
	Log *slog.Logger
}

// Answer is what the authorizer handed over.
type Answer struct {
	ClientID  string `json:"client_id"`
	Subject   string `json:"sub"`
	Scope     string `json:"scope"` // scope tokens separated by spaces; empty where the token has none
	GrantID   string `json:"grant_id"`
	TokenID   string `json:"jti"`
	ExpiresAt int64  `json:"exp"` // seconds since 1970
}

// refusal is RFC 6750 §3.1's error as JSON.
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.now()
	w.Header().Set("Cache-Control", "no-store")
	if h.AllowOrigin != "" {
		w.Header().Set("Access-Control-Allow-Origin", h.AllowOrigin)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(w, r, start, http.StatusMethodNotAllowed, refusal{"invalid_request", "The method must be GET."}, nil)
		return
	}
	values, _ := gatewayctx.Authorizer(r.Context())
	answer, ok := read(values)
	if !ok {
		h.refuse(w, r, start, http.StatusForbidden, refusal{"access_denied", "No authorizer has let this request through."}, nil)
		return
	}
	if !start.Before(time.Unix(answer.ExpiresAt, 0).Add(Leeway)) {
		// REST APIs rename this header; there the body says it.
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="The token has ended."`)
		h.refuse(w, r, start, http.StatusUnauthorized, refusal{"invalid_token", "The token has ended."}, &answer)
		return
	}
	h.log(r, start, slog.LevelInfo, "whoami.answered", &answer)
	write(w, http.StatusOK, answer)
}

// read takes the caller from the authorizer's context. Whatever lacks is a refusal: half a caller is none.
func read(values map[string]string) (Answer, bool) {
	a := Answer{
		ClientID: values["client_id"], Subject: values["sub"], Scope: values["scope"],
		GrantID: values["grant_id"], TokenID: values["jti"],
	}
	var err error
	a.ExpiresAt, err = strconv.ParseInt(values["exp"], 10, 64)
	return a, err == nil && a.ClientID != "" && a.Subject != "" && a.GrantID != "" && a.TokenID != ""
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, start time.Time, status int, e refusal, a *Answer) {
	h.log(r, start, slog.LevelWarn, "whoami.refused", a, slog.String("error", e.Error), slog.String("cause", e.Description))
	write(w, status, e)
}

func (h *Handler) log(r *http.Request, start time.Time, level slog.Level, event string, a *Answer, attrs ...slog.Attr) {
	log := h.Log
	if log == nil {
		log = slog.Default()
	}
	if a != nil {
		attrs = append(attrs, slog.String("client_id", a.ClientID), slog.String("sub", a.Subject),
			slog.String("grant_id", a.GrantID), slog.String("jti", a.TokenID), slog.String("scope", a.Scope))
	}
	attrs = append(attrs, slog.Float64("latency_ms", float64(h.now().Sub(start).Microseconds())/1000))
	log.LogAttrs(r.Context(), level, event, attrs...)
}

func (h *Handler) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

func write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // strings and numbers always can be
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
