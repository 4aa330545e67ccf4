package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/resource"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Place is one that takes tokens.
type Place struct {
	Name  string
	Judge func(t testing.TB, raw string) Verdict

	Remembers bool // it has seen the good token before each of its variants
	Revokes   bool // it takes what was ours, and not only what is good now
	Tidies    bool // it takes off what people paste with a token
}

// Verdict is what a place made of a token.
type Verdict struct {
	Accepted bool
	Reason   token.Reason // by the log; empty: the token was refused before it was looked at, or accepted
	ID       string       // the jti that it was accepted with, where the place says it
	Said     string       // all that is known, for the message
}

// Judge shows every token of the corpus in every place, and compares what they say with the corpus and so with each other. It
// returns how many rows there were, by class.
//
// Places of one group are forms of one place. Unless it is to be thorough, each token is shown in one of them, in turn.
func (f *Forge) Judge(t *testing.T, algs []keyring.Algorithm, groups [][]Place, thorough bool) (rows map[string]int) {
	rows = map[string]int{}
	turn := 0
	f.Each(algs, func(m *Maker, row Row, raw string) {
		if m.Key.Algorithm != algs[0] && !thorough && row.Class == "base64" {
			return
		}
		turn++
		rows[row.Class]++
		for _, group := range groups {
			for j, p := range group {
				// The control goes everywhere.
				if !thorough && row.Reason != "" && j != turn%len(group) {
					continue
				}
				for _, wrong := range m.judge(t, p, row, raw) {
					t.Errorf("%s, %s: %s: %s, %s: %s", f.Type, m.Key.Algorithm, p.Name, row.Class, row.Name, wrong)
				}
			}
		}
	})
	return rows
}

func (m *Maker) judge(t testing.TB, p Place, row Row, raw string) (wrong []string) {
	good := func(when string) {
		if v := p.Judge(t, m.Good); !v.Accepted {
			wrong = append(wrong, "the good token is refused "+when+": "+v.Said)
		}
	}
	if p.Remembers {
		good("before it")
	}
	got := p.Judge(t, raw)
	want := row.Reason == "" || p.Tidies && row.tidied || p.Revokes && (row.revocable || m.Type == token.TypeRefresh && row.Reason == token.ReasonExpired)
	switch {
	case got.Accepted != want:
		wrong = append(wrong, fmt.Sprintf("accepted: %v: %s", got.Accepted, got.Said))
	case got.Accepted && got.ID != "" && got.ID != "t_"+m.ID:
		wrong = append(wrong, fmt.Sprintf("accepted as %s: %s", got.ID, got.Said))
	case !got.Accepted && got.Reason != row.Reason && !(got.Reason == "" && p.unheard(row, raw)) && !(p.Revokes && row.Reason == token.ReasonType):
		wrong = append(wrong, fmt.Sprintf("refused for %q, want %s: %s", got.Reason, row.Reason, got.Said))
	}
	if p.Remembers {
		good("after it")
	}
	return wrong
}

// unheard says that a token may be refused without its verifier's word: because no header and no form can hold it; or because
// there is nothing to revoke any more. (Of a token of another type, the revocation endpoint has the word of the other verifier.)
func (p Place) unheard(row Row, raw string) bool {
	return unfit(raw) || p.Revokes && row.Reason == token.ReasonExpired
}

// unfit says that credentials can't hold a token: it is no token68 (RFC 9110 section 11.2), or longer than any.
func unfit(raw string) bool {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	raw = strings.TrimRight(raw, "=")
	return raw == "" || len(raw) > token.MaxLength || strings.IndexFunc(raw, func(r rune) bool { return !strings.ContainsRune(characters, r) }) >= 0
}

var reasons = regexp.MustCompile(`"reason":"([a-z_]+)"|invalid token: ([a-z_]+):`)

// reasonIn finds a verifier's word in a log.
func reasonIn(log string) token.Reason {
	m := reasons.FindStringSubmatch(log)
	if m == nil || slices.Contains([]string{"missing", "repeated", "scheme", "credentials"}, m[1]) {
		return ""
	}
	return token.Reason(m[1] + m[2])
}

// judged sends a request and reads the log and a member of the answer.
func judged(h http.Handler, log *Log, r *http.Request, accepted func(status int, log string) bool) Verdict {
	log.Take()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	text := log.Take()
	var answer struct {
		ID     string `json:"jti"`
		Active *bool  `json:"active"`
	}
	_ = json.Unmarshal(rec.Body.Bytes(), &answer) // what is no JSON has neither
	v := Verdict{Reason: reasonIn(text), ID: answer.ID, Said: fmt.Sprintf("%d %.300s %.600s", rec.Code, rec.Body, text)}
	v.Accepted = accepted(rec.Code, text) && (answer.Active == nil || *answer.Active)
	if v.Accepted {
		v.Reason = ""
	}
	return v
}

func form(path string, pairs ...string) *http.Request {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", formType)
	return r
}

func isOK(status int, _ string) bool { return status == http.StatusOK }

