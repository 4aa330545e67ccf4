package discovery

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Logged writes one line for each answer of h: discovery.answered, or discovery.refused for one of 4xx. Those of 5xx have a line
// already, by whoever knows the cause.
func Logged(h http.Handler, log *slog.Logger, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := now()
		seen := &answer{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(seen, r)
		if seen.status >= http.StatusInternalServerError {
			return
		}
		const most = 128 // bytes of a path, which anybody can make up
		attrs := []slog.Attr{slog.String("path", r.URL.Path[:min(len(r.URL.Path), most)]), slog.Int("status", seen.status)}
		event := "discovery.answered"
		if seen.status >= http.StatusBadRequest {
			event = "discovery.refused"
			attrs = append(attrs, slog.String("error", "http_"+strconv.Itoa(seen.status)))
		}
		took := slog.Float64("latency_ms", float64(now().Sub(start).Microseconds())/1000)
		log.LogAttrs(r.Context(), slog.LevelInfo, event, append(attrs, took)...)
	})
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}
