package attack

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/revoke"
)

// Limits sends more than one client, or one address, may send, and says who is told to wait. The limits' own tests are beside
// them: in pkg/revoke, pkg/user/backoff, pkg/client, pkg/keyring, pkg/remotekeys and pkg/revocation.
func (w *World) Limits(t *testing.T) {
	addresses := w.open(t)
	status := func(d door, r Request) int {
		t.Helper()
		res, body, err := send(addresses[d], r.marshal("auth.example.com", w.filler(t), &w.Secrets), r.method)
		if err != nil {
			t.Fatal(err)
		}
		answer := Answer{
			Method: r.method, Path: r.path, Authorization: r.authorized(), Status: res.StatusCode, Header: ofOurs(res.Header), Body: body,
		}
		for _, breach := range append(Breaches(answer), undeclared(answer)...) {
			t.Errorf("%s: %s: %d %v %s", d, breach, res.StatusCode, res.Header, body)
		}
		if waits := res.Header.Get("Retry-After") != ""; waits != (res.StatusCode == http.StatusTooManyRequests) {
			t.Errorf("%s: %d with Retry-After %q", d, res.StatusCode, res.Header.Get("Retry-After"))
		}
		return res.StatusCode
	}
	w.Clock.Move(time.Minute) // whatever was counted has ended

	// A client revokes so much at once, through whatever door, and nobody else has to wait for it.
	ends := func(id string) Request { return revokeForm.as(id).form("token", canary) }
	for i := range revoke.Burst {
		if got := status([]door{plain, httpAPI, restAPI}[i%3], ends("shop")); got != http.StatusOK {
			t.Fatalf("revocation %d: %d", i+1, got)
		}
	}
	if got := status(httpAPI, ends("shop")); got != http.StatusTooManyRequests {
		t.Errorf("one revocation too many: %d", got)
	}
	if got := status(httpAPI, ends("other")); got != http.StatusOK {
		t.Errorf("another client's revocation: %d", got)
	}
	if got := status(httpAPI, revokeForm.basic("shop", "{nobody.secret}").form("token", canary)); got != http.StatusUnauthorized {
		t.Errorf("a stranger, in the client's name: %d", got) // strangers neither learn of the limit nor use it up
	}
	w.Clock.Move(time.Second / revoke.Rate)
	if got := status(httpAPI, ends("shop")); got != http.StatusOK {
		t.Errorf("a revocation after a wait: %d", got)
	}

	// Who guesses a password has to wait, whatever headers say of where the guesses are from.
	guess := func(i int, secret string) Request {
		from := fmt.Sprintf("203.0.113.%d", i)
		return login.as("shop").form("username", "ada-1", "password", secret).
			add("X-Forwarded-For", from).add("X-Real-Ip", from).add("Forwarded", "for="+from).add("True-Client-Ip", from)
	}
	const free = 6 // the last of them is followed by a wait
	for i := range free {
		if got := status([]door{plain, httpAPI, restAPI}[i%3], guess(i, "wrong horse battery staple")); got != http.StatusBadRequest {
			t.Fatalf("guess %d: %d", i+1, got)
		}
	}
	for _, d := range []door{plain, httpAPI, restAPI} {
		if got := status(d, guess(99, password)); got != http.StatusTooManyRequests {
			t.Errorf("%s: a guess too many, and the right one: %d", d, got)
		}
	}
	w.Clock.Move(3 * time.Second) // two, in whole seconds
	if got := status(httpAPI, guess(99, password)); got != http.StatusOK {
		t.Errorf("the right password after a wait: %d", got)
	}
	if what := w.Secrets.Find(w.Log.Take()); what != "" {
		t.Errorf("the log holds %s", what)
	}
}