// RefreshPlace is an endpoint that takes refresh tokens.
func RefreshPlace(h http.Handler, log *Log, path, id string) Place {
	return Place{Name: path, Judge: func(_ testing.TB, raw string) Verdict {
		return judged(h, log, form(path, "grant_type", oauth.GrantRefreshToken, "client_id", id, "refresh_token", raw), isOK)
	}}
}

// RevokePlace is the revocation endpoint, asked by the owner of the tokens. It says nothing: the log does.
func RevokePlace(h http.Handler, log *Log, id, secret string) Place {
	return Place{Name: oauth.PathRevoke, Revokes: true, Judge: func(t testing.TB, raw string) Verdict {
		r := form(oauth.PathRevoke, "token", raw)
		r.SetBasicAuth(id, secret)
		return judged(h, log, r, func(status int, log string) bool {
			// Whoever sent what is no token of ours can do nothing about it (RFC 7009 section 2.2), unless it can't be read at all.
			if status != http.StatusOK && !unfit(raw) {
				t.Errorf("%s answers %d to %.100q", oauth.PathRevoke, status, raw)
			}
			return strings.Contains(log, "token.revoked")
		})
	}}
}

// IntrospectPlace is the introspection endpoint, asked by the API that the tokens are for.
func IntrospectPlace(h http.Handler, log *Log, id, secret string) Place {
	return Place{Name: oauth.PathIntrospect, Judge: func(t testing.TB, raw string) Verdict {
		r := form(oauth.PathIntrospect, "token", raw)
		r.SetBasicAuth(id, secret)
		return judged(h, log, r, func(status int, _ string) bool {
			// "Not active" is no error (RFC 7662 section 2.2).
			if status != http.StatusOK && !unfit(raw) {
				t.Errorf("%s answers %d to %.100q", oauth.PathIntrospect, status, raw)
			}
			return status == http.StatusOK
		})
	}}
}

// APIPlace is an API that is called with a token, and answers its jti.
func APIPlace(name string, h http.Handler, log *Log, path string) Place {
	return Place{Name: name, Judge: func(_ testing.TB, raw string) Verdict {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+raw)
		return judged(h, log, r, isOK)
	}}
}

// SayID answers the jti of the caller that a guard let through.
var SayID = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	caller, _ := resource.From(r.Context())
	fmt.Fprintf(w, `{"jti":%q}`, caller.TokenID)
})

// AuthorizerPlaces are an authorizer's kinds of events, samples of which are in a directory. invoke has it answer one, with
// authorizer.ErrUnauthorized for API Gateway's 401; log returns what it has logged since.
func AuthorizerPlaces(t testing.TB, invoke func(ctx context.Context, payload []byte) ([]byte, error), log func() string, events string, remembers bool) (places []Place) {
	t.Helper()
	for _, kind := range []string{"rest-token", "rest-request", "http-v1", "http-v2", "websocket"} {
		sample, err := os.ReadFile(events + "/authorizer-" + kind + ".json")
		if err != nil {
			t.Fatal(err)
		}
		const placeholder = `"Bearer example-access-token"`
		if !bytes.Contains(sample, []byte(placeholder)) {
			t.Fatalf("the sample for %s has no token", kind)
		}
		places = append(places, Place{Name: "authorizer, " + kind, Remembers: remembers, Judge: func(t testing.TB, raw string) Verdict {
			value, err := json.Marshal("Bearer " + raw)
			if err != nil {
				t.Fatal(err)
			}
			log()
			out, err := invoke(t.Context(), bytes.ReplaceAll(sample, []byte(placeholder), value))
			text := log()
			v := Verdict{Reason: reasonIn(text), Said: fmt.Sprintf("%s %v %.600s", out, err, text)}
			if err != nil && !errors.Is(err, authorizer.ErrUnauthorized) {
				t.Errorf("%s, %.100q: %v", kind, raw, err)
			}
			v.Accepted, v.ID = allowed(t, out, err)
			if v.Accepted {
				v.Reason = ""
			}
			return v
		}})
	}
	return places
}

// allowed reads an answer in any of the forms.
func allowed(t testing.TB, out []byte, err error) (ok bool, jti string) {
	t.Helper()
	if err != nil {
		return false, ""
	}
	var answer struct {
		IsAuthorized   bool `json:"isAuthorized"`
		PolicyDocument struct {
			Statement []struct{ Effect string }
		} `json:"policyDocument"`
		Context map[string]any `json:"context"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	for _, s := range answer.PolicyDocument.Statement {
		if s.Effect == "Allow" {
			ok = true
		}
	}
	jti, _ = answer.Context["jti"].(string)
	return ok || answer.IsAuthorized, jti
}

// VerifierPlace is a verifier by itself. verify returns the jti.
func VerifierPlace(name string, remembers bool, verify func(ctx context.Context, raw string) (string, error)) Place {
	return Place{Name: name, Remembers: remembers, Judge: func(t testing.TB, raw string) Verdict {
		id, err := verify(t.Context(), raw)
		var bad *token.InvalidError
		switch {
		case err == nil:
			return Verdict{Accepted: true, ID: id}
		case errors.As(err, &bad):
			return Verdict{Reason: bad.Reason, Said: err.Error()}
		}
		t.Errorf("%.100q: %v", raw, err)
		return Verdict{Said: err.Error()}
	}}
}
