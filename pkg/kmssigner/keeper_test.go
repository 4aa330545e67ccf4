package kmssigner

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// tardy is KMS before the tags and the names of what was made count: calls fail as often as is said, with that code.
type tardy struct {
	t      *testing.T
	direct *kms.Client
	keeper Keeper

	mu     sync.Mutex
	fails  map[string]int // by call
	code   string
	calls  map[string]int
	waited time.Duration
}

const always = 1 << 30

// newTardy stands before moto. Each has a ring of its own.
func newTardy(t *testing.T, moto, code string, fails map[string]int) *tardy {
	t.Helper()
	target, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	k := &tardy{t: t, direct: client(moto), fails: fails, code: code, calls: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
		if k.refuses(call) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"__type":"` + k.code + `","message":"arn:aws:kms:eu-west-1:123456789012:key/k"}`))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	k.keeper = Keeper{Client: client(server.URL), Name: rand.Text() + "/access", Algorithm: keyring.ES256, Pause: k.pause}
	return k
}

func (k *tardy) refuses(call string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls[call]++
	// Until something was made there is nothing to be refused: the first look for the key says that it is not there.
	if call == "GetPublicKey" && k.calls["CreateKey"] == 0 || k.fails[call] == 0 {
		return false
	}
	k.fails[call]--
	return true
}

func (k *tardy) pause(ctx context.Context, d time.Duration) error {
	k.waited += d
	return ctx.Err()
}

// keys are those that were made for the ring, by id, and whether they are to be deleted.
func (k *tardy) keys() map[string]bool {
	k.t.Helper()
	all := map[string]bool{}
	list, err := k.direct.ListKeys(context.Background(), &kms.ListKeysInput{})
	if err != nil {
		k.t.Fatal(err)
	}
	for _, key := range list.Keys {
		tags, err := k.direct.ListResourceTags(context.Background(), &kms.ListResourceTagsInput{KeyId: key.KeyId})
		if err != nil {
			k.t.Fatal(err)
		}
		if len(tags.Tags) != 1 || *tags.Tags[0].TagValue != k.keeper.Name {
			continue
		}
		out, err := k.direct.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: key.KeyId})
		if err != nil {
			k.t.Fatal(err)
		}
		all[*key.KeyId] = out.KeyMetadata.KeyState == types.KeyStatePendingDeletion
	}
	return all
}

// Until a key's tag and names count, its maker waits and makes no other.
func TestNewKeyWaitsUntilItCanBeUsed(t *testing.T) {
	moto := testenv.Moto(t).Endpoint
	for name, row := range map[string]struct {
		code  string
		fails map[string]int
	}{
		"at once":              {"", nil},
		"the alias is denied":  {"AccessDeniedException", map[string]int{"CreateAlias": 20}},
		"the key is denied":    {"AccessDeniedException", map[string]int{"GetPublicKey": 20}},
		"both are":             {"AccessDeniedException", map[string]int{"CreateAlias": 10, "GetPublicKey": 10}},
		"the key is not there": {"NotFoundException", map[string]int{"CreateAlias": 3, "GetPublicKey": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTardy(t, moto, row.code, row.fails)
			key, err := k.keeper.NewKey(t.Context(), "", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			again, err := k.keeper.NewKey(t.Context(), "", time.Now())
			if err != nil || again.KMSKey != key.KMSKey {
				t.Errorf("asked again: %v, %v, want %s", again, err, key.KMSKey)
			}
			if all := k.keys(); len(all) != 1 || all[bare(key.KMSKey)] || k.calls["CreateKey"] != 1 {
				t.Errorf("the keys are %v, the new one is %s", all, key.KMSKey)
			}
			if k.waited > Patience || (k.waited > 0) != (row.fails != nil) {
				t.Errorf("it waited %v", k.waited)
			}
		})
	}
}

// A key that can't be used in time is deleted, or found again by the next run.
func TestNewKeyGivesUp(t *testing.T) {
	moto := testenv.Moto(t).Endpoint
	k := newTardy(t, moto, "AccessDeniedException", map[string]int{"CreateAlias": always})
	_, err := k.keeper.NewKey(t.Context(), "", time.Now())
	if want := "KMS CreateAlias: the role or user in use is not allowed to do this (AccessDeniedException)"; err == nil || err.Error() != want {
		t.Errorf("without an alias: %v, want %s", err, want)
	}
	if all := k.keys(); len(all) != 1 || !all[first(all)] {
		t.Errorf("without an alias: the keys are %v, and the one should be deleted", all)
	}
	if k.waited < 5*time.Minute || k.waited > Patience {
		t.Errorf("it waited %v: tags take up to 5 minutes", k.waited)
	}

	k = newTardy(t, moto, "AccessDeniedException", map[string]int{"CreateAlias": always, "ScheduleKeyDeletion": always})
	if _, err := k.keeper.NewKey(t.Context(), "", time.Now()); err == nil || !strings.Contains(err.Error(), "has the tag latchkey="+k.keeper.Name) || strings.Contains(err.Error(), "arn:") {
		t.Errorf("nor can it be deleted: %v", err)
	}

	k = newTardy(t, moto, "AccessDeniedException", map[string]int{"GetPublicKey": always})
	if _, err := k.keeper.NewKey(t.Context(), "", time.Now()); err == nil {
		t.Error("a key that can't be read")
	}
	k.fails = nil
	key, err := k.keeper.NewKey(t.Context(), "", time.Now())
	if all := k.keys(); err != nil || len(all) != 1 || all[bare(key.KMSKey)] {
		t.Errorf("the next run: %v, %v, the keys are %v", key, err, all)
	}
}

func first(all map[string]bool) string {
	for id := range all {
		return id
	}
	return ""
}

// The wait ends with the context, early enough for what was made to be given up.
func TestNewKeyEndsInTime(t *testing.T) {
	moto := testenv.Moto(t).Endpoint
	for name, limit := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"a deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, giveUpTime)
		},
		"a cancel": func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newTardy(t, moto, "AccessDeniedException", map[string]int{"CreateAlias": always})
			ctx, cancel := limit(t.Context())
			defer cancel()
			k.keeper.Pause = func(ctx context.Context, _ time.Duration) error {
				k.waited++
				cancel()
				return ctx.Err()
			}
			if _, err := k.keeper.NewKey(ctx, "", time.Now()); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
				t.Errorf("got %v", err)
			}
			if all := k.keys(); len(all) != 1 || !all[first(all)] {
				t.Errorf("the keys are %v, and the one should be deleted", all)
			}
			if want := map[string]time.Duration{"a deadline": 0, "a cancel": 1}[name]; k.waited != want {
				t.Errorf("it paused %d times, want %d", k.waited, want)
			}
		})
	}
}

// Of several runs at once, those that were slower wait for the one that has the alias, and delete what they made.
func TestNewKeyYields(t *testing.T) {
	k := newTardy(t, testenv.Moto(t).Endpoint, "AccessDeniedException", map[string]int{"GetPublicKey": 5})
	alias := "alias/latchkey/" + k.keeper.Name + "/none"
	theirs := ""
	faster := k.keeper
	faster.Client = kms.NewFromConfig(testenv.AWSConfig(*k.keeper.Client.Options().BaseEndpoint), func(o *kms.Options) {
		o.HTTPClient = httpFunc(func(r *http.Request) (*http.Response, error) {
			if theirs == "" && strings.HasSuffix(r.Header.Get("X-Amz-Target"), "CreateAlias") {
				theirs = createKey(t, k.direct, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
				if _, err := k.direct.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String(alias), TargetKeyId: &theirs}); err != nil {
					return nil, err
				}
			}
			return http.DefaultClient.Do(r)
		})
	})
	key, err := faster.NewKey(t.Context(), "", time.Now())
	if err != nil || bare(key.KMSKey) != theirs {
		t.Fatalf("got %v, %v, want the key of the alias, %s", key, err, theirs)
	}
	if all := k.keys(); len(all) != 1 || !all[first(all)] {
		t.Errorf("the keys are %v, and the one should be deleted", all)
	}
}

// httpFunc is an HTTP client.
type httpFunc func(*http.Request) (*http.Response, error)

// Do implements kms.HTTPClient.
func (f httpFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }
