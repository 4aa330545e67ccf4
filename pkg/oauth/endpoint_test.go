package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
)

// written answers err and returns what went out.
func written(err error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	WriteError(w, err)
	return w
}

// wireError reads an error answer, strictly.
func wireError(t *testing.T, body []byte) (code, description string) {
	t.Helper()
	var wire struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&wire); err != nil {
		t.Errorf("%s: %v", body, err)
	}
	return wire.Error, wire.Description
}

func noStore(t *testing.T, what string, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Pragma": "no-cache", "Content-Type": "application/json;charset=UTF-8", "X-Content-Type-Options": "nosniff",
	} {
		if got := h.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q, want %q", what, name, got, want)
		}
	}
}

func TestWriteError(t *testing.T) {
	for code, status := range map[Code]int{
		InvalidRequest: 400, InvalidClient: 401, InvalidGrant: 400, UnauthorizedClient: 400, UnsupportedGrantType: 400,
		InvalidScope: 400, InvalidTarget: 400, ServerError: 500, Unavailable: 503,
	} {
		// Wrapped, as a caller may have done, and with a cause that must not show.
		w := written(fmt.Errorf("outer: %w", Errorf(code, "Said to %s.", "all").Becausef("inner")))
		if w.Code != status {
			t.Errorf("%s: status %d, want %d", code, w.Code, status)
		}
		noStore(t, string(code), w.Header())
		if got, description := wireError(t, w.Body.Bytes()); got != string(code) || description != "Said to all." {
			t.Errorf("%s: got %s, %q", code, got, description)
		}
		if strings.Contains(w.Body.String(), "inner") || strings.Contains(w.Body.String(), "outer") {
			t.Errorf("%s: the cause shows: %s", code, w.Body)
		}
		if got, want := w.Header().Get("Retry-After") == "2", status == 503; got != want || !want && w.Header().Get("Retry-After") != "" {
			t.Errorf("%s: Retry-After is %q", code, w.Header().Get("Retry-After"))
		}
		if got := w.Header().Values("WWW-Authenticate"); got != nil {
			t.Errorf("%s: WWW-Authenticate %q without an Authorization", code, got)
		}
	}
}

func TestWriteUnknownError(t *testing.T) {
	w := written(errors.New("dial tcp 10.0.0.1: arn:aws:kms:eu-west-1:123456789012:key/x"))
	code, _ := wireError(t, w.Body.Bytes())
	if w.Code != 500 || code != "server_error" {
		t.Errorf("got %d, %s", w.Code, code)
	}
	if strings.Contains(w.Body.String(), "10.0.0.1") || strings.Contains(w.Body.String(), "arn:") {
		t.Errorf("the cause shows: %s", w.Body)
	}
	noStore(t, "an unknown error", w.Header())
}

func TestWriteErrorHeaders(t *testing.T) {
	if got := written(Errorf(InvalidClient, "x").Challenged()).Header().Get("WWW-Authenticate"); got != `Basic realm="latchkey", charset="UTF-8"` {
		t.Errorf("WWW-Authenticate is %q", got)
	}
	w := written(MethodNotAllowed("GET, HEAD"))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("got %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	if w := written(MethodNotAllowed("POST").Challenged()); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" || w.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("one header displaced another: %d, %v", w.Code, w.Header())
	}
	for wait, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2", time.Minute: "60"} {
		w := written(TooManyRequests(wait))
		if code, _ := wireError(t, w.Body.Bytes()); w.Code != 429 || w.Header().Get("Retry-After") != want || code != "temporarily_unavailable" {
			t.Errorf("%s: %d %s, Retry-After %q, want %s", wait, w.Code, code, w.Header().Get("Retry-After"), want)
		}
	}
	// Derived errors leave the one that they derive from as it was: it may be shared.
	base := Errorf(InvalidClient, "x")
	_, _ = base.Challenged(), base.Because(errors.New("y"))
	if base.header != nil || base.cause != nil || base.status != 0 {
		t.Errorf("the base changed: %+v", base)
	}
}

