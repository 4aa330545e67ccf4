// Package jsonlog is the form of Latchkey's logs: one JSON line an outcome, on standard output, where Lambda and CloudWatch
// pick it up.
package jsonlog

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// New returns a logger whose lines hold time, level, event (slog's message), and the gateway's request id where the
// context has one.
func New(w io.Writer) *slog.Logger {
	return slog.New(handler{slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: rename})})
}

// Function returns the logger of a Lambda function, on standard output, and makes it the process's: what libraries write
// with package log, as aws-lambda-go does for each error that is returned, comes as JSON lines too.
func Function() *slog.Logger {
	l := New(os.Stdout)
	slog.SetDefault(l)
	return l
}

func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = "event"
	case slog.TimeKey:
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	}
	return a
}

type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id := gatewayctx.RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
