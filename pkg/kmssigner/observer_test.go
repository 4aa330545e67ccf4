package kmssigner

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// TestObserver: each signature is told of, and whether KMS throttled it, though a retry was answered.
func TestObserver(t *testing.T) {
	proxy := testenv.Proxy(t, testenv.Moto(t).Endpoint)
	c := client(proxy.Endpoint)
	var calls, throttled int
	signer, err := Signers(c, func(took time.Duration, t bool) {
		calls++
		if t {
			throttled++
		}
		if took <= 0 {
			calls = -100
		}
	})(keyring.Key{KMSKey: createKey(t, c, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify), Algorithm: keyring.ES256})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(fails bool) {
		t.Helper()
		if _, err := signer.Sign(t.Context(), []byte("x")); (err != nil) != fails {
			t.Errorf("Sign: %v", err)
		}
	}
	sign(false)
	proxy.Fail(testenv.Fault{Of: "KMS", Form: testenv.Reset, Once: true, Call: 1})
	sign(false)
	if calls != 2 || throttled != 0 {
		t.Fatalf("%d calls, %d throttled", calls, throttled)
	}
	proxy.Fail(testenv.Fault{Of: "KMS", Form: testenv.Throttled, Once: true, Call: 1})
	sign(false)
	proxy.Fail(testenv.Fault{Of: "KMS", Form: testenv.Throttled})
	sign(true)
	if calls != 4 || throttled != 2 {
		t.Errorf("%d calls, %d throttled; want 4 and 2", calls, throttled)
	}
}