func TestDescriptionCharset(t *testing.T) {
	_, got := wireError(t, written(&Error{Code: InvalidRequest, Description: "a\"b\\c\nd\x00e\x7ff\xff ~!"}).Body.Bytes())
	if got != "a'b'c'd'e'f' ~!" {
		t.Errorf("got %q", got)
	}
	if body := written(&Error{Code: InvalidRequest}).Body.String(); strings.Contains(body, "error_description") {
		t.Errorf("an empty description is written: %s", body)
	}
}

// call serves one request by handle and returns the answer and the log lines.
func call(t *testing.T, handle func(*http.Request, *Outcome) (any, error)) (*httptest.ResponseRecorder, []map[string]any) {
	t.Helper()
	var log bytes.Buffer
	var clock clocktest.Clock
	e := &Endpoint{
		Name: "token", Log: slog.New(slog.NewJSONHandler(&log, nil)), Now: clock.Now,
		Handle: func(r *http.Request, o *Outcome) (any, error) {
			clock.Move(1500 * time.Microsecond)
			return handle(r, o)
		},
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, post(""))
	var lines []map[string]any
	for line := range bytes.Lines(log.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("log line %s: %v", line, err)
		}
		lines = append(lines, fields)
	}
	return w, lines
}

// logged fails the test unless there is one line, with these fields.
func logged(t *testing.T, lines []map[string]any, want map[string]any) map[string]any {
	t.Helper()
	if len(lines) != 1 {
		t.Fatalf("%d log lines, want 1: %v", len(lines), lines)
	}
	for name, value := range want {
		if lines[0][name] != value {
			t.Errorf("the log's %s is %v, want %v", name, lines[0][name], value)
		}
	}
	if lines[0]["latency_ms"] != 1.5 {
		t.Errorf("latency_ms is %v, want 1.5", lines[0]["latency_ms"])
	}
	return lines[0]
}

func TestEndpointAnswers(t *testing.T) {
	w, lines := call(t, func(_ *http.Request, o *Outcome) (any, error) {
		*o = Outcome{
			Event: "token.issued", GrantType: "client_credentials", ClientID: "app", Subject: "sub", GrantID: "g_1", TokenID: "j1", Scope: "a b",
			Audience: "https://api", KeyID: "k1", Audit: true,
		}
		return &TokenResponse{AccessToken: "SECRET.TOKEN", TokenType: "Bearer", ExpiresIn: 900, Scope: "a b"}, nil
	})
	if w.Code != 200 || w.Body.String() != `{"access_token":"SECRET.TOKEN","token_type":"Bearer","expires_in":900,"scope":"a b"}` {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
	noStore(t, "an answer", w.Header())
	line := logged(t, lines, map[string]any{
		"level": "INFO", "msg": "token.issued", "grant_type": "client_credentials", "client_id": "app", "sub": "sub", "grant_id": "g_1",
		"jti": "j1", "scope": "a b", "aud": "https://api", "kid": "k1", "error": nil, "cause": nil,
		"stream": StreamAudit, "source_ip": "192.0.2.1",
	})
	if strings.Contains(fmt.Sprint(line), "SECRET") {
		t.Errorf("the token is in the log: %v", line)
	}

	_, lines = call(t, func(*http.Request, *Outcome) (any, error) { return struct{}{}, nil })
	line = logged(t, lines, map[string]any{"msg": "token.answered", "stream": nil, "source_ip": nil})
	if _, ok := line["client_id"]; ok {
		t.Errorf("an empty field is logged: %v", line)
	}
}

func TestEndpointRefuses(t *testing.T) {
	w, lines := call(t, func(_ *http.Request, o *Outcome) (any, error) {
		o.Event, o.ClientID, o.Reason = "token.issued", "app", "expired"
		return nil, Errorf(InvalidClient, "No.").Becausef("wrong secret")
	})
	if w.Code != 401 || strings.Contains(w.Body.String(), "wrong secret") {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
	logged(t, lines, map[string]any{
		"level": "INFO", "msg": "token.refused", "error": "invalid_client", "error_description": "No.", "cause": "wrong secret",
		"status": 401.0, "client_id": "app", "reason": "expired", "stream": StreamAudit, "source_ip": "192.0.2.1",
	})
}

func TestEndpointFails(t *testing.T) {
	failed := func(what string, status int, code, cause string, handle func(*http.Request, *Outcome) (any, error)) map[string]any {
		t.Helper()
		w, lines := call(t, handle)
		if got, _ := wireError(t, w.Body.Bytes()); w.Code != status || got != code {
			t.Errorf("%s: got %d, %s", what, w.Code, got)
		}
		if strings.Contains(w.Body.String(), "boom") {
			t.Errorf("%s: the cause shows: %s", what, w.Body)
		}
		noStore(t, what, w.Header())
		line := logged(t, lines, map[string]any{"level": "ERROR", "msg": "token.failed", "error": code, "status": float64(status)})
		if got, _ := line["cause"].(string); !strings.Contains(got, cause) {
			t.Errorf("%s: the log's cause is %q, want %q in it", what, got, cause)
		}
		return line
	}
	failed("an unknown error", 500, "server_error", "boom", func(*http.Request, *Outcome) (any, error) { return nil, errors.New("boom") })
	failed("an outage", 503, "temporarily_unavailable", "boom", func(*http.Request, *Outcome) (any, error) {
		return nil, Errorf(Unavailable, "Later.").Becausef("boom")
	})
	failed("an answer that is no JSON", 500, "server_error", "unsupported", func(*http.Request, *Outcome) (any, error) { return func() {}, nil })
	line := failed("a panic", 500, "server_error", "boom", func(*http.Request, *Outcome) (any, error) { panic("boom") })
	if stack, _ := line["stack"].(string); !strings.Contains(stack, "TestEndpointFails") {
		t.Errorf("the stack is %q", stack)
	}
}

func TestEndpointAborts(t *testing.T) {
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler to pass", p)
		}
	}()
	call(t, func(*http.Request, *Outcome) (any, error) { panic(http.ErrAbortHandler) })
}

