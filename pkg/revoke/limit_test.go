package revoke

import (
	"strconv"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// TestBounds: no number of clients or tokens makes the memory grow past its bound.
func TestBounds(t *testing.T) {
	var clock clocktest.Clock
	l, told := newLimits(clock.Now), newTold(clock.Now)
	for i := range 2 * maxClients {
		l.take(strconv.Itoa(i))
	}
	for i := range 2 * maxTold {
		told.add(revocation.Grant(strconv.Itoa(i), clock.Now()).Key)
	}
	if len(l.buckets) != maxClients || len(told.keys) != maxTold {
		t.Errorf("%d clients, %d entries", len(l.buckets), len(told.keys))
	}
}
