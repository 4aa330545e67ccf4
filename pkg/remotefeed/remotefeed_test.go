package remotefeed_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

var _ revocation.Source = (*remotefeed.Source)(nil)

const good = `{"version":1,"feed":"f","as_of":1767225600,"next":"n","more":false,"entries":[]}`

func source(t *testing.T, c remotefeed.Config) *remotefeed.Source {
	t.Helper()
	s, err := remotefeed.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// site serves one answer at a URL that ends with the test.
func site(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}
}

func TestPage(t *testing.T) {
	var asked []string
	url := site(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, `{"version":1,"feed":"f","as_of":1767225600,"next":"n=&","more":true,"later":{"a":[1]},"entries":["one","two"]}`)
	})
	s := source(t, remotefeed.Config{URL: url + "/feed?tenant=a"})
	want := &revocation.Page{Version: 1, Feed: "f", AsOf: 1767225600, Next: "n=&", More: true, Entries: []string{"one", "two"}}
	for _, after := range []string{"", want.Next} {
		got, err := s.Page(t.Context(), after, time.Unix(1767222000, 0))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %q (-want +got):\n%s", after, diff)
		}
	}
	if diff := cmp.Diff([]string{"GET /feed?since=1767222000&tenant=a", "GET /feed?after=n%3D%26&tenant=a"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// A page of the most entries that the feed makes is taken.
func TestFullPage(t *testing.T) {
	page := revocation.Page{Version: 1, Feed: "f", AsOf: 1, Next: "n", More: true}
	for i := range revocation.PageSize {
		page.Entries = append(page.Entries, revocation.Below(fmt.Sprint(i), 1_000_000, time.Unix(1767225600, 0)).String())
	}
	text, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	got, err := source(t, remotefeed.Config{URL: site(t, body(string(text)))}).Page(t.Context(), "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&page, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(text) > remotefeed.MaxPage/2 {
		t.Errorf("a full page is %d bytes, too near the bound", len(text))
	}
}

// Every failure is an error, never an empty page.
func TestFailures(t *testing.T) {
	without := func(name string) string {
		var m map[string]any
		if err := json.Unmarshal([]byte(good), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, name)
		text, _ := json.Marshal(m)
		return string(text)
	}
	status := func(n int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(n)
			if n != http.StatusNotModified && n != http.StatusNoContent {
				fmt.Fprint(w, text)
			}
		}
	}
	header := func(name, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set(name, value)
			fmt.Fprint(w, good)
		}
	}
	tests := map[string]http.HandlerFunc{
		"204": status(204, ""), "206": status(206, good), "302": status(302, good), "307": status(307, good),
		"304": status(304, ""), "404": status(404, good), "429": status(429, good), "503": status(503, good),
		"no type":       header("Content-Type", ""),
		"HTML":          header("Content-Type", "text/html"),
		"a JWKS's type": header("Content-Type", "application/jwk-set+json"),
		"deflated":      header("Content-Encoding", "br"),
		"empty":         body(""), "null": body("null"), "an array": body("[" + good + "]"), "cut off": body(good[:len(good)-1]),
		"two":              body(good + good),
		"no feed":          body(without("feed")),
		"no as_of":         body(without("as_of")),
		"no next":          body(without("next")),
		"no more":          body(without("more")),
		"no entries":       body(without("entries")),
		"null entries":     body(strings.Replace(good, "[]", "null", 1)),
		"one entry":        body(strings.Replace(good, "[]", `"g"`, 1)),
		"numbers":          body(strings.Replace(good, "[]", "[1]", 1)),
		"empty feed":       body(strings.Replace(good, `"f"`, `""`, 1)),
		"as_of 0":          body(strings.Replace(good, "1767225600", "0", 1)),
		"as_of a fraction": body(strings.Replace(good, "1767225600", "1767225600.5", 1)),
		"more, but where":  body(strings.NewReplacer(`"n"`, `""`, "false", "true").Replace(good)),
		"twice entries":    body(strings.Replace(good, "[]", `["g"],"entries":[]`, 1)),
		"other case":       body(strings.Replace(good, "entries", "Entries", 1)),
		"too long":         body(good + strings.Repeat(" ", remotefeed.MaxPage)),
		"hung up": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", fmt.Sprint(len(good)+1))
			fmt.Fprint(w, good)
		},
		"too long once decompressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, good+strings.Repeat(" ", remotefeed.MaxPage))
			z.Close()
		},
		"not gzip": header("Content-Encoding", "gzip"),
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			page, err := source(t, remotefeed.Config{URL: site(t, answer)}).Page(t.Context(), "", time.Time{})
			if err == nil || page != nil {
				t.Errorf("got %+v, %v, want an error and no page", page, err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		s := httptest.NewServer(nil)
		s.Close()
		page, err := source(t, remotefeed.Config{URL: s.URL}).Page(t.Context(), strings.Repeat("c", 80), time.Time{})
		if err == nil || page != nil || strings.Contains(err.Error(), "ccc") {
			t.Errorf("got %+v, %v, want an error without the cursor", page, err)
		}
	})
	if page, err := source(t, remotefeed.Config{URL: site(t, body(good))}).Page(t.Context(), "", time.Time{}); err != nil || page.Feed != "f" {
		t.Errorf("the page that these are made from: %+v, %v", page, err)
	}
}

