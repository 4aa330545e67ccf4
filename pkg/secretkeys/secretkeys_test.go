package secretkeys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// moto returns a client of a moto server of its own.
func moto(t *testing.T) *secretsmanager.Client {
	t.Helper()
	return client(front(t, testenv.Moto(t).Endpoint, nil))
}

func client(endpoint string) *secretsmanager.Client {
	return secretsmanager.NewFromConfig(testenv.AWSConfig(endpoint))
}

// front stands before moto and lets one request in at a time. On AWS each call is atomic; moto's threads check a secret's
// stages and then change them. What remains is the race between our calls, which is what is tested. change may alter an
// answer of the operation named.
func front(t *testing.T, endpoint string, change func(operation string, answer *http.Response)) string {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(answer *http.Response) error {
			if change != nil {
				_, operation, _ := strings.Cut(answer.Request.Header.Get("X-Amz-Target"), ".")
				change(operation, answer)
			}
			return nil
		},
	}
	var one sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func answerWith(r *http.Response, status int, body string) {
	r.StatusCode, r.Status = status, http.StatusText(status)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
}

// create makes a secret, without a version where value is "".
func create(t *testing.T, c *secretsmanager.Client, name, value string) {
	t.Helper()
	in := &secretsmanager.CreateSecretInput{Name: &name}
	if value != "" {
		in.SecretString = &value
	}
	if _, err := c.CreateSecret(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func document(t *testing.T, use keyring.Use) *keyring.Document {
	t.Helper()
	alg := keyring.ES256
	if use == keyring.UseRefresh {
		alg = keyring.HS256
	}
	key, err := keyring.Generate(alg, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
}

// stages returns the stages of each version of a secret.
func stages(t *testing.T, c *secretsmanager.Client, name string) map[string][]string {
	t.Helper()
	out, err := c.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &name})
	if err != nil {
		t.Fatal(err)
	}
	return out.VersionIdsToStages
}

// holders returns how many versions have a stage.
func holders(t *testing.T, c *secretsmanager.Client, name, stage string) (n int) {
	t.Helper()
	for _, list := range stages(t, c, name) {
		if slices.Contains(list, stage) {
			n++
		}
	}
	return n
}

var placeholders = map[string]string{
	"no version": "", "object": "{}", "object with space": " {\n} ", "white space": " \n", "no keys": `{"version":1,"use":"access","keys":[]}`,
}

func TestFirstDocument(t *testing.T) {
	c := moto(t)
	for name, value := range placeholders {
		t.Run(name, func(t *testing.T) {
			id := strings.ReplaceAll(name, " ", "-")
			create(t, c, id, value)
			v := New(c, id, keyring.UseAccess)
			if d, err := v.Load(t.Context()); !errors.Is(err, keyring.ErrNoKeys) {
				t.Fatalf("before Create: %v, %v", d, err)
			}
			want := document(t, keyring.UseAccess)
			if err := v.Create(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			if got, err := v.Load(t.Context()); err != nil || !cmp.Equal(got, want) {
				t.Errorf("after Create: %v, %v", got, err)
			}
			before := stages(t, c, id)
			if err := v.Create(t.Context(), document(t, keyring.UseAccess)); !errors.Is(err, keyring.ErrKeysExist) {
				t.Errorf("a second Create: %v", err)
			}
			if after := stages(t, c, id); !cmp.Equal(before, after) {
				t.Errorf("a second Create changed the versions from %v to %v", before, after)
			}
			if n := holders(t, c, id, pending); n != 0 {
				t.Errorf("%d versions are still pending", n)
			}
		})
	}
}

func TestRace(t *testing.T) {
	c := moto(t)
	rounds := 2
	if testenv.Long() {
		rounds = 20
	}
	for _, value := range []string{"", "{}"} {
		for round := range rounds {
			id := fmt.Sprintf("race-%d-%d", len(value), round)
			create(t, c, id, value)
			const racers = 8
			var won atomic.Int64
			var winner atomic.Pointer[keyring.Document]
			loads := make([]*keyring.Document, racers)
			start := make(chan struct{})
			var racing sync.WaitGroup
			for i := range racers {
				mine := document(t, keyring.UseRefresh)
				racing.Go(func() {
					v := New(c, id, keyring.UseRefresh)
					<-start
					err := v.Create(context.Background(), mine)
					if err == nil {
						won.Add(1)
						winner.Store(mine)
					} else if !errors.Is(err, keyring.ErrKeysExist) {
						t.Errorf("%s: %v", id, err)
					}
					if loads[i], err = v.Load(context.Background()); err != nil {
						t.Errorf("%s: Load: %v", id, err)
					}
				})
			}
			close(start)
			racing.Wait()
			if n := won.Load(); n != 1 {
				t.Fatalf("%s: %d of %d calls said that theirs was stored", id, n, racers)
			}
			for _, got := range loads {
				if !cmp.Equal(got, winner.Load()) {
					t.Errorf("%s: one loaded %v, the winner stored %v", id, got, winner.Load())
				}
			}
			if n := holders(t, c, id, current); n != 1 {
				t.Errorf("%s: %d current versions", id, n)
			}
			if n := holders(t, c, id, pending); n != 0 {
				t.Errorf("%s: %d versions are still pending", id, n)
			}
		}
	}
}

func TestNoSecret(t *testing.T) {
	v := New(moto(t), "not-there", keyring.UseAccess)
	if _, err := v.Load(t.Context()); !errors.Is(err, ErrNoSecret) {
		t.Errorf("Load: %v", err)
	}
	if err := v.Create(t.Context(), document(t, keyring.UseAccess)); !errors.Is(err, ErrNoSecret) {
		t.Errorf("Create: %v", err)
	}
}

// TestNoSecretInOtherWords has Load see a missing secret as an empty one; Create must still find out.
func TestNoSecretInOtherWords(t *testing.T) {
	c := client(front(t, testenv.Moto(t).Endpoint, func(_ string, answer *http.Response) {
		if answer.StatusCode >= 400 {
			answerWith(answer, http.StatusBadRequest, `{"__type":"ResourceNotFoundException","Message":"Nothing here."}`)
		}
	}))
	v := New(c, "not-there", keyring.UseAccess)
	if _, err := v.Load(t.Context()); !errors.Is(err, keyring.ErrNoKeys) {
		t.Errorf("Load: %v", err)
	}
	if err := v.Create(t.Context(), document(t, keyring.UseAccess)); !errors.Is(err, ErrNoSecret) {
		t.Errorf("Create: %v", err)
	}
}

func TestDeletedSecret(t *testing.T) {
	c := moto(t)
	create(t, c, "deleted", "{}")
	if _, err := c.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String("deleted")}); err != nil {
		t.Fatal(err)
	}
	const want = "the secret is scheduled for deletion: restore it first"
	if _, err := New(c, "deleted", keyring.UseAccess).Load(t.Context()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestForeignContentIsRefusedAndNotShown(t *testing.T) {
	c := moto(t)
	refresh, err := json.Marshal(document(t, keyring.UseRefresh))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"text": "hunter2", "json": `{"password":"hunter2"}`, "list": `["hunter2"]`, "null": "null", "refresh": string(refresh),
		"cut": string(refresh[:len(refresh)-1]), "newer": `{"version":99,"password":"hunter2"}`,
	} {
		create(t, c, name, content)
		v := New(c, name, keyring.UseAccess)
		_, err := v.Load(t.Context())
		if err == nil || errors.Is(err, keyring.ErrNoKeys) || errors.Is(err, ErrNoSecret) {
			t.Fatalf("%s: Load: %v", name, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the content: %v", name, err)
		}
		before := stages(t, c, name)
		if err := v.Create(t.Context(), document(t, keyring.UseAccess)); err == nil {
			t.Errorf("%s: Create wrote over it", name)
		}
		if after := stages(t, c, name); !cmp.Equal(before, after) {
			t.Errorf("%s: Create changed the versions", name)
		}
	}
}

func TestCreateStoresOnlyWhatLoads(t *testing.T) {
	c := moto(t)
	create(t, c, "s", "")
	v := New(c, "s", keyring.UseAccess)
	if err := v.Create(t.Context(), document(t, keyring.UseRefresh)); err == nil {
		t.Error("a refresh ring was stored as an access ring")
	}
	if err := v.Create(t.Context(), &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess}); err == nil {
		t.Error("a document without keys was stored")
	}
	if got := stages(t, c, "s"); len(got) != 0 {
		t.Errorf("versions: %v", got)
	}
}

// TestLostAnswer has the answer that AWSCURRENT is ours get lost, so that moving it there fails, and is seen late.
func TestLostAnswer(t *testing.T) {
	late := stale(3)
	c := client(front(t, testenv.Moto(t).Endpoint, func(operation string, answer *http.Response) {
		late(operation, answer)
		if operation == "PutSecretValue" {
			body, _ := io.ReadAll(answer.Body)
			body = bytes.Replace(body, []byte(`"AWSCURRENT"`), []byte(`"OTHER"`), 1)
			answerWith(answer, answer.StatusCode, string(body))
		}
	}))
	create(t, c, "s", "")
	v, want := New(c, "s", keyring.UseAccess), document(t, keyring.UseAccess)
	v.pause = time.Millisecond
	if err := v.Create(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Load(t.Context()); err != nil || !cmp.Equal(got, want) {
		t.Errorf("Load: %v, %v", got, err)
	}
}

// stale answers the first reads after a PutSecretValue as if nothing had been put yet.
func stale(reads int) func(string, *http.Response) {
	left := 0
	return func(operation string, answer *http.Response) {
		switch {
		case operation == "PutSecretValue":
			left = reads
		case operation == "GetSecretValue" && left > 0:
			left--
			answerWith(answer, http.StatusBadRequest,
				`{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"}`)
		}
	}
}

func TestCreateReturnsWhenReadsSeeIt(t *testing.T) {
	endpoint := testenv.Moto(t).Endpoint
	c := client(front(t, endpoint, stale(3)))
	create(t, c, "soon", "")
	v, want := New(c, "soon", keyring.UseAccess), document(t, keyring.UseAccess)
	v.pause = time.Millisecond
	if err := v.Create(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Load(t.Context()); err != nil || !cmp.Equal(got, want) {
		t.Errorf("the first read after Create: %v, %v", got, err)
	}

	c = client(front(t, endpoint, stale(1000)))
	create(t, c, "never", "")
	v = New(c, "never", keyring.UseAccess)
	v.pause = time.Millisecond
	if err := v.Create(t.Context(), want); err == nil || errors.Is(err, keyring.ErrKeysExist) {
		t.Errorf("never seen: %v", err)
	}
}

// TestOutage holds errors to a short text without the names of things.
func TestOutage(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"AccessDeniedException","Message":"arn:aws:sts::123456789012:assumed-role/r/f may not"}`))
	}))
	defer server.Close()
	v := New(client(server.URL), "arn:aws:secretsmanager:eu-central-1:123456789012:secret:access", keyring.UseAccess)
	_, err := v.Load(t.Context())
	if err == nil || errors.Is(err, keyring.ErrNoKeys) || strings.Contains(err.Error(), "arn:") || strings.Contains(err.Error(), "123456789012") {
		t.Errorf("Load: %v", err)
	}
	if err := v.Create(t.Context(), document(t, keyring.UseAccess)); err == nil || errors.Is(err, keyring.ErrKeysExist) {
		t.Errorf("Create: %v", err)
	}
}
