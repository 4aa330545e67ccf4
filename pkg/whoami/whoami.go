// Package whoami is the sample resource: it answers what the authorizer handed to the backend.
//
// It shows what every backend behind the authorizer does: it takes the caller from package resource and from nowhere else.
package whoami

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/resource"
)

// Handler answers GET with an Answer, and whoever is not let through as a resource.Guard does.
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

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.AllowOrigin != "" {
		w.Header().Set("Access-Control-Allow-Origin", h.AllowOrigin)
	}
	guard := resource.Guard{Now: h.Now, Log: h.Log}
	guard.Handler(http.HandlerFunc(h.answer)).ServeHTTP(w, r)
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) {
	log := h.Log
	if log == nil {
		log = slog.Default()
	}
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		log.LogAttrs(r.Context(), slog.LevelInfo, "whoami.refused", slog.String("cause", "the method is not GET"))
		w.Header().Set("Allow", "GET, HEAD")
		write(w, http.StatusMethodNotAllowed, map[string]string{"error": resource.InvalidRequest, "error_description": "The method must be GET."})
		return
	}
	c, _ := resource.From(r.Context()) // the guard let it through
	a := Answer{c.ClientID, c.Subject, strings.Join(c.Scope, " "), c.GrantID, c.TokenID, c.ExpiresAt.Unix()}
	log.LogAttrs(r.Context(), slog.LevelInfo, "whoami.answered", slog.String("client_id", a.ClientID), slog.String("sub", a.Subject),
		slog.String("grant_id", a.GrantID), slog.String("jti", a.TokenID), slog.String("scope", a.Scope))
	write(w, http.StatusOK, a)
}

func write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // strings and numbers always can be
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that went away is no fault of ours
}