func TestGzip(t *testing.T) {
	url := site(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Errorf("Accept-Encoding is %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, good)
		z.Close()
	})
	if page, err := source(t, remotefeed.Config{URL: url}).Page(t.Context(), "", time.Time{}); err != nil || page.Feed != "f" {
		t.Errorf("got %+v, %v", page, err)
	}
}

// A version of another release is the view's to refuse, in words of its own.
func TestOtherVersion(t *testing.T) {
	page, err := source(t, remotefeed.Config{URL: site(t, body(`{"version":2,"news":[]}`))}).Page(t.Context(), "", time.Time{})
	if err != nil || page.Version != 2 {
		t.Errorf("got %+v, %v", page, err)
	}
}

func TestContext(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	url := site(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if page, err := source(t, remotefeed.Config{URL: url}).Page(ctx, "", time.Time{}); !errors.Is(err, context.DeadlineExceeded) || page != nil {
		t.Errorf("got %+v, %v", page, err)
	}
}

func TestURL(t *testing.T) {
	for _, url := range []string{"", "id.example.com", "/feed", "ftp://id.example.com/feed", "https://", "https://u:p@id.example.com/", "https://id.example.com/#f", "https://id.example.com:x/"} {
		if s, err := remotefeed.New(remotefeed.Config{URL: url}); err == nil {
			t.Errorf("%q: got %v", url, s)
		}
	}
}

// The caller's client serves, but for redirects and cookies, and is not changed.
func TestHTTPClient(t *testing.T) {
	s := httptest.NewUnstartedServer(body(good))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a handshake is refused, as it must be
	s.StartTLS()
	t.Cleanup(s.Close)
	if _, err := source(t, remotefeed.Config{URL: s.URL}).Page(t.Context(), "", time.Time{}); err == nil {
		t.Error("a certificate of nobody's is taken")
	}
	client := s.Client()
	if _, err := source(t, remotefeed.Config{URL: s.URL, HTTPClient: client}).Page(t.Context(), "", time.Time{}); err != nil {
		t.Error(err)
	}
	if client.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}

// The pages of one load share a connection; a poll never begins on one that was left from before, which may be dead.
func TestConnections(t *testing.T) {
	var opened, requests atomic.Int64
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		more := "true"
		if n%5 == 0 {
			more = "false"
		}
		body(strings.NewReplacer("false", more, `"n"`, fmt.Sprintf(`"%d"`, n)).Replace(good))(w, r)
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch state {
		case http.StateNew:
			opened.Add(1)
			open[c] = true
		case http.StateClosed:
			delete(open, c)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	clock := &clocktest.Clock{}
	clock.Move(time.Hour)
	view, err := revocation.NewView(revocation.ViewConfig{
		Source: source(t, remotefeed.Config{URL: s.URL}), Window: time.Hour, Now: clock.Now, MaxStaleness: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for poll := range int64(3) {
		if err := view.Check(t.Context(), revocation.Facts{AuthTime: clock.Now()}); err != nil {
			t.Fatal(err)
		}
		if got := requests.Load(); got != 5*(poll+1) {
			t.Errorf("%d requests after %d loads of 5 pages", got, poll+1)
		}
		if got := opened.Load(); got != poll+1 {
			t.Errorf("%d connections for %d loads", got, poll+1)
		}
		clock.Move(revocation.PollInterval)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		n := len(open)
		mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open", n)
		}
	}
}

// A log that was restored under the same address: views begin anew, over the network too.
func TestAnotherFeed(t *testing.T) {
	var clock clocktest.Clock
	l := &restored{id: "1"}
	config := revocation.FeedConfig{Source: l, Now: clock.Now}
	feed := revocation.NewFeed(config)
	s := source(t, remotefeed.Config{URL: site(t, func(w http.ResponseWriter, r *http.Request) { feed.ServeHTTP(w, r) })})
	view, err := revocation.NewView(revocation.ViewConfig{Source: s, Window: time.Hour, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	facts := revocation.Facts{GrantID: "g_1", AuthTime: clock.Now()}
	if err := view.Check(t.Context(), facts); err != nil {
		t.Fatal(err)
	}
	l.id, l.entries = "2", []revocation.Entry{revocation.Grant("g_1", clock.Now())}
	clock.Move(10 * time.Minute)
	feed = revocation.NewFeed(config)
	var revoked *revocation.RevokedError
	if err := view.Check(t.Context(), facts); !errors.As(err, &revoked) {
		t.Errorf("%v, want it revoked", err)
	}
}

type restored struct {
	revocation.Appender
	id      string
	entries []revocation.Entry
}

func (r *restored) FeedID(context.Context) (string, error) { return r.id, nil }

func (r *restored) Always(context.Context) ([]revocation.Entry, error) { return nil, nil }

func (r *restored) Entries(_ context.Context, from, until time.Time, yield func(revocation.Entry) bool) error {
	for _, e := range r.entries {
		if !e.At.Before(from) && (until.IsZero() || e.At.Before(until)) && !yield(e) {
			break
		}
	}
	return nil
}
