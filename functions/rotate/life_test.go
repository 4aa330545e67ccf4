package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
)

// front stands before moto. It lets one request in at a time, because moto's threads check and then change, and can end a
// process: from a call on, before or after its effect, nothing is answered any more.
type front struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
	dieAt int // the call, counted from 1; 0: never
	later bool
}

func newFront(t *testing.T, endpoint string) *front {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		f.calls = append(f.calls, operation)
		n := len(f.calls)
		if f.dieAt == 0 || n < f.dieAt {
			proxy.ServeHTTP(w, r)
			return
		}
		if n == f.dieAt && f.later {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		}
		w.WriteHeader(http.StatusBadRequest) // which is not tried again
		_, _ = w.Write([]byte(`{"__type":"ValidationException","Message":"it died"}`))
	}))
	t.Cleanup(f.Close)
	return f
}

// die has the process end at that call from now.
func (f *front) die(at int, later bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.dieAt, f.later = nil, at, later
}

var inKMS = map[string]string{
	"ACCESS_KEY_MODE": "kms", "REFRESH_KEY_MODE": "kms", "ACCESS_KMS_KEY": "", "REFRESH_KMS_KEY": "",
	"KMS_KEY_NAME": "stack",
}

// bothModes are the variables of each.
var bothModes = map[string]map[string]string{"secretsmanager": {}, "kms": inKMS}

