// Package feedview makes the view of the revocation feed that a function asks at each verification, as its environment
// says. The functions that verify tokens share it, so that the same variables mean the same to each:
//
//	REVOCATIONS_URL            the feed; default: the issuer's
//	REVOCATIONS_POLL_INTERVAL  age at which it is polled; default 15s
//	MAX_STALENESS              age past which a view that can't be polled is of no use; default 60s
//	STALE_REVOCATIONS          deny (default) or allow: what happens then. Authorizers alone may read it: see Lax
package feedview

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Config is what the environment says.
type Config struct {
	URL          string
	PollInterval time.Duration
	MaxStaleness time.Duration
	AllowStale   bool
	MaxEntries   int // as many as the function's memory has room for
}

// Read reads the variables, but for STALE_REVOCATIONS: what issues or judges tokens for others never goes on stale.
func Read(r *env.Reader, issuer string) Config {
	const most = time.Hour
	c := Config{
		URL:          r.URL("REVOCATIONS_URL", issuer+revocation.PathFeed),
		PollInterval: r.Duration("REVOCATIONS_POLL_INTERVAL", revocation.PollInterval, time.Second, most),
		MaxStaleness: r.Duration("MAX_STALENESS", revocation.MaxStaleness, time.Second, 24*time.Hour),
		MaxEntries:   maxEntries(r.Optional("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")),
	}
	if c.PollInterval != 0 && c.MaxStaleness != 0 && c.MaxStaleness < c.PollInterval+revocation.FeedMemory {
		// Else a view would be of no use between polls that succeed: as_of is older than the poll by the feed's memory.
		r.Fail("MAX_STALENESS", "it must be at least REVOCATIONS_POLL_INTERVAL and "+revocation.FeedMemory.String()+" more")
	}
	return c
}

// Lax is Read for an authorizer, which may be told to let tokens through on a view that is too old.
func Lax(r *env.Reader, issuer string) Config {
	c := Read(r, issuer)
	c.AllowStale = r.OneOf("STALE_REVOCATIONS", "deny", "deny", "allow") == "allow"
	return c
}

// maxEntries is how many revocations fit into a function's memory, given in MB as Lambda does. Past it a view says that it is
// full, which is better than a process that is killed and started again and again.
func maxEntries(memory string) int {
	const (
		own      = 64  // MB, of the function without a view
		perEntry = 128 // bytes, with what the garbage collector leaves free; measured: see docs/scale.md
	)
	mb, err := strconv.Atoi(memory)
	if err != nil || mb <= own {
		return revocation.MaxEntries // not on Lambda
	}
	return (mb - own) << 20 / perEntry
}

// RecordMemory is how long a sign-in may go on by a client's record as it was (client.RecordTTL, which not every function
// that verifies may link).
const RecordMemory = 30 * time.Second

// Window is how long a view remembers what was said, where tokens live as long as the cap at most: the cap; what may pass
// between a revocation and the last token that is made by whoever has not heard of it; and the leeway of expiry.
func (c Config) Window(longest time.Duration) time.Duration {
	return longest + c.MaxStaleness + revocation.FeedMemory + RecordMemory + token.Leeway
}

// View makes the view for tokens that live as long as a cap at most. It uses no network yet.
func (c Config) View(longest time.Duration, log *slog.Logger) (*revocation.View, error) {
	return c.view(longest, false, log)
}

// RefreshView makes the same for one who verifies refresh tokens and nothing else.
func (c Config) RefreshView(longest time.Duration, log *slog.Logger) (*revocation.View, error) {
	return c.view(longest, true, log)
}

func (c Config) view(longest time.Duration, refreshOnly bool, log *slog.Logger) (*revocation.View, error) {
	feed, err := remotefeed.New(remotefeed.Config{URL: c.URL})
	if err != nil {
		return nil, err
	}
	return revocation.NewView(revocation.ViewConfig{
		Source: feed, Window: c.Window(longest), PollInterval: c.PollInterval, MaxStaleness: c.MaxStaleness, AllowStale: c.AllowStale,
		RefreshOnly: refreshOnly, MaxEntries: c.MaxEntries, Now: clock.Now, Log: log,
	})
}

// Age returns what tells a view's age, for metrics: that of one which was never loaded is counted from now on.
func Age(v *revocation.View) func() time.Duration {
	start := clock.Now()
	return func() time.Duration {
		if age, loaded := v.Age(); loaded {
			return age
		}
		return clock.Now().Sub(start)
	}
}
