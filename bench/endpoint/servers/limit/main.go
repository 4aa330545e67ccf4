// Command limit is what no token endpoint over net/http can be faster than: a handler that says hello, and with -sign one
// that makes a bare ES256 signature besides.
package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"net/http"
	"strings"

	"github.com/latchkey-auth/latchkey/bench/endpoint/internal/stand"
)

func main() {
	sign := flag.Bool("sign", false, "make a signature for each request")
	flag.Parse()
	key, _ := stand.Key()
	digest := sha256.Sum256(make([]byte, 500))
	l, _ := stand.Listen()
	anyone := stand.Credential{ID: "shop-000000", Secret: stand.Secret(), RefreshToken: strings.Repeat("x", 700)} // as long as Latchkey's
	stand.Serve(l, stand.Announcement{TokenPath: "/", RefreshPath: "/", Bare: true, Credentials: []stand.Credential{anyone}},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if *sign {
				if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
			}
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte("hello\n"))
		}))
}
