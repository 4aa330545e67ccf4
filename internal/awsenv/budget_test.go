package awsenv

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// The bounds of what is no call of AWS, as the packages that wait for it have them.
const (
	feedPoll   = 300 * time.Millisecond  // pkg/revocation, with a copy at hand
	feedLoad   = 8 * time.Second         // pkg/revocation, without
	jwksFetch  = 2500 * time.Millisecond // pkg/remotekeys
	providers  = 2500 * time.Millisecond // internal/outbound: an issuer's keys
	forAnswers = 50 * time.Millisecond   // what is left when all of that was waited for in vain
)

// dead says how much of a function's time goes by while one dependency, or all of AWS, does not answer at all: each call that
// is waited for in vain, of which all but the last are gone on without.
var dead = []struct {
	function, dependency string
	calls                int // of AWS
	besides              time.Duration
}{
	{"Token", "DynamoDB, Secrets Manager or KMS, nothing at hand", 1, 0},
	{"Token", "AWS, keys at hand", 3, feedPoll}, // both rings are read in vain, then KMS is to sign
	{"Token", "the feed, nothing at hand", 0, feedLoad},
	{"Token", "an issuer's keys", 0, providers},
	{"Refresh", "AWS, keys at hand", 3, feedPoll},
	{"Refresh", "the feed, nothing at hand", 0, feedLoad},
	{"Revoke", "AWS, keys at hand", 2, 0},
	{"Introspect", "AWS, keys at hand", 2, feedPoll},
	{"Introspect", "the feed, nothing at hand", 0, feedLoad},
	{"Authorizer", "the JWKS and the feed, keys at hand", 0, jwksFetch + feedPoll},
	{"Authorizer", "the feed, nothing at hand", 0, feedLoad},
	{"Discovery", "DynamoDB", 2, 0},
}

// TestBudget: what does not answer is told as an outage before Lambda ends the function, which would be none that clients know.
func TestBudget(t *testing.T) {
	cfg, err := Config(lookup(nil))
	if err != nil {
		t.Fatal(err)
	}
	tries := cfg.Retryer().MaxAttempts()
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		t.Fatalf("the client is a %T", cfg.HTTPClient)
	}
	// The tries are not spaced evenly, so that many callers do not come back at once.
	var longest time.Duration
	delays := map[time.Duration]bool{}
	for range 100 {
		for attempt := 1; attempt < tries; attempt++ {
			d, err := cfg.Retryer().RetryDelay(attempt, nil)
			if err != nil {
				t.Fatal(err)
			}
			longest, delays[d] = max(longest, d), true
		}
	}
	if longest > maxBackoff || len(delays) < 10 {
		t.Errorf("%d different waits of up to %v, want jitter of up to %v", len(delays), longest, maxBackoff)
	}
	call := time.Duration(tries)*client.GetTimeout() + time.Duration(tries-1)*maxBackoff
	template, err := os.ReadFile(filepath.Join("..", "..", "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range dead {
		found := regexp.MustCompile(`(?s)\n  ` + c.function + `Function:\n.*?\n      Timeout: (\d+)\n`).FindSubmatch(template)
		if found == nil {
			t.Fatalf("the template has no time-out of %sFunction", c.function)
		}
		seconds, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		takes := time.Duration(c.calls)*call + c.besides + forAnswers
		what := fmt.Sprintf("%s, %s: %v of %d s", c.function, c.dependency, takes, seconds)
		if t.Log(what); takes > time.Duration(seconds)*time.Second {
			t.Errorf("%s: it would be ended", what)
		}
	}
}

// TestRetriesEnd: while nothing succeeds, calls are soon tried once each, so that a service which is down gets no threefold load
// from those who wait for it.
func TestRetriesEnd(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(server.Close)
	cfg, err := Config(lookup(map[string]string{"AWS_ENDPOINT_URL": server.URL}))
	if err != nil {
		t.Fatal(err)
	}
	client := kms.NewFromConfig(cfg)
	const callers, calls = 20, 15
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				if _, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: aws.String("k")}); err == nil {
					t.Error("a call succeeded")
				}
			}
		})
	}
	all.Wait()
	// The SDK's bucket holds 500 tokens, of which a retry takes 5 and a success gives some back.
	if n := requests.Load(); n <= callers*calls || n > callers*calls+100 {
		t.Errorf("%d requests for %d calls, want 100 more at the most", n, callers*calls)
	}
}
