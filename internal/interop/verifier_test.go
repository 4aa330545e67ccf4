package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// verdict is what a verifier makes of a token.
type verdict struct {
	Claims *struct {
		Subject  string `json:"sub"`
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	} `json:"claims"`
	Error string `json:"error"`
}

// verifiers are those of docs/backends.md, and the scripts of this folder that put tokens before them.
var verifiers = []struct{ heading, main, snippet string }{
	{"jose", "verify.mjs", "snippet.mjs"},
	{"aws-jwt-verify", "verify.mjs", "snippet.mjs"},
	{"express-oauth2-jwt-bearer", "verify-server.mjs", "snippet.mjs"},
	{"oauth4webapi", "verify-request.mjs", "snippet.mjs"},
	{"PyJWT", "verify.py", "snippet.py"},
}

// TestVerifiers has others' verifiers, as the docs set them up, take our tokens and refuse those that are not.
func TestVerifiers(t *testing.T) {
	t.Parallel()
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			i := startIssuer(t, alg)
			cases := i.cases(t)
			tokens := map[string]string{}
			for _, c := range cases {
				tokens[c.name] = c.token
			}
			for _, v := range verifiers {
				t.Run(v.heading, func(t *testing.T) {
					t.Parallel()
					var verdicts map[string]verdict
					script{
						main:  v.main,
						files: map[string]string{v.main: beside(t, v.main), v.snippet: i.configured(snippet(t, v.heading))},
						env:   []string{"NODE_EXTRA_CA_CERTS=" + i.caFile, "SSL_CERT_FILE=" + i.caFile},
					}.run(t, tokens, &verdicts)
					i.judge(t, cases, verdicts)
				})
			}
		})
	}
}

// judge compares verdicts with what is right.
func (i *issuer) judge(t *testing.T, cases []tokenCase, verdicts map[string]verdict) {
	t.Helper()
	for _, c := range cases {
		v, judged := verdicts[c.name]
		switch {
		case !judged || (v.Claims != nil) == (v.Error != ""):
			t.Errorf("%s: no verdict: %+v", c.name, v)
		case c.scope == "" && v.Claims != nil:
			t.Errorf("%s: it is taken", c.name)
		case c.scope == "":
			t.Logf("%s: %s", c.name, v.Error)
		case v.Claims == nil:
			t.Errorf("%s: it is refused: %s", c.name, v.Error)
		case v.Claims.Subject != i.ClientID || v.Claims.ClientID != i.ClientID || v.Claims.Scope != c.scope:
			t.Errorf("%s: the claims are %+v, want scope %q", c.name, *v.Claims, c.scope)
		}
	}
}

// configured puts this issuer's addresses, and its algorithm, in the place of those that the docs have.
func (i *issuer) configured(snippet string) string {
	return strings.NewReplacer(
		"https://id.example.com/.well-known/jwks.json", i.jwksURI,
		"https://id.example.com", i.URL,
		"https://api.example.com", audience,
		`"ES256"`, `"`+string(i.key.Algorithm)+`"`,
	).Replace(snippet)
}

// snippet returns the block under a heading of docs/backends.md.
func snippet(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "backends.md"))
	if err != nil {
		t.Fatal(err)
	}
	under := regexp.MustCompile("(?s)\n### " + regexp.QuoteMeta(heading) + " \\(run\\)\n(.*?)(\n##|$)").FindSubmatch(page)
	if under == nil {
		t.Fatalf("docs/backends.md has no heading %q of what is run", heading)
	}
	block := regexp.MustCompile("(?s)\n```[a-z]+\n(.*?)```\n").FindAllSubmatch(append(under[1], '\n'), -1)
	if len(block) != 1 {
		t.Fatalf("under %q there are %d blocks, want one", heading, len(block))
	}
	return string(block[0][1])
}
