package grant

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// sign signs an access token and, if it is not nil, a refresh token. Either both are signed or there is an error, which is an
// outage.
func (m *Minter) sign(ctx context.Context, a *token.Access, r *token.Refresh) (access, refresh string, err error) {
	accessKey, err := m.AccessKeys.SigningKey(ctx)
	if err != nil {
		return "", "", err
	}
	if r == nil {
		access, err = a.Sign(ctx, accessKey)
		return access, "", err
	}
	refreshKey, err := m.RefreshKeys.SigningKey(ctx)
	if err != nil {
		return "", "", err
	}
	if accessKey.Remote && refreshKey.Remote {
		return signAtOnce(ctx, a, accessKey, r, refreshKey)
	}
	// In memory a signature takes less time than it takes to wait for another's.
	if access, err = a.Sign(ctx, accessKey); err == nil {
		refresh, err = r.Sign(ctx, refreshKey)
	}
	return access, refresh, err
}

func signAtOnce(ctx context.Context, a *token.Access, accessKey keyring.SigningKey, r *token.Refresh, refreshKey keyring.SigningKey) (access, refresh string, err error) {
	err = atOnce(ctx, func(ctx context.Context) (err error) {
		access, err = a.Sign(ctx, accessKey)
		return err
	}, func(ctx context.Context) (err error) {
		refresh, err = r.Sign(ctx, refreshKey)
		return err
	})
	return access, refresh, err
}

// atOnce runs two functions at the same time and returns when both have. The first failure is the error, and cancels what the
// other one waits for; a panic is the caller's.
func atOnce(ctx context.Context, one, other func(context.Context) error) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Wait: where one has panicked, nobody waits for long
	var once sync.Once
	var failure error
	run := func(do func(context.Context) error) {
		if err := do(ctx); err != nil {
			once.Do(func() { failure = err })
			cancel()
		}
	}
	var panicked string
	running.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
				cancel()
			}
		}()
		run(other)
	})
	run(one)
	running.Wait()
	if panicked != "" {
		panic(panicked)
	}
	return failure
}
