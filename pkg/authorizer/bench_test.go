package authorizer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// BenchmarkInvoke is an authorizer's whole answer to a REST event, from its bytes to the policy's and with the log line,
// beside the signature check that bounds it: read the ratio. With rules, the list of all routes, or the one of many.
func BenchmarkInvoke(b *testing.B) {
	w := newWorld(b)
	keys, err := remotekeys.New(remotekeys.Config{Initial: w.jwks, Now: w.now})
	if err != nil {
		b.Fatal(err)
	}
	verifier := func(cache int) authorizer.Verifier {
		v, err := token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: []string{audience}, Keys: keys, Now: w.now, Cache: cache})
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
	v := verifier(0)
	with := func(v authorizer.Verifier, set *routes.Set) *authorizer.Authorizer {
		a, err := authorizer.New(authorizer.Config{Verifier: v, Routes: set, Now: w.now, Log: jsonlog.New(io.Discard)})
		if err != nil {
			b.Fatal(err)
		}
		return a
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "events", "authorizer-rest-request.json"))
	if err != nil {
		b.Fatal(err)
	}
	var event map[string]any
	if err := json.Unmarshal(data, &event); err != nil {
		b.Fatal(err)
	}
	event["multiValueHeaders"] = map[string]any{"Authorization": []string{"Bearer " + w.token(nil)}}
	payload, err := json.Marshal(event)
	if err != nil {
		b.Fatal(err)
	}
	invoke := func(b *testing.B, a *authorizer.Authorizer, payload []byte) {
		b.ReportAllocs()
		for b.Loop() {
			out, err := a.Invoke(b.Context(), payload)
			if err != nil || !bytes.Contains(out, []byte(`"Allow"`)) {
				b.Fatal(string(out), err)
			}
		}
	}
	b.Run("new", func(b *testing.B) { invoke(b, with(v, nil), payload) })
	b.Run("known", func(b *testing.B) { invoke(b, with(verifier(1), nil), payload) })
	for _, n := range []int{30, 300} {
		list := numbered(n)
		for i := range list {
			list[i].AllOf = list[i].AllOf[:0]
		}
		list = append(list, routes.Route{Method: "GET", Path: "/whoami"})
		set := compiled(b, routes.API{ID: "f6g7h8i9j0", Stage: "prod", Routes: list})
		b.Run(fmt.Sprintf("rules-%d-form-%s", n, set.APIs[0].Form), func(b *testing.B) { invoke(b, with(v, set), payload) })
	}
	b.Run("bare", func(b *testing.B) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		digest := sha256.Sum256(payload[:500])
		signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
				b.Fatal("the signature does not verify")
			}
		}
	})
}
