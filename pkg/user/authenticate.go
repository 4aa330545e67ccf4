package user

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

// SignInStore is the part of a Store that sign-in needs.
type SignInStore interface {
	User(ctx context.Context, username string) (*Stored, error)
	// UpdateUser is for a password that is hashed anew.
	UpdateUser(ctx context.Context, r *Record, revision int64) error
}

// Credentials are what a request says of its user, and where it came from.
type Credentials struct {
	Username, Password string
	Client             string // authenticated
	Source             string // see backoff.Who
}

// String keeps the password, and what may be one typed in the wrong place, out of logs and error texts.
func (c Credentials) String() string { return "a user's credentials, through client " + c.Client }

// GoString keeps them out of %#v.
func (c Credentials) GoString() string { return c.String() }

// AuthenticatorConfig is what an Authenticator is made of.
type AuthenticatorConfig struct {
	Users   SignInStore
	Backoff *backoff.Limiter
	// Hashes is how many passwords are hashed at once: each takes 19 MiB and a processor. More wait, up to Waiting of them.
	Hashes, Waiting int
	Params          Params           // of new hashes; zero: DefaultParams
	Log             *slog.Logger     // nil: slog.Default()
	Now             func() time.Time // nil: time.Now
}

// Authenticator checks users' credentials. It reads the record at each sign-in, so that what changes in it holds at once.
// Make one with NewAuthenticator. Safe for many goroutines.
type Authenticator struct {
	AuthenticatorConfig
	line, hashing chan struct{}
	nobody        func() *phc
}

// NewAuthenticator makes an Authenticator.
func NewAuthenticator(c AuthenticatorConfig) *Authenticator {
	if c.Params == (Params{}) {
		c.Params = DefaultParams
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Hashes = max(c.Hashes, 1)
	return &Authenticator{
		AuthenticatorConfig: c,
		line:                make(chan struct{}, c.Hashes+max(c.Waiting, 0)),
		hashing:             make(chan struct{}, c.Hashes),
		// A salt of its own, and a hash that no password has, for it is not one of any.
		nobody: sync.OnceValue(func() *phc {
			p := &phc{Params: c.Params, salt: make([]byte, saltLen), hash: make([]byte, hashLen)}
			rand.Read(p.salt)
			rand.Read(p.hash)
			return p
		}),
	}
}

// Reasons for a refusal, for the log alone: the client is told the same whichever it is.
var (
	errUnknown  = errors.New("unknown user")
	errWrong    = errors.New("wrong password")
	errDisabled = errors.New("the user is disabled")
	errTooMany  = errors.New("back-off: too many tries of one name")
)

// Authenticate returns the record of the user whose credentials these are. Refusals are invalid_grant, the same and after
// the same time for an unknown user, a wrong password and a disabled user. Too many tries are told to wait, with status 429;
// a process with too much to hash, and a store that fails, are temporarily_unavailable.
func (a *Authenticator) Authenticate(ctx context.Context, c Credentials) (*Record, error) {
	done, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	// What can be nobody's name or password goes the same way as what could.
	name, errName := Normalize(c.Username)
	if errName != nil {
		name = c.Username
	}
	password, errPassword := normalizePassword(c.Password)

	try, err := a.Backoff.Begin(ctx, backoff.Who{Name: name, Client: c.Client, Source: c.Source})
	var wait *backoff.WaitError
	switch {
	case errors.As(err, &wait):
		return nil, oauth.TooManyTries(wait.Wait).Because(wait)
	case err != nil:
		return nil, unavailable(err)
	}
	stored, hash, err := a.lookup(ctx, name, errName)
	if err != nil {
		if e := try.GiveBack(ctx); e != nil {
			a.Log.LogAttrs(ctx, slog.LevelWarn, "user.backoff_failed", slog.String("cause", e.Error()))
		}
		return nil, unavailable(err)
	}
	right := hash.matches(password) && errPassword == nil
	switch {
	case stored == nil:
		return nil, refuse(errUnknown)
	case !right:
		return nil, refuse(errWrong)
	case stored.Disabled:
		return nil, refuse(errDisabled)
	case try.Refused:
		return nil, refuse(errTooMany)
	}
	if err := try.Succeeded(ctx); err != nil {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "user.backoff_failed", slog.String("cause", err.Error()))
	}
	if hash.Params != a.Params {
		a.rehash(ctx, stored, password)
	}
	return &stored.Record, nil
}

// lookup returns a user and the hash to compare with, nobody's where there is no such user.
func (a *Authenticator) lookup(ctx context.Context, name string, invalid error) (*Stored, *phc, error) {
	if invalid != nil {
		name = absent // a read all the same
	}
	stored, err := a.Users.User(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, a.nobody(), nil
	case err != nil:
		return nil, nil, err
	}
	hash, err := parseHash(stored.Password)
	return stored, hash, err
}

// absent is a name in normal form that is refused to users.
const absent = "u_"

// rehash stores the password that was just right as the parameters of today have it. It is the same password, so nothing is
// revoked. If it fails, the next sign-in does it.
func (a *Authenticator) rehash(ctx context.Context, stored *Stored, password string) {
	r := stored.Record
	r.Password, r.UpdatedAt = a.Params.newHash(password).String(), a.Now().Unix()
	if err := a.Users.UpdateUser(ctx, &r, stored.Revision); err != nil {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "user.rehash_failed", slog.String("sub", r.ID), slog.String("cause", err.Error()))
		return
	}
	a.Log.LogAttrs(ctx, slog.LevelInfo, "user.rehashed", slog.String("sub", r.ID), slog.String("stream", oauth.StreamAudit))
}

// enter waits in line to hash. With as many in it as there may be, or a caller that goes away, it is an overload.
func (a *Authenticator) enter(ctx context.Context) (done func(), err error) {
	select {
	case a.line <- struct{}{}:
	default:
		return nil, unavailable(errors.New("too many passwords wait to be hashed"))
	}
	select {
	case a.hashing <- struct{}{}:
		return func() { <-a.hashing; <-a.line }, nil
	case <-ctx.Done():
		<-a.line
		return nil, unavailable(ctx.Err())
	}
}

func refuse(cause error) error {
	return oauth.Errorf(oauth.InvalidGrant, "The user's credentials are wrong, or the user may not sign in.").Because(cause)
}

func unavailable(cause error) error {
	return oauth.Errorf(oauth.Unavailable, "Users can't sign in at the moment. Try again.").Because(cause)
}
