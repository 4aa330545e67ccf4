package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// boundConformance is conformance for tokens that are bound to a key or a certificate: what API Gateway answers, and the reason
// in the log where that is a refusal. "-" is what can't be with the kind.
const boundConformance = `
outcome                rest-token   rest-request        http-1.0             http-2.0             http-2.0-simple      websocket
proven                 403/kind     200                 200                  200                  200                  101
token-alone            403/kind     401/proof_missing   403/proof_missing    403/proof_missing    403/proof_missing    401/proof_missing
scheme-bearer          401/binding  401/binding         403/binding          403/binding          403/binding          401/binding
another-key            403/kind     401/proof_binding   403/proof_binding    403/proof_binding    403/proof_binding    401/proof_binding
for-another-token      403/kind     401/proof_token     403/proof_token      403/proof_token      403/proof_token      401/proof_token
for-another-method     403/kind     401/proof_method    403/proof_method     403/proof_method     403/proof_method     401/proof_method
for-another-url        403/kind     401/proof_url       403/proof_url        403/proof_url        403/proof_url        401/proof_url
old                    403/kind     401/proof_time      403/proof_time       403/proof_time       403/proof_time       401/proof_time
replayed               403/kind     401/proof_replayed  403/proof_replayed   403/proof_replayed   403/proof_replayed   401/proof_replayed
malformed              403/kind     401/proof_malformed 403/proof_malformed  403/proof_malformed  403/proof_malformed  401/proof_malformed
unbound-with-proof     401/binding  401/binding         403/binding          403/binding          403/binding          401/binding
certificate            403/kind     200                 200                  200                  200                  101
no-certificate         403/kind     401/binding         403/binding          403/binding          403/binding          401/binding
another-certificate    403/kind     401/binding         403/binding          403/binding          403/binding          401/binding
both                   403/kind     200                 200                  200                  200                  101
one-of-both            403/kind     401/binding         403/binding          403/binding          403/binding          401/binding
kept-for-the-token     -            -                   403/identity_source  403/identity_source  403/identity_source  -
kept-for-the-proof     -            -                   200                  200                  403/identity_source  -
api-takes-none         403/kind     403/binding         403/binding          403/binding          403/binding          403/binding
`

