package assertionkeys_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/assertionkeys"
)

func jwks(kid string) string {
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":%q,"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`, kid)
}

// site counts what is asked of it.
type site struct{ asked int }

func (s *site) RoundTrip(*http.Request) (*http.Response, error) {
	s.asked++
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(jwks("theirs"))),
	}, nil
}

// TestSets: an issuer whose keys were fetched is not asked again within a moment, and they are not lost in its outage, because
// many clients have theirs in their records, or at as many other places.
func TestSets(t *testing.T) {
	s := &site{}
	cache := assertionkeys.New(&http.Client{Transport: s}, slog.New(slog.DiscardHandler), nil)
	find := func(source assertion.KeySource, kid string) {
		t.Helper()
		keys, err := cache.Keys(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.VerificationKey(t.Context(), kid); err != nil {
			t.Fatal(err)
		}
	}
	find("https://issuer.example/jwks.json", "theirs")
	for i := range 3000 {
		kid := fmt.Sprint(i)
		find(assertion.KeySource(jwks(kid)), kid)
	}
	find("https://issuer.example/jwks.json", "theirs")
	if s.asked != 1 {
		t.Errorf("the issuer was asked %d times within a moment", s.asked)
	}
	for i := range 600 {
		find(assertion.KeySource(fmt.Sprintf("https://client.example/%d", i%300)), "theirs")
	}
	if s.asked != 301 {
		t.Errorf("301 places were asked %d times within a moment", s.asked)
	}
}
