package feedview_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

const issuer = "https://id.example.com"

func reader(vars map[string]string) *env.Reader {
	return &env.Reader{Lookup: func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}}
}

func TestDefaults(t *testing.T) {
	want := feedview.Config{URL: issuer + "/.well-known/latchkey-revocations", PollInterval: 15 * time.Second, MaxStaleness: time.Minute, MaxEntries: revocation.MaxEntries}
	for name, read := range map[string]func(*env.Reader, string) feedview.Config{"Read": feedview.Read, "Lax": feedview.Lax} {
		r := reader(nil)
		if got := read(r, issuer); got != want || r.Err() != nil {
			t.Errorf("%s: %+v, %v, want %+v", name, got, r.Err(), want)
		}
	}
}

func TestRead(t *testing.T) {
	r := reader(map[string]string{
		"REVOCATIONS_URL": "https://feed.example.com/f?tenant=a", "REVOCATIONS_POLL_INTERVAL": "5s", "MAX_STALENESS": "300", "STALE_REVOCATIONS": "allow",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
	})
	want := feedview.Config{URL: "https://feed.example.com/f?tenant=a", PollInterval: 5 * time.Second, MaxStaleness: 5 * time.Minute, MaxEntries: 1_572_864}
	if got := feedview.Read(r, issuer); got != want || r.Err() != nil {
		t.Errorf("Read: %+v, %v, want %+v: an issuer never allows stale revocations", got, r.Err(), want)
	}
	want.AllowStale = true
	got := feedview.Lax(r, issuer)
	if got != want || r.Err() != nil {
		t.Errorf("Lax: %+v, %v, want %+v", got, r.Err(), want)
	}
	view, err := got.View(time.Hour, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if !view.AllowStale || view.PollInterval != 5*time.Second || view.MaxStaleness != 5*time.Minute || view.Window != got.Window(time.Hour) || view.MaxEntries != want.MaxEntries {
		t.Errorf("the view is %+v", view.ViewConfig)
	}
}

func TestErrorsNameTheVariable(t *testing.T) {
	for _, test := range []struct{ name, value string }{
		{"REVOCATIONS_URL", "http://id.example.com/feed"}, {"REVOCATIONS_URL", "feed"},
		{"REVOCATIONS_POLL_INTERVAL", "0"}, {"REVOCATIONS_POLL_INTERVAL", "2h"}, {"REVOCATIONS_POLL_INTERVAL", "soon"},
		{"MAX_STALENESS", "19s"}, {"MAX_STALENESS", "25h"},
		{"STALE_REVOCATIONS", "true"}, {"STALE_REVOCATIONS", "Allow"},
	} {
		r := reader(map[string]string{test.name: test.value})
		feedview.Lax(r, issuer)
		if err := r.Err(); err == nil || !strings.HasPrefix(err.Error(), test.name+" is ") {
			t.Errorf("%s=%s: %v, want an error that names it", test.name, test.value, err)
		}
	}
}

// Nothing is forgotten while it can match a token: one that is made, on a record and on a view as old as they may be, just
// before the revocation is heard of, lives for the cap from then on, and is accepted for the leeway besides.
func TestWindow(t *testing.T) {
	c := feedview.Config{MaxStaleness: time.Minute}
	if feedview.RecordMemory != client.RecordTTL {
		t.Errorf("records are kept for %v", client.RecordTTL)
	}
	if got, want := c.Window(time.Hour), time.Hour+time.Minute+revocation.FeedMemory+30*time.Second+5*time.Second; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
