package customresource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/customresource"
	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// bucket takes answers as S3 would: a put with a Content-Type, or without a length, is refused, and it fails first with the
// statuses given.
type bucket struct {
	*httptest.Server
	mu      sync.Mutex
	fail    []int
	puts    int
	answers []map[string]string
	data    []map[string]string // of each answer, its attributes
}

func newBucket(t *testing.T, fail ...int) *bucket {
	b := &bucket{fail: fail}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.puts++
		if len(b.fail) > 0 {
			status := b.fail[0]
			b.fail = b.fail[1:]
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			return
		}
		body, err := io.ReadAll(r.Body)
		var answer struct {
			Status, Reason, PhysicalResourceId, StackId, RequestId, LogicalResourceId string
			Data                                                                      map[string]string
		}
		_, typed := r.Header["Content-Type"]
		if err != nil || r.Method != http.MethodPut || typed || r.ContentLength != int64(len(body)) || json.Unmarshal(body, &answer) != nil || len(body) > 4096 {
			t.Errorf("%s %v of %d bytes: %s", r.Method, r.Header, r.ContentLength, body)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if got := r.URL.Query().Get("X-Amz-Signature"); got != "hunter2" {
			t.Errorf("signature %q", got)
		}
		b.answers = append(b.answers, map[string]string{
			"Status": answer.Status, "Reason": answer.Reason, "PhysicalResourceId": answer.PhysicalResourceId,
			"StackId": answer.StackId, "RequestId": answer.RequestId, "LogicalResourceId": answer.LogicalResourceId,
		})
		b.data = append(b.data, answer.Data)
	}))
	t.Cleanup(b.Close)
	return b
}

// only returns the one answer.
func (b *bucket) only(t *testing.T) map[string]string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answers) != 1 {
		t.Fatalf("%d answers", len(b.answers))
	}
	return b.answers[0]
}

// event is the sample event of that name with its answer going to url, and other changes, nil meaning a removal.
func event(t *testing.T, name, url string, changes map[string]any) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(t), "events", "rotate-custom-resource-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	e["ResponseURL"] = url + "/response?X-Amz-Signature=hunter2"
	for name, value := range changes {
		if e[name] = value; value == nil {
			delete(e, name)
		}
	}
	if data, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	return data
}

// maker counts the calls of Make, which returns err.
type maker struct {
	calls int
	err   error
}

func (m *maker) make(context.Context) (any, error) {
	m.calls++
	return map[string]bool{"made": true}, m.err
}

func handler(make func(context.Context) (any, error)) (*customresource.Handler, *bytes.Buffer) {
	var log bytes.Buffer
	return &customresource.Handler{ID: "the-id", Make: make, AllowHTTP: true, Log: slog.New(slog.NewJSONHandler(&log, nil))}, &log
}

func TestCreateUpdateDelete(t *testing.T) {
	for name, want := range map[string]struct {
		calls int
		id    string
	}{"create": {1, "the-id"}, "update": {0, "latchkey-first-keys"}, "delete": {0, "latchkey-first-keys"}} {
		b, m := newBucket(t), &maker{}
		h, log := handler(m.make)
		e := event(t, name, b.URL, nil)
		if _, err := h.Invoke(t.Context(), e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if m.calls != want.calls {
			t.Errorf("%s: Make was called %d times, want %d", name, m.calls, want.calls)
		}
		var sent map[string]any
		if err := json.Unmarshal(e, &sent); err != nil {
			t.Fatal(err)
		}
		got := b.only(t)
		if got["Status"] != "SUCCESS" || got["PhysicalResourceId"] != want.id {
			t.Errorf("%s: answered %v", name, got)
		}
		for _, id := range []string{"StackId", "RequestId", "LogicalResourceId"} {
			if got[id] == "" || got[id] != sent[id] {
				t.Errorf("%s: %s is %q, want %q", name, id, got[id], sent[id])
			}
		}
		if strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "custom_resource.answered") {
			t.Errorf("%s: logged %s", name, log)
		}
	}
}