// kmsKeys returns the deployment's own KMS keys: those that can sign, and how many were given up.
func (d *deployment) kmsKeys(t *testing.T) (live []string, gone int) {
	t.Helper()
	client := kms.NewFromConfig(d.cfg)
	list, err := client.ListKeys(t.Context(), &kms.ListKeysInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list.Keys {
		about, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
		if err != nil {
			t.Fatal(err)
		}
		switch m := about.KeyMetadata; {
		case m.Description == nil || !strings.HasPrefix(*m.Description, "Latchkey signing key, stack/"):
		case m.KeyState == types.KeyStatePendingDeletion:
			gone++
		default:
			live = append(live, *m.KeyId)
		}
	}
	return live, gone
}

func invoke(t *testing.T, h interface {
	Invoke(context.Context, []byte) ([]byte, error)
}, event string) string {
	t.Helper()
	out, err := h.Invoke(t.Context(), []byte(event))
	if err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	return string(out)
}

const scheduled = `{"rotate":"due"}`

// TestLife lives through a key's whole life and its successor's, with a run every hour of which each second dies, at one call
// after another, before or after its effect. Signers read their keys when they want to; verifiers keep a JWKS for two hours
// and never look sooner; each token is verified when it is new and when it ends.
func TestLife(t *testing.T) {
	for mode, changes := range bothModes {
		t.Run(mode, func(t *testing.T) {
			d := deploy(t)
			changes := maps.Clone(changes)
			maps.Copy(changes, map[string]string{"KEY_ROTATION_PERIOD": "24h", "MAX_GRANT_LIFETIME": "12h", "MAX_BEARER_GRANT_LIFETIME": "12h"})
			invoke(t, d.handler(t, changes), `{}`)

			secrets, signers := secretsmanager.NewFromConfig(d.cfg), kmsSigners(d)
			source := func(use keyring.Use, name string) *keyring.Source {
				v := newKeys(ring{use: use, secret: d.env[name]}, secrets, kms.NewFromConfig(d.cfg), keyring.Rotator{}).vault
				return keyring.NewSource(keyring.SourceConfig{Load: v.Load, KMS: signers, Now: d.now})
			}
			rings := map[keyring.Use]*keyring.Source{
				keyring.UseAccess:  source(keyring.UseAccess, "ACCESS_KEYS_SECRET"),
				keyring.UseRefresh: source(keyring.UseRefresh, "REFRESH_KEYS_SECRET"),
			}
			caps := map[keyring.Use]int{keyring.UseAccess: 60, keyring.UseRefresh: 12 * 60}
			store, err := dynamostore.NewKeys(dynamodb.NewFromConfig(d.cfg), d.env["KEYS_TABLE"])
			if err != nil {
				t.Fatal(err)
			}
			type token struct {
				use       keyring.Use
				kid       string
				signature []byte
			}
			ends := map[int][]token{}
			var jwks *keyring.KeySet
			kids := map[string]bool{}
			verify := func(minute int, what string, tok token) {
				t.Helper()
				key, err := rings[tok.use].VerificationKey(t.Context(), tok.kid)
				if tok.use == keyring.UseAccess {
					key, err = jwks.Key(tok.kid)
				}
				if err == nil {
					err = key.Verify("input", tok.signature)
				}
				if err != nil {
					t.Errorf("minute %d: %s of %s keys: %v", minute, what, tok.use, err)
				}
			}
			died := 0
			for minute := 0; minute < 60*60 && !t.Failed(); minute += 10 {
				if minute%120 == 0 {
					public, _, err := store.PublicKeys(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					data, err := json.Marshal(public.JWKS(d.now()))
					if err != nil {
						t.Fatal(err)
					}
					if jwks, err = keyring.ParseJWKS(data); err != nil {
						t.Fatal(err)
					}
				}
				if minute%60 == 30 {
					h := d.handler(t, changes)
					// At a time when keys are due, each run gets one call further than the last.
					hour := minute / 60
					if hour%2 == 1 {
						d.front.die(6+hour%24/2, hour%4 == 1)
					}
					if _, err := h.Invoke(t.Context(), []byte(scheduled)); err != nil {
						died++
					}
					d.front.die(0, false)
				}
				for use, s := range rings {
					key, err := s.SigningKey(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					tok := token{use: use, kid: key.ID}
					if tok.signature, err = key.Sign(t.Context(), []byte("input")); err != nil {
						t.Fatal(err)
					}
					kids[key.ID] = true
					verify(minute, "a new token", tok)
					ends[minute+caps[use]] = append(ends[minute+caps[use]], tok)
				}
				for _, tok := range ends[minute] {
					verify(minute, "a token that ends", tok)
				}
				d.offset += 10 * time.Minute
			}
			if len(kids) < 6 || died < 8 {
				t.Errorf("%d keys signed, %d runs died", len(kids), died)
			}
			if mode == "kms" {
				if live, gone := d.kmsKeys(t); len(live) > 7 || gone < 2 {
					t.Errorf("%d KMS keys can sign, %d were given up", len(live), gone)
				}
			}
		})
	}
}

func kmsSigners(d *deployment) func(keyring.Key) (keyring.Signer, error) {
	return newKeys(ring{}, nil, kms.NewFromConfig(d.cfg), keyring.Rotator{}).kms
}

// TestDies ends a scheduled run and an emergency at each call, before and after its effect, and runs them again.
func TestDies(t *testing.T) {
	for mode, changes := range bothModes {
		for _, event := range []string{scheduled, `{"emergency":"all"}`} {
			t.Run(mode+event, func(t *testing.T) {
				d := deploy(t)
				h := d.handler(t, changes)
				invoke(t, h, `{}`)
				for step := 1; ; step++ {
					d.offset += 95 * 24 * time.Hour
					invoke(t, h, scheduled) // drops what has ended, and adds a key each
					d.offset += 95 * 24 * time.Hour
					before, beforeRefresh, _ := d.documents(t)
					d.front.die(step, step%2 == 0)
					_, err := h.Invoke(t.Context(), []byte(event))
					d.front.die(0, false)
					d.offset += time.Minute
					invoke(t, h, event)
					access, refresh, public := d.documents(t)
					for use, pair := range map[keyring.Use][2]*keyring.Document{
						keyring.UseAccess: {before, access}, keyring.UseRefresh: {beforeRefresh, refresh},
					} {
						made := 0
						for _, k := range pair[1].Keys {
							if !slices.ContainsFunc(pair[0].Keys, func(o keyring.Key) bool { return o.ID == k.ID }) {
								made++
							}
						}
						if made != 1 {
							t.Errorf("step %d: %d new %s keys, want 1", step, made, use)
						}
					}
					for _, k := range access.Keys {
						if !slices.ContainsFunc(public.Keys, func(p keyring.PublicKey) bool { return p.JWK.ID == k.ID }) {
							t.Errorf("step %d: key %s is not published", step, k.ID)
						}
					}
					if err == nil || t.Failed() {
						if step < 8 {
							t.Errorf("only %d steps", step)
						}
						return
					}
				}
			})
		}
	}
}

func TestAtOnce(t *testing.T) {
	for mode, changes := range bothModes {
		for _, event := range []string{scheduled, `{"emergency":"all"}`} {
			t.Run(mode+event, func(t *testing.T) {
				d := deploy(t)
				invoke(t, d.handler(t, changes), `{}`)
				d.offset = 95 * 24 * time.Hour
				var all sync.WaitGroup
				for range 8 {
					h := d.quiet(t, changes)
					all.Go(func() {
						if _, err := h.Invoke(context.Background(), []byte(event)); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				access, refresh, _ := d.documents(t)
				if len(access.Keys) != 2 || len(refresh.Keys) != 2 {
					t.Errorf("%v, %v: want one more each", access, refresh)
				}
				if mode == "kms" {
					if live, _ := d.kmsKeys(t); len(live) != 4 {
						t.Errorf("%d KMS keys are kept, want 4", len(live))
					}
				}
			})
		}
	}
}

// TestSteps takes the four steps of Secrets Manager's rotation, each as often as it likes.
func TestSteps(t *testing.T) {
	for mode, changes := range bothModes {
		t.Run(mode, func(t *testing.T) {
			d := deploy(t)
			h := d.handler(t, changes)
			invoke(t, h, `{}`)
			step := func(ring, name, version string) error {
				event := fmt.Sprintf(`{"Step":%q,"SecretId":%q,"ClientRequestToken":%q}`, name, d.env[ring+"_KEYS_SECRET"], version)
				_, err := h.Invoke(t.Context(), []byte(event))
				return err
			}
			for i, ring := range []string{"ACCESS", "REFRESH"} {
				version := fmt.Sprintf("11111111-1111-1111-1111-%012d", i)
				for _, name := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
					for range 2 {
						if err := step(ring, name, version); err != nil {
							t.Fatalf("%s: %v", name, err)
						}
					}
				}
				// Once more from the start, as after a lost answer at the end.
				for _, name := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
					if err := step(ring, name, version); err != nil {
						t.Errorf("%s again: %v", name, err)
					}
				}
			}
			access, refresh, public := d.documents(t)
			if len(access.Keys) != 2 || len(refresh.Keys) != 2 || len(public.Keys) != 2 {
				t.Errorf("%v, %v, %d public keys: want two each", access, refresh, len(public.Keys))
			}

			// What an emergency ended does not come back by a rotation that began before.
			d.offset += 200 * 24 * time.Hour
			version := "22222222-2222-2222-2222-222222222222"
			for _, name := range []string{"createSecret", "setSecret", "testSecret"} {
				if err := step("ACCESS", name, version); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			invoke(t, h, `{"emergency":"access"}`)
			if err := step("ACCESS", "finishSecret", version); err == nil {
				t.Error("a rotation that an emergency overtook was finished")
			}
			access, _, _ = d.documents(t)
			if got := access.In(keyring.StateSigning, d.now()); len(got) != 1 || len(access.In(keyring.StateVerifying, d.now())) != 0 {
				t.Errorf("after the emergency %v sign", got)
			}
			if err := step("ACCESS", "testSecret", "33333333-3333-3333-3333-333333333333"); err != nil {
				t.Errorf("the test of a rotation's configuration: %v", err)
			}
			for _, event := range []string{
				`{"Step":"createSecret","SecretId":"arn:aws:secretsmanager:us-east-1:1:secret:other-AbCdEf","ClientRequestToken":"` + version + `"}`,
				fmt.Sprintf(`{"Step":"createSecret","SecretId":%q}`, d.env["ACCESS_KEYS_SECRET"]),
				fmt.Sprintf(`{"Step":"dance","SecretId":%q,"ClientRequestToken":%q}`, d.env["ACCESS_KEYS_SECRET"], version),
				`{"emergency":"both"}`, `{"emergncy":"all"}`,
			} {
				if out, err := h.Invoke(t.Context(), []byte(event)); err == nil {
					t.Errorf("%s: answered %s", event, out)
				}
			}
		})
	}
}

// TestEmergency: the feed has every key of before and, for refresh keys, every sign-in of before.
func TestEmergency(t *testing.T) {
	d := deploy(t)
	h := d.handler(t, nil)
	invoke(t, h, `{}`)
	access, refresh, _ := d.documents(t)
	invoke(t, h, `{"emergency":"all"}`)
	set := d.revoked(t)
	for _, kid := range []string{access.Keys[0].ID, refresh.Keys[0].ID} {
		if set.Revoked(&revocation.Facts{KeyID: kid, AuthTime: d.now().Add(time.Hour)}) == "" {
			t.Errorf("key %s is not revoked", kid)
		}
	}
	if set.Revoked(&revocation.Facts{AuthTime: d.now()}) == "" || set.Revoked(&revocation.Facts{AuthTime: d.now().Add(2 * time.Minute)}) != "" {
		t.Error("sign-ins are cut off at another time")
	}
}

// revoked returns what the feed says.
func (d *deployment) revoked(t *testing.T) *revocation.Set {
	t.Helper()
	log, err := dynamostore.NewRevocations(dynamodb.NewFromConfig(d.cfg), d.env["REVOCATIONS_TABLE"])
	if err != nil {
		t.Fatal(err)
	}
	said, err := log.Always(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := revocation.NewSet()
	for _, e := range said {
		set.Add(e)
	}
	return set
}

// TestHalfEmergency: when an emergency dies at whichever call, the next scheduled run leaves a key that signs and is not revoked.
func TestHalfEmergency(t *testing.T) {
	for _, ring := range []string{"access", "refresh"} {
		t.Run(ring, func(t *testing.T) {
			d := deploy(t)
			h := d.handler(t, nil)
			invoke(t, h, `{}`)
			for step := 1; ; step++ {
				d.offset += time.Hour
				d.front.die(step, step%2 == 0)
				_, err := h.Invoke(t.Context(), []byte(`{"emergency":"`+ring+`"}`))
				d.front.die(0, false)
				d.offset += time.Hour
				invoke(t, h, scheduled)
				access, refresh, _ := d.documents(t)
				document := map[string]*keyring.Document{"access": access, "refresh": refresh}[ring]
				signer := document.In(keyring.StateSigning, d.now())
				if len(signer) != 1 || d.revoked(t).Revoked(&revocation.Facts{KeyID: signer[0].ID, AuthTime: d.now().Add(time.Hour)}) != "" {
					t.Fatalf("step %d: after the next scheduled run %v signs, which is revoked", step, signer)
				}
				if err == nil {
					if step < 7 {
						t.Errorf("only %d steps", step)
					}
					return
				}
				d.offset += time.Hour
				invoke(t, h, scheduled) // drops what has ended
			}
		})
	}
}

// TestEmergencyOvertakes a rotation of Secrets Manager's: the keys that it has made are in the same wrong hands. They are
// revoked, and neither they nor those before come back to the JWKS, however often its steps are tried again.
func TestEmergencyOvertakes(t *testing.T) {
	for mode, changes := range bothModes {
		for _, again := range []string{"setSecret", "finishSecret"} {
			t.Run(mode+" "+again, func(t *testing.T) {
				d := deploy(t)
				h := d.handler(t, changes)
				invoke(t, h, `{}`)
				d.offset = 95 * 24 * time.Hour
				version := "22222222-2222-2222-2222-222222222222"
				step := func(name string) error {
					_, err := h.Invoke(t.Context(), fmt.Appendf(nil, `{"Step":%q,"SecretId":%q,"ClientRequestToken":%q}`, name, d.env["ACCESS_KEYS_SECRET"], version))
					return err
				}
				for _, name := range []string{"createSecret", "setSecret"} {
					if err := step(name); err != nil {
						t.Fatal(err)
					}
				}
				vault := secretkeys.New(secretsmanager.NewFromConfig(d.cfg), d.env["ACCESS_KEYS_SECRET"], keyring.UseAccess)
				stolen, _, err := vault.Waiting(t.Context(), version)
				if err != nil || len(stolen.Keys) != 2 {
					t.Fatalf("%v, %v", stolen, err)
				}
				over := func(when string) {
					t.Helper()
					set := d.revoked(t)
					access, _, public := d.documents(t)
					for _, k := range stolen.Keys {
						if slices.ContainsFunc(public.JWKS(d.now()).Keys, func(j keyring.JWK) bool { return j.ID == k.ID }) {
							t.Errorf("%s: %v is in the JWKS", when, k)
						}
						if set.Revoked(&revocation.Facts{KeyID: k.ID, AuthTime: d.now().Add(time.Hour)}) == "" {
							t.Errorf("%s: %v is not revoked", when, k)
						}
					}
					signer := access.In(keyring.StateSigning, d.now())
					if len(signer) != 1 || set.Revoked(&revocation.Facts{KeyID: signer[0].ID, AuthTime: d.now().Add(time.Hour)}) != "" {
						t.Errorf("%s: %v signs", when, signer)
					}
				}
				d.offset += time.Minute
				invoke(t, h, `{"emergency":"all"}`)
				over("after the emergency")
				if waiting, err := vault.Staged(t.Context()); err != nil || len(waiting) != 0 {
					t.Errorf("%v wait, %v", waiting, err)
				}
				d.offset += 40 * time.Minute
				invoke(t, h, scheduled)
				if err := step(again); !errors.Is(err, keyring.ErrConflict) {
					t.Errorf("%s again: %v", again, err)
				}
				over("tried again")
			})
		}
	}
}
