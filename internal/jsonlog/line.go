package jsonlog

import (
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// buffers are for lines, of at most mostKept bytes.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 1024)
	return &b
}}

const mostKept = 8 << 10

// appendLine appends what slog's JSONHandler with rename writes for a record. ok is false for records that it does not know
// how to.
func appendLine(out []byte, r *slog.Record) (line []byte, ok bool) {
	at := r.Time.UTC()
	if year := at.Year(); r.Time.IsZero() || year < 0 || year > 9999 || !plain(r.Message) {
		return out, false
	}
	out = append(out, `{"time":"`...)
	out = at.AppendFormat(out, time.RFC3339Nano)
	out = append(out, `","level":"`...)
	out = append(out, r.Level.String()...)
	out = append(out, `","event":"`...)
	out = append(out, r.Message...)
	out = append(out, '"')
	ok = true
	r.Attrs(func(a slog.Attr) bool {
		out, ok = appendAttr(out, a)
		return ok
	})
	return append(out, '}', '\n'), ok
}

func appendAttr(out []byte, a slog.Attr) ([]byte, bool) {
	if a.Key == slog.MessageKey || a.Key == slog.TimeKey || !plain(a.Key) { // the first two are what rename looks at
		return out, false
	}
	out = append(out, ',', '"')
	out = append(out, a.Key...)
	out = append(out, '"', ':')
	switch a.Value.Kind() {
	case slog.KindString:
		s := a.Value.String()
		out = append(out, '"')
		out = append(out, s...)
		return append(out, '"'), plain(s)
	case slog.KindInt64:
		return strconv.AppendInt(out, a.Value.Int64(), 10), true
	case slog.KindFloat64:
		f := a.Value.Float64()
		if f != 0 && (f < 1e-6 || f >= 1e21) { // encoding/json writes these, and negative ones, otherwise or refuses them
			return out, false
		}
		return strconv.AppendFloat(out, f, 'f', -1, 64), f == f
	}
	return out, false
}

// plain reports whether slog writes s as it is, between quotes.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