// A creation and an update answer with the attributes, a deletion and a failure without.
func TestAttributes(t *testing.T) {
	broken := errors.New("no such attribute")
	for name, test := range map[string]struct {
		event  string
		makes  error
		fails  error
		status string
		data   map[string]string
	}{
		"create":            {event: "create", status: "SUCCESS", data: map[string]string{"Of": "120"}},
		"update":            {event: "update", status: "SUCCESS", data: map[string]string{"Of": "960"}},
		"delete":            {event: "delete", status: "SUCCESS"},
		"not made":          {event: "create", makes: broken, status: "FAILED"},
		"not to be had":     {event: "update", fails: broken, status: "FAILED"},
		"made, and not had": {event: "create", fails: broken, status: "FAILED"},
	} {
		b := newBucket(t)
		h, _ := handler((&maker{err: test.makes}).make)
		h.Attributes = func(properties json.RawMessage) (map[string]string, error) {
			var p struct{ ServiceTimeout string }
			if err := json.Unmarshal(properties, &p); err != nil {
				return nil, err
			}
			return map[string]string{"Of": p.ServiceTimeout}, test.fails
		}
		if test.fails != nil {
			h.Attributes = func(json.RawMessage) (map[string]string, error) { return nil, test.fails }
		}
		properties := map[string]any{"ServiceTimeout": "960"}
		if test.event == "create" {
			properties["ServiceTimeout"] = "120"
		}
		if _, err := h.Invoke(t.Context(), event(t, test.event, b.URL, map[string]any{"ResourceProperties": properties})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.only(t); got["Status"] != test.status || !maps.Equal(b.data[0], test.data) {
			t.Errorf("%s: answered %v with %v, want %v", name, got, b.data[0], test.data)
		}
	}
}

func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		make    func(context.Context) (any, error)
		changes map[string]any
		reason  string
	}{
		"error":        {make: func(context.Context) (any, error) { return nil, errors.New("KMS:\n asked too often") }, reason: "KMS: asked too often"},
		"long error":   {make: func(context.Context) (any, error) { return nil, errors.New(strings.Repeat("é", 5000)) }, reason: strings.Repeat("é", 512) + "..."},
		"panic":        {make: func(context.Context) (any, error) { panic("hunter2") }, reason: "internal error: the function's log has more"},
		"unknown type": {changes: map[string]any{"RequestType": "Frobnicate"}, reason: "RequestType is not Create, Update or Delete"},
		"no type":      {changes: map[string]any{"RequestType": nil}, reason: "RequestType is not Create, Update or Delete"},
		"type is a number": {
			changes: map[string]any{"RequestType": 1}, reason: "the request is malformed",
		},
		"bad stack id": {changes: map[string]any{"StackId": []int{1}}, reason: "the request is malformed"},
	} {
		b, m := newBucket(t), &maker{}
		if test.make == nil {
			test.make = m.make
		}
		h, _ := handler(test.make)
		if _, err := h.Invoke(t.Context(), event(t, "create", b.URL, test.changes)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.only(t); got["Status"] != "FAILED" || got["Reason"] != test.reason || got["PhysicalResourceId"] != "the-id" || got["RequestId"] == "" {
			t.Errorf("%s: answered %v", name, got)
		}
		if m.calls != 0 {
			t.Errorf("%s: Make was called", name)
		}
	}
}

