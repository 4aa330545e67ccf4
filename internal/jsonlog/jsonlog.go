// Package jsonlog is the form of Latchkey's logs: one JSON line an outcome, on standard output, where Lambda and CloudWatch
// pick it up.
package jsonlog

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"os"
	"sync"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// Counter is told of each record, and appends lines of its own, if any, to be written along with the record's. *metrics.Set is
// one.
type Counter interface {
	Append(out []byte, r slog.Record) []byte
}

// New returns a logger whose lines hold time, level, event (slog's message), and where the context has them the gateway's
// request id and the trace's. Each line is one Write, and no two are made at once.
func New(w io.Writer) *slog.Logger { return counted(w, nobody{}) }

type nobody struct{}

func (nobody) Append(out []byte, _ slog.Record) []byte { return out }

func counted(w io.Writer, c Counter) *slog.Logger {
	out := &lines{w: w}
	return slog.New(handler{
		Handler: slog.NewJSONHandler(out, &slog.HandlerOptions{ReplaceAttr: rename}), out: out, counter: c, bare: true,
	})
}

// Function returns the logger of a Lambda function, on standard output, and makes it the process's: what libraries write
// with package log comes as JSON lines too. What a function returns as an error it has said in a line of its own, and so
// aws-lambda-go's line about it is left out, unless it is of a panic. c may be nil.
func Function(c Counter) *slog.Logger {
	if c == nil {
		c = nobody{}
	}
	l := counted(os.Stdout, c)
	slog.SetDefault(l)
	log.SetOutput(others{log.Writer()})
	return l
}

// others takes what is written with package log, a line a Write.
type others struct{ to io.Writer }

func (o others) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte(`{"errorMessage":`)) && !bytes.Contains(line, []byte(`"stackTrace":[`)) {
		return len(line), nil
	}
	return o.to.Write(line)
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
	slog.Handler // slog's
	out          *lines
	counter      Counter
	bare         bool // without attributes or groups of the logger's own, which are slog's to write
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id := gatewayctx.RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if id := gatewayctx.TraceID(ctx); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	line, ok := (*buffer)[:0], false
	if h.bare {
		line, ok = appendLine(line, &r)
	}
	if !ok {
		line = line[:0]
		if err := h.Handler.Handle(ctx, r); err != nil {
			return err
		}
	}
	line = h.counter.Append(line, r)
	if cap(line) <= mostKept {
		*buffer = line[:0]
	}
	if len(line) == 0 {
		return nil
	}
	_, err := h.out.Write(line)
	return err
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler, h.bare = h.Handler.WithAttrs(attrs), false
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	h.Handler, h.bare = h.Handler.WithGroup(name), false
	return h
}