func TestEndpointClips(t *testing.T) {
	_, lines := call(t, func(_ *http.Request, o *Outcome) (any, error) {
		o.Scope = strings.Repeat("x", MaxBody)
		return nil, Errorf(InvalidScope, "x").Becausef("%s", strings.Repeat("y", MaxBody))
	})
	line := logged(t, lines, nil)
	for _, name := range []string{"scope", "cause"} {
		if got := line[name].(string); len(got) > 600 || !strings.HasSuffix(got, "…") {
			t.Errorf("%s has %d bytes in the log", name, len(got))
		}
	}
}

func TestErrorText(t *testing.T) {
	if got := Errorf(InvalidScope, "No.").Error(); got != "invalid_scope: No." {
		t.Errorf("got %q", got)
	}
	if got := Errorf(InvalidScope, "No.").Becausef("why").Error(); got != "invalid_scope: No.: why" {
		t.Errorf("got %q", got)
	}
}

// TestTokenResponseJSON: the answer is encoding/json's, byte for byte, whatever is in it.
func TestTokenResponseJSON(t *testing.T) {
	texts := []string{"", "a", "eyJ.eyJ.x-_", "a b c", `"`, `\\`, "<", ">", "&", "\x00", "\n", "\x1f", "\x7f", "ü", "\u2028", "\xff", "~", strings.Repeat("x", 3000)}
	for i, s := range texts {
		for _, n := range []int64{0, 900, -1, math.MaxInt64, math.MinInt64} {
			other := texts[(i+1)%len(texts)]
			for _, r := range []TokenResponse{
				{AccessToken: s, TokenType: "Bearer", ExpiresIn: n}, {AccessToken: "a", TokenType: s, ExpiresIn: n},
				{RefreshToken: s, ExpiresIn: n}, {Scope: s, ExpiresIn: n}, {s, other, n, s, other, "never written"}, {other, s, n, other, s, ""},
			} {
				want, err := json.Marshal(&r)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := r.json(); err != nil || string(got) != string(want) {
					t.Errorf("%s, %v; encoding/json has %s", got, err, want)
				}
			}
		}
	}
}
