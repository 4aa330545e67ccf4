// Package jsonlog is the form of Latchkey's logs: one JSON line an outcome, on standard output, where Lambda and CloudWatch
// pick it up.
package jsonlog

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// New returns a logger whose lines hold time, level, event (slog's message), and the gateway's request id where the
// context has one. Each line is one Write, and no two are made at once.
func New(w io.Writer) *slog.Logger {
	out := &lines{w: w}
	return slog.New(handler{slog.NewJSONHandler(out, &slog.HandlerOptions{ReplaceAttr: rename}), out})
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

// lines writes line by line.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// handler writes the lines that are of plain values, as an outcome's are, by itself, and leaves all others to slog, whose
// lines it would write the same: slog takes four times as long.
type handler struct {
	slog.Handler        // slog's
	out          *lines // nil: with attributes or groups of the logger's own, which are slog's too
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id := gatewayctx.RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if h.out == nil {
		return h.Handler.Handle(ctx, r)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	line, ok := appendLine((*buffer)[:0], &r)
	if !ok {
		return h.Handler.Handle(ctx, r)
	}
	if cap(line) <= mostKept {
		*buffer = line[:0]
	}
	_, err := h.out.Write(line)
	return err
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{Handler: h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{Handler: h.Handler.WithGroup(name)}
}