// TestWorkThatDoesNotEnd has Make ignore its context.
func TestWorkThatDoesNotEnd(t *testing.T) {
	b := newBucket(t)
	release := make(chan struct{})
	defer close(release)
	h, _ := handler(func(context.Context) (any, error) { <-release; return nil, nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := h.Invoke(ctx, event(t, "create", b.URL, nil)); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Error("answered after the function's time")
	}
	if got := b.only(t); got["Status"] != "FAILED" || !strings.HasPrefix(got["Reason"], "not done in time") {
		t.Errorf("answered %v", got)
	}
}

func TestAnswersAreTriedAgain(t *testing.T) {
	b, m := newBucket(t, 500, 503, 429), &maker{}
	h, _ := handler(m.make)
	if _, err := h.Invoke(t.Context(), event(t, "create", b.URL, nil)); err != nil {
		t.Fatal(err)
	}
	if got := b.only(t); got["Status"] != "SUCCESS" || b.puts != 4 || m.calls != 1 {
		t.Errorf("answered %v after %d tries; Make was called %d times", got, b.puts, m.calls)
	}
}

func TestUndeliverable(t *testing.T) {
	for _, status := range []int{403, 307, 302} {
		b := newBucket(t, status)
		h, log := handler((&maker{}).make)
		out, err := h.Invoke(t.Context(), event(t, "create", b.URL, nil))
		if err == nil || out != nil || b.puts != 1 {
			t.Errorf("%d: %s, %v after %d tries", status, out, err, b.puts)
		}
		if strings.Contains(err.Error()+log.String(), "hunter2") {
			t.Errorf("%d: the URL is shown: %v\n%s", status, err, log)
		}
	}

	b := newBucket(t)
	b.Close()
	h, log := handler((&maker{}).make)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := h.Invoke(ctx, event(t, "create", b.URL, nil))
	if err == nil || strings.Contains(err.Error()+log.String(), "hunter2") {
		t.Errorf("nobody there: %v\n%s", err, log)
	}
}

func TestResponseURL(t *testing.T) {
	for _, url := range []any{"http://127.0.0.1/?X-Amz-Signature=hunter2", "", "ftp://a/", "https://", "a", 1, nil} {
		m := &maker{}
		h, log := handler(m.make)
		h.AllowHTTP = false
		_, err := h.Invoke(t.Context(), event(t, "create", "", map[string]any{"ResponseURL": url}))
		if err == nil || err.Error() != "ResponseURL is not an https URL" || m.calls != 0 {
			t.Errorf("%v: %v; Make was called %d times", url, err, m.calls)
		}
		if strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "custom_resource.unanswerable") {
			t.Errorf("%v: logged %s", url, log)
		}
	}
}

func TestPlainInvocation(t *testing.T) {
	for _, e := range []string{`{}`, `{"source":"aws.scheduler","detail":{}}`} {
		m := &maker{}
		h, _ := handler(m.make)
		if out, err := h.Invoke(t.Context(), []byte(e)); err != nil || string(out) != `{"made":true}` || m.calls != 1 {
			t.Errorf("%s: %s, %v; Make was called %d times", e, out, err, m.calls)
		}
		m.err = errors.New("no")
		if out, err := h.Invoke(t.Context(), []byte(e)); !errors.Is(err, m.err) || out != nil {
			t.Errorf("%s: %s, %v", e, out, err)
		}
	}
	h, _ := handler(func(context.Context) (any, error) { panic("hunter2") })
	if _, err := h.Invoke(t.Context(), []byte(`{}`)); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("after a panic: %v", err)
	}
}

func TestEventsThatAreNone(t *testing.T) {
	for _, e := range []string{``, `null`, `[]`, `"x"`, `1`, `{`, `{}{}`} {
		m := &maker{}
		h, _ := handler(m.make)
		if out, err := h.Invoke(t.Context(), []byte(e)); err == nil || m.calls != 0 {
			t.Errorf("%q: %s, %v", e, out, err)
		}
	}
}

// TestOrder has the resource made before the answer says so.
func TestOrder(t *testing.T) {
	b := newBucket(t)
	var order []string
	h, _ := handler(func(context.Context) (any, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		order = append(order, "made", strings.Repeat("answered", b.puts))
		return nil, nil
	})
	if _, err := h.Invoke(t.Context(), event(t, "create", b.URL, nil)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []string{"made", ""}) || b.puts != 1 {
		t.Errorf("%q, %d answers", order, b.puts)
	}
}
