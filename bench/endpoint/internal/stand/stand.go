// Package stand is what the measured servers have in common: how they listen, and how they tell who measures what to send.
package stand

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"
)

// Announcement is the one line that a server writes on standard output once it listens.
type Announcement struct {
	URL         string       `json:"url"` // its origin
	TokenPath   string       `json:"token_path"`
	RefreshPath string       `json:"refresh_path"`
	Credentials []Credential `json:"credentials"`
	// Bare says that a refresh takes the client's id alone and no secret.
	Bare bool `json:"bare,omitempty"`
	// Scope and Resource are what a sign-in asks for; empty: nothing.
	Scope    string `json:"scope,omitempty"`
	Resource string `json:"resource,omitempty"`
	// PublicKey is that of the access tokens, SubjectPublicKeyInfo in base64; empty: the server makes no tokens.
	PublicKey string `json:"public_key,omitempty"`
}

// Credential is a client's, with a first refresh token where sign-in gives none.
type Credential struct {
	ID           string `json:"id"`
	Secret       string `json:"secret"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// Key makes an ES256 key and the public half as an Announcement has it.
func Key() (*ecdsa.PrivateKey, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Must(err)
	return key, PublicKey(&key.PublicKey)
}

// PublicKey is a public key as an Announcement has it.
func PublicKey(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	Must(err)
	return base64.StdEncoding.EncodeToString(der)
}

// Secret makes a client secret of 256 bits.
func Secret() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Matches compares a secret with the SHA-256 that is stored of it, in constant time: what Latchkey does too, and fair to
// those whose default for random secrets is a slow hash.
func Matches(stored [sha256.Size]byte, secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(stored[:], sum[:]) == 1
}

// Listen listens on this machine alone and returns the origin.
func Listen() (net.Listener, string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Must(err)
	return l, "http://" + l.Addr().String()
}

// Serve announces and serves until the process is ended, or whoever started it is gone: standard input ends then.
func Serve(l net.Listener, a Announcement, h http.Handler) {
	a.URL = "http://" + l.Addr().String()
	line, err := json.Marshal(a)
	Must(err)
	fmt.Println(string(line))
	debug.FreeOSMemory() // what was made to begin with is not to be counted
	go func() {
		buf := make([]byte, 1)
		for {
			if _, err := os.Stdin.Read(buf); err != nil {
				os.Exit(0)
			}
		}
	}()
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	Must(s.Serve(l))
}

// Must ends a server that can't be set up.
func Must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
