package testenv_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

func call(t *testing.T, endpoint, target string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
	return http.DefaultClient.Do(req)
}

func mustCall(t *testing.T, endpoint, target string) {
	t.Helper()
	resp, err := call(t, endpoint, target)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
}

func echo(t *testing.T) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Saw-Host", r.Host)
		w.Header().Set("Saw-Authorization", r.Header.Get("Authorization"))
		w.Header().Set("Saw-Forwarded", r.Header.Get("X-Forwarded-For"))
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestProxyCounts(t *testing.T) {
	proxy := testenv.Proxy(t, echo(t).URL)
	if got := proxy.Counts(); len(got) != 0 {
		t.Errorf("before any call: %v", got)
	}
	for _, target := range []string{
		"DynamoDB_20120810.GetItem", "DynamoDB_20120810.GetItem", "secretsmanager.GetSecretValue", "TrentService.Sign",
		"Unknown.Thing", "",
	} {
		mustCall(t, proxy.Endpoint, target)
	}
	want := map[string]int{"DynamoDB.GetItem": 2, "SecretsManager.GetSecretValue": 1, "KMS.Sign": 1, "other": 2}
	got := proxy.Counts()
	if !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}

	proxy.Reset()
	mustCall(t, proxy.Endpoint, "TrentService.Sign")
	if got["KMS.Sign"] != 1 {
		t.Error("an earlier answer of Counts changed")
	}
	if got, want := proxy.Counts(), (map[string]int{"KMS.Sign": 1}); !maps.Equal(got, want) {
		t.Errorf("after Reset: %v, want %v", got, want)
	}
}

func TestProxyPassesRequestsOnAsSigned(t *testing.T) {
	proxy := testenv.Proxy(t, echo(t).URL)
	resp, err := call(t, proxy.Endpoint, "TrentService.Sign")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != `{"a":1}` {
		t.Errorf("body %q, %v", body, err)
	}
	for name, want := range map[string]string{
		"Saw-Host":          strings.TrimPrefix(proxy.Endpoint, "http://"),
		"Saw-Authorization": "AWS4-HMAC-SHA256 Credential=x",
		"Saw-Forwarded":     "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestProxyStops(t *testing.T) {
	proxy := testenv.Proxy(t, echo(t).URL)
	mustCall(t, proxy.Endpoint, "TrentService.Sign") // leaves a connection to be closed too
	proxy.Stop()
	proxy.Stop()
	for range 3 {
		if resp, err := call(t, proxy.Endpoint, "TrentService.Sign"); err == nil {
			resp.Body.Close()
			t.Errorf("answered %d while stopped", resp.StatusCode)
		}
	}
	if got := proxy.Counts()["KMS.Sign"]; got != 1 {
		t.Errorf("counted %d calls, want the 1 before the stop", got)
	}
	proxy.Start()
	mustCall(t, proxy.Endpoint, "TrentService.Sign")
}

func TestProxyStopCutsCallsUnderWay(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	defer slow.Close()
	defer close(release)
	proxy := testenv.Proxy(t, slow.URL)

	failed := make(chan error, 1)
	go func() {
		resp, err := call(t, proxy.Endpoint, "TrentService.Sign")
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-arrived
	proxy.Stop()
	if err := <-failed; err == nil {
		t.Error("a call under way was answered after the stop")
	}
}

func TestProxyToAnEndpointThatIsDown(t *testing.T) {
	down := echo(t)
	proxy := testenv.Proxy(t, down.URL)
	down.Close()
	resp, err := call(t, proxy.Endpoint, "TrentService.Sign")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d, want 502", resp.StatusCode)
	}
}
