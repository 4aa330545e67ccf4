package grant_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// Each benchmark stands beside the primitive that bounds it, in the same run: read the ratio.

func benchmarkBare(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(make([]byte, 500))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkRequest runs the handler as the functions do: body read, parsed, judged, answered, one log line written.
func benchmarkRequest(b *testing.B, h http.Handler, path string, form url.Values) {
	body := form.Encode()
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, postRaw(path, body))
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Body)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b)
	secret := w.register(client.Spec{ID: "shop"})
	held := w.signIn("shop", secret).field("refresh_token")
	w.out = io.Discard
	b.Run("bare ES256 signature", benchmarkBare)
	b.Run("refresh", func(b *testing.B) {
		benchmarkRequest(b, w.refreshOnly, oauth.PathRefresh, url.Values{
			"grant_type": {"refresh_token"}, "client_id": {"shop"}, "refresh_token": {held},
		})
	})
}

func BenchmarkIssue(b *testing.B) {
	w := newWorld(b)
	secret := w.register(client.Spec{ID: "shop"})
	w.signIn("shop", secret) // the record is in memory
	w.out = io.Discard
	b.Run("bare ES256 signature", benchmarkBare)
	b.Run("client_credentials", func(b *testing.B) {
		benchmarkRequest(b, w.token, oauth.PathToken, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"shop"}, "client_secret": {secret},
		})
	})
}
