package jsonlog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// TestSameAsSlog: whatever a record holds, its line is slog's, byte for byte.
func TestSameAsSlog(t *testing.T) {
	texts := []string{
		"", "a", "token.refreshed", "g_Xy-9", "a b", `quote"`, `back\slash`, "tab\t", "line\nbreak", "\x00", "\x1f", "\x7f", "<a&b>",
		"ü", "\u2028", "\u2029", "\xff", "…", "😀", "level", "event", "time\"", strings.Repeat("x", 2000),
	}
	values := []slog.Value{
		slog.IntValue(0), slog.IntValue(-1), slog.Int64Value(math.MaxInt64), slog.Int64Value(math.MinInt64), slog.Uint64Value(math.MaxUint64),
		slog.Float64Value(0), slog.Float64Value(math.Copysign(0, -1)), slog.Float64Value(0.1), slog.Float64Value(1e-6), slog.Float64Value(9.9e-7),
		slog.Float64Value(1e21), slog.Float64Value(9.99e20), slog.Float64Value(-2.5), slog.Float64Value(math.Inf(1)), slog.Float64Value(math.NaN()),
		slog.Float64Value(math.SmallestNonzeroFloat64), slog.BoolValue(true), slog.DurationValue(time.Second), slog.TimeValue(time.Unix(0, 1)),
		slog.AnyValue(nil), slog.AnyValue(errors.New("an error")), slog.AnyValue([]string{"a"}), slog.GroupValue(slog.String("a", "b")), slog.GroupValue(),
	}
	for _, s := range texts {
		values = append(values, slog.StringValue(s))
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() slog.Value {
		switch random.IntN(8) {
		case 0:
			return values[random.IntN(len(values))]
		case 1:
			return slog.Float64Value(float64(random.IntN(1e9)) / 1000)
		}
		return slog.StringValue(texts[random.IntN(6)])
	}
	times := []time.Time{
		{}, time.Unix(0, 0), time.Unix(1e9, 120), time.Unix(1e9, 123456789).In(time.FixedZone("", 3600)), time.Now(),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 0, 0, time.FixedZone("", -3600)), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	var got, want bytes.Buffer
	ours := New(&got).Handler()
	slogs := slog.NewJSONHandler(&want, &slog.HandlerOptions{ReplaceAttr: rename})
	own := 0
	check := func(r slog.Record) {
		t.Helper()
		got.Reset()
		want.Reset()
		errOurs, errSlogs := ours.Handle(t.Context(), r.Clone()), slogs.Handle(t.Context(), r)
		if got.String() != want.String() || (errOurs == nil) != (errSlogs == nil) {
			t.Fatalf("%q, %v\nslog has\n%q, %v", &got, errOurs, &want, errSlogs)
		}
		if _, ok := appendLine(nil, &r); ok {
			own++
		}
	}
	for _, v := range values {
		r := slog.NewRecord(times[2], slog.LevelInfo, "e", 0)
		r.AddAttrs(slog.Attr{Key: "k", Value: v}, slog.Int("n", 1))
		check(r)
	}
	const records = 20_000
	for range records {
		at := times[2+random.IntN(3)]
		if random.IntN(10) == 0 {
			at = times[random.IntN(len(times))]
		}
		r := slog.NewRecord(at, slog.Level(random.IntN(4)*4-4+random.IntN(20)/19), texts[1+random.IntN(5)], 0)
		for range random.IntN(14) {
			key := "k"
			switch random.IntN(20) {
			case 0:
				key = texts[random.IntN(len(texts))]
			case 1:
				key = slog.MessageKey
			}
			r.AddAttrs(slog.Attr{Key: key, Value: pick()})
		}
		check(r)
	}
	if own < records/10 || own > records*9/10 {
		t.Errorf("%d of %d lines were of our own making: either way is to be tested", own, records)
	}
}

// TestLoggerWith: a logger's own attributes and groups are slog's.
func TestLoggerWith(t *testing.T) {
	var out bytes.Buffer
	New(&out).With("a", 1).WithGroup("g").InfoContext(context.Background(), "e", "msg", "m")
	if line := out.String(); !strings.HasSuffix(line, `Z","level":"INFO","event":"e","a":1,"g":{"msg":"m"}}`+"\n") {
		t.Errorf("%s", line)
	}
}

func BenchmarkOutcome(b *testing.B) {
	at := time.Unix(1e9, 123456789)
	attrs := []slog.Attr{
		slog.String("grant_type", "refresh_token"), slog.String("client_id", "shop"), slog.String("sub", "shop"),
		slog.String("grant_id", "g_0123456789abcdefghijkl"), slog.String("jti", "0123456789abcdefghijkl"), slog.String("scope", "orders:read orders:write"),
		slog.String("aud", "https://orders.example.com"), slog.Float64("latency_ms", 0.123),
	}
	run := func(h slog.Handler) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := slog.NewRecord(at, slog.LevelInfo, "token.refreshed", 0)
				r.AddAttrs(attrs...)
				if err := h.Handle(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("slog", run(slog.NewJSONHandler(discard{}, &slog.HandlerOptions{ReplaceAttr: rename})))
	b.Run("ours", run(New(discard{}).Handler()))
}

// discard is not io.Discard, which slog knows.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// writes are what was written, a Write each.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

// second counts records, and has every second one followed by a line.
type second struct{ n int }

func (s *second) Append(out []byte, r slog.Record) []byte {
	if s.n++; s.n%2 == 1 {
		return out
	}
	return append(out, `{"n":`+strconv.Itoa(s.n)+",\"of\":\""+r.Message+"\"}\n"...)
}

// TestCounter: lines that come along with an outcome's are no Write of their own.
func TestCounter(t *testing.T) {
	var out writes
	log := counted(&out, &second{})
	log.Info("a")
	log.Info("b", "k", "v")
	log.With("own", 1).Info("c", "own", "slog's to write")
	log.With("own", 1).Info("d")
	want := []string{`"event":"a"}` + "\n", `"event":"b","k":"v"}` + "\n" + `{"n":2,"of":"b"}` + "\n", `"event":"c",`, `"event":"d","own":1}` + "\n", `{"n":4,"of":"d"}` + "\n"}
	if len(out) != len(want) {
		t.Fatalf("%q", out)
	}
	for i, w := range want {
		if !strings.Contains(out[i], w) {
			t.Errorf("%q; want %q", out[i], w)
		}
	}
}

func TestIDs(t *testing.T) {
	var out bytes.Buffer
	ctx := gatewayctx.WithTraceID(gatewayctx.WithRequestID(t.Context(), "r-1"), "1-2-3")
	New(&out).InfoContext(ctx, "e")
	if line := out.String(); !strings.HasSuffix(line, `"event":"e","request_id":"r-1","trace_id":"1-2-3"}`+"\n") {
		t.Errorf("%s", line)
	}
}

// TestRuntimesLines: what the runtime says of an error that was returned is left out; a panic's stack is not.
func TestRuntimesLines(t *testing.T) {
	for line, stays := range map[string]bool{
		`{"errorMessage":"Unauthorized","errorType":"errorString"}` + "\n":                                        false,
		`{"errorMessage":"boom","errorType":"string","stackTrace":[{"path":"a.go","line":1,"label":"f"}]}` + "\n": true,
		"http: TLS handshake error\n": true,
	} {
		var out writes
		if n, err := (others{&out}).Write([]byte(line)); n != len(line) || err != nil || (len(out) == 1) != stays {
			t.Errorf("%s: %q, %d, %v", line, out, n, err)
		}
	}
}
