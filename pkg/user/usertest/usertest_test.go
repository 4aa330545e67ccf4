package usertest_test

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/storetest"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
	"github.com/latchkey-auth/latchkey/pkg/user/usertest"
)

// TestStore holds this store to what real ones do.
func TestStore(t *testing.T) {
	storetest.RunUsers(t, func(t *testing.T) user.Store { return &usertest.Store{} })
	storetest.RunSignIns(t, func(t *testing.T) backoff.Store { return &usertest.Store{} })
}