// Every outcome of bound tokens for every kind of API, by the function as it is built for deployment.
func TestBoundTokenConformance(t *testing.T) {
	s := newSite(t)
	s.pass(0)
	key, other := dpoptest.New(t, "ES256"), dpoptest.New(t, "ES256")
	mine := token.CertificateThumbprint([]byte("mine"))
	bound := func(c token.Confirmation) string { return s.token(func(a *token.Access) { a.Confirmation = c }) }
	byKey, byCertificate := bound(token.Confirmation{JKT: key.Thumbprint()}), bound(token.Confirmation{X5T: mine})
	byBoth, unbound := bound(token.Confirmation{JKT: key.Thumbprint(), X5T: mine}), s.token(nil)
	start := func(simple bool, origins string) *lambdatest.Function {
		return lambdatest.Start(t, lambdatest.Config{
			Name: "authorizer", Binary: lambdatest.Build(t, "../../functions/authorizer", "testclock"), Env: map[string]string{
				"ISSUER": s.server.URL, "AUDIENCE": audience, "API_ORIGINS": origins, "SIMPLE_RESPONSES": fmt.Sprint(simple),
				"SSL_CERT_FILE": s.certificate, "LATCHKEY_TEST_CLOCK": s.clock,
			},
		})
	}
	taking, none := map[bool]*lambdatest.Function{}, map[bool]*lambdatest.Function{}
	for _, simple := range []bool{false, true} {
		taking[simple], none[simple] = start(simple, "execute-api"), start(simple, "")
	}

	var head []string
	cells := 0
	for line := range strings.Lines(strings.TrimSpace(boundConformance)) {
		row := strings.Fields(line)
		if head == nil {
			head = row
			continue
		}
		for i, k := range kinds {
			if head[i+1] != k.name {
				t.Fatalf("the table's column %d is %s, want %s", i+1, head[i+1], k.name)
			}
			if row[i+1] == "-" {
				continue
			}
			cells++
			url := map[string]string{
				"rest-request": "https://f6g7h8i9j0.execute-api.eu-central-1.amazonaws.com/prod/whoami",
				"websocket":    "https://w1x2y3z4a5.execute-api.eu-central-1.amazonaws.com/prod",
			}[k.name]
			if url == "" {
				url = "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/whoami"
			}
			f, authorization, proof, certificate, kept := taking[k.simple()], "DPoP "+byKey, key.Proof("GET", url, s.now(), dpoptest.For(byKey)), "", []string(nil)
			again := false
			switch row[0] {
			case "token-alone":
				proof = ""
			case "scheme-bearer":
				authorization = "Bearer " + byKey
			case "another-key":
				proof = other.Proof("GET", url, s.now(), dpoptest.For(byKey))
			case "for-another-token":
				proof = key.Proof("GET", url, s.now(), dpoptest.For(unbound))
			case "for-another-method":
				proof = key.Proof("POST", url, s.now(), dpoptest.For(byKey))
			case "for-another-url":
				proof = key.Proof("GET", url+"/1", s.now(), dpoptest.For(byKey))
			case "old":
				proof = key.Proof("GET", url, s.now().Add(-2*time.Minute), dpoptest.For(byKey))
			case "replayed":
				again = true
			case "malformed":
				proof = "x"
			case "unbound-with-proof":
				authorization, proof = "DPoP "+unbound, key.Proof("GET", url, s.now(), dpoptest.For(unbound))
			case "certificate", "no-certificate", "another-certificate":
				authorization, proof = "Bearer "+byCertificate, ""
				certificate = map[string]string{"certificate": "mine", "another-certificate": "another"}[row[0]]
			case "both", "one-of-both":
				authorization, proof = "DPoP "+byBoth, key.Proof("GET", url, s.now(), dpoptest.For(byBoth))
				certificate = map[string]string{"both": "mine"}[row[0]]
			case "kept-for-the-token":
				kept = []string{authorization}
			case "kept-for-the-proof":
				kept = []string{authorization, proof}
			case "api-takes-none":
				f = none[k.simple()]
			case "proven":
			default:
				t.Fatalf("%s is in the table and not here", row[0])
			}
			payload, arn := k.event(t, routes.FormToken, authorization, whoamiTarget)
			payload = k.showing(t, payload, proof, certificate, kept)
			if again {
				if _, err := f.Invoke(t.Context(), payload); err != nil && k.name != "rest-token" {
					t.Fatal(err)
				}
			}
			out, err := f.Invoke(t.Context(), payload)
			got := fmt.Sprint(k.read(t, out, err).on(k, arn, s.now()))
			if why := reason(t, f); why != "" {
				got += "/" + why
			}
			if got != row[i+1] {
				t.Errorf("%s, %s: %s, want %s: %s, %v", row[0], k.name, got, row[i+1], out, err)
			}
			// What was let through is let through nowhere else and, if it is kept after all, not for long.
			if a := k.read(t, out, err); a.policy != nil {
				for what, status := range map[string]int{"another path": a.on(k, arn+"/1", s.now()), "later": a.on(k, arn, s.now().Add(token.Leeway))} {
					if status != 403 {
						t.Errorf("%s, %s: %s gets %d by it: %s", row[0], k.name, what, status, out)
					}
				}
			}
			if proof != "" && proof != "x" && (strings.Contains(f.Logs(), proof) || strings.Contains(string(out), proof)) {
				t.Errorf("%s, %s: the proof is in the log or the answer", row[0], k.name)
			}
		}
	}
	t.Logf("%d cells", cells)
}

// showing is the event with a proof, a client certificate and the identity sources' values, where the kind has them.
func (k kindOf) showing(t *testing.T, payload []byte, proof, certificate string, kept []string) []byte {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(payload, &e); err != nil {
		t.Fatal(err)
	}
	if k.name == "rest-token" {
		return payload
	}
	if headers := e["headers"].(map[string]any); proof != "" {
		headers["dpop"] = proof
		if multi, ok := e["multiValueHeaders"].(map[string]any); ok {
			multi["dpop"] = []string{proof}
		}
	}
	switch {
	case k.name == "http-1.0":
		e["identitySource"] = strings.Join(kept, ",")
	case k.http():
		e["identitySource"] = kept
	}
	if certificate != "" {
		text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(certificate)}))
		where, ok := e["requestContext"].(map[string]any)["identity"].(map[string]any)
		if !ok { // payload format 2.0
			where = map[string]any{}
			e["requestContext"].(map[string]any)["authentication"] = where
		}
		where["clientCert"] = map[string]any{"clientCertPem": text}
	}
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
