package verify_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/latchkey-auth/latchkey/pkg/resource"
	"github.com/latchkey-auth/latchkey/pkg/resource/verify"
)

// A service behind a load balancer.
func Example() {
	guard, err := verify.New(verify.Config{
		Issuer:    "https://id.example.com",
		Audiences: []string{"https://api.example.com"},
		Origin:    "https://api.example.com", // takes DPoP-bound tokens too
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := resource.From(r.Context())
		fmt.Fprintf(w, "orders of %s", caller.Subject)
	}), "orders:read"))
	// log.Fatal(http.ListenAndServe(":8080", mux))

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest("GET", "/orders", nil)) // without a token
	fmt.Println(answer.Code)
	for _, challenge := range answer.Header().Values("WWW-Authenticate") {
		fmt.Println(challenge)
	}
	// Output:
	// 401
	// Bearer realm="api"
	// DPoP algs="ES256 Ed25519 EdDSA RS256"
}
