package testenv_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

func TestProxyFailsOneCall(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	t.Cleanup(server.Close)
	proxy := testenv.Proxy(t, server.URL)
	// try is one try of a call; it returns the status, 0 for none.
	try := func(id string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, proxy.Endpoint, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Amz-Sdk-Invocation-Id", id)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for name, c := range map[string]struct {
		fault         testenv.Fault
		first, second int // of two tries of the call
		served        int64
		failed        int
	}{
		"reset":            {testenv.Fault{Call: 2}, 0, 0, 2, 2},
		"refused":          {testenv.Fault{Call: 2, Form: testenv.Internal}, 500, 500, 2, 2},
		"answer lost":      {testenv.Fault{Call: 2, Done: true}, 0, 0, 4, 2},
		"throttled":        {testenv.Fault{Call: 2, Form: testenv.Throttled}, 400, 400, 2, 2},
		"cut":              {testenv.Fault{Call: 2, Form: testenv.Cut}, 200, 200, 4, 2},
		"another service":  {testenv.Fault{Of: "KMS"}, 200, 200, 4, 0},
		"once":             {testenv.Fault{Call: 2, Once: true}, 0, 200, 3, 1},
		"answer lost once": {testenv.Fault{Call: 2, Done: true, Once: true}, 0, 200, 4, 1},
		"another":          {testenv.Fault{Call: 4}, 200, 200, 4, 0},
	} {
		served.Store(0)
		proxy.Fail(c.fault)
		if before, first, second, after := try("a"), try("b"), try("b"), try("c"); before != 200 || first != c.first || second != c.second || after != 200 {
			t.Errorf("%s: %d, %d and %d, %d", name, before, first, second, after)
		}
		if n := served.Load(); n != c.served {
			t.Errorf("%s: %d were carried out, want %d", name, n, c.served)
		}
		if calls, failed := proxy.Mend(); calls != 3 && c.fault.Of == "" || failed != c.failed {
			t.Errorf("%s: %d calls, %d tries failed", name, calls, failed)
		}
		if status := try("b"); status != 200 {
			t.Errorf("%s: mended, %d", name, status)
		}
	}
}
