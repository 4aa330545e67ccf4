package grant

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// sign signs an access token and, if it is not nil, a refresh token. Either both are signed or there is an error, which is an
// outage.
func (m *Minter) sign(ctx context.Context, a *token.Access, r *token.Refresh) (access, refresh string, err error) {
	accessKey, err := m.AccessKeys.SigningKey(ctx)
	if err != nil {
		return "", "", err
	}
	signAccess := func(ctx context.Context) (err error) {
		access, err = a.Sign(ctx, accessKey)
		return err
	}
	if r == nil {
		err = signAccess(ctx)
		return access, "", err
	}
	refreshKey, err := m.RefreshKeys.SigningKey(ctx)
	if err != nil {
		return "", "", err
	}
	signRefresh := func(ctx context.Context) (err error) {
		refresh, err = r.Sign(ctx, refreshKey)
		return err
	}
	if accessKey.Remote && refreshKey.Remote {
		err = atOnce(ctx, signAccess, signRefresh)
	} else if err = signAccess(ctx); err == nil { // in memory a signature takes less time than it takes to wait for another's
		err = signRefresh(ctx)
	}
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
