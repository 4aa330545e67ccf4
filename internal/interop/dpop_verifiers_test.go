package interop

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/resource"
	"github.com/latchkey-auth/latchkey/pkg/resource/verify"
)

// TestDPoPVerifiers has services that take proofs, others' and ours, tell the owner of a bound token from a thief.
func TestDPoPVerifiers(t *testing.T) {
	t.Parallel()
	i := startIssuer(t, keyring.ES256)
	var guarded http.Handler
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { guarded.ServeHTTP(w, r) }))
	t.Cleanup(service.Close)
	guard, err := verify.New(verify.Config{Issuer: i.URL, Audiences: []string{audience}, Origin: service.URL, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	guarded = guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if caller, ok := resource.From(r.Context()); !ok || caller.ClientID != i.ClientID {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), "orders:read")

	var answers map[string][]int
	script{
		main: "dpop-verifiers.mjs",
		files: map[string]string{
			"dpop-verifiers.mjs": beside(t, "dpop-verifiers.mjs"),
			"express.mjs":        i.configured(snippet(t, "express-oauth2-jwt-bearer")),
			"oauth4webapi.mjs":   i.configured(snippet(t, "oauth4webapi")),
		},
		env: []string{"NODE_EXTRA_CA_CERTS=" + i.caFile},
	}.run(t, map[string]string{
		"issuer": i.URL, "client_id": i.ClientID, "client_secret": i.ClientSecret, "audience": audience, "service": service.URL + "/orders",
	}, &answers)
	for name, noProof := range map[string]int{"express-oauth2-jwt-bearer": 400, "oauth4webapi": 401, "resource/verify": 401} {
		if want := []int{200, 200, 401, noProof, 401}; !slices.Equal(answers[name], want) {
			t.Errorf("%s: twice the owner, the thief with another key, with no proof, and as a bearer token: %v, want %v", name, answers[name], want)
		}
	}
}
