// Package doctor examines a Latchkey, a deployment or a laptop's: what can be seen of its keys, its tables, the clock, what its
// issuer publishes, and a whole flow with a client that is made for it and deleted again.
//
//	e := doctor.Examination{Issuer: issuer, …, Tell: func(f doctor.Finding) { fmt.Println(f.Check, f.Status, f.Detail) }}
//	err := e.Run(ctx)
//
// It reads, but for the flow, which can be left out. What it can't see, because it was not named or may not be read, it says it
// has skipped: that is no fault of the patient's. No finding holds a secret or a token.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/awserr"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// Status is what came of a check.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, and should be seen to
	Failed  Status = "failed"
	Skipped Status = "skipped" // Detail says why
)

// Finding is what one check found.
type Finding struct {
	Check  string `json:"check"` // such as keys.access: the same from release to release
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do about it
}

// Bounds.
const (
	// limit bounds what one check waits for.
	limit = 10 * time.Second
	// DefaultPatience is how long the flow waits for a revocation to be obeyed: the bound, by the default settings, and what
	// polls and fetches take.
	DefaultPatience = 45 * time.Second
)

// Examination says what is looked at. What is nil or empty is not.
type Examination struct {
	// Laptop says that this is `latchkey dev`'s: plain http is in order, and nothing rotates keys by itself.
	Laptop bool
	// Issuer is its URL. Empty: WithoutIssuer says why nothing can be asked of it.
	Issuer        string
	WithoutIssuer string

	// Identity says whose AWS credentials are in use. Nil: none are.
	Identity func(ctx context.Context) (string, error)

	Access, Refresh keyring.Vault           // the private keys
	Public          keyring.PublicKeyReader // the public ones
	Period          time.Duration           // how long a key signs, the deployment's KeyRotationPeriod; zero: keyring.DefaultPeriod

	DB     *dynamodb.Client // nil: there are no tables
	Tables []Table

	// Clients makes and deletes the flow's client, and tells the revocations. Nil: WithoutFlow says why there is no flow.
	Clients     *client.Registry
	WithoutFlow string
	API         string      // URL of an API behind the authorizer, called by GET; empty: none is called
	Audience    string      // of that API's tokens
	Scope       oauth.Scope // that the flow's client is given; empty: two tokens that no API knows
	// Patience is how long the flow waits for a revocation to be obeyed. Zero: it doesn't.
	Patience time.Duration

	HTTP *http.Client                               // nil: one with the machine's proxy and certificates. Redirects are never followed
	Now  func() time.Time                           // nil: time.Now
	Wait func(ctx context.Context, d time.Duration) // nil: it does

	Tell func(Finding)     // takes each finding as it is made. Required
	Busy func(what string) // is told what is being done; nil: nobody is

	// What checks know of each other.
	access *keyring.Document       // the private access keys, where they could be read
	public *keyring.PublicDocument // the public ones
	skews  []skew
	mute   string // why the issuer is asked nothing; empty: it answers
}

// Run examines. Its error is that of a ctx which ended on the way; what was found is told in any case.
func (e *Examination) Run(ctx context.Context) error {
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Wait == nil {
		e.Wait = wait
	}
	if e.Period == 0 {
		e.Period = keyring.DefaultPeriod
	}
	e.HTTP = httpClient(e.HTTP)
	for _, check := range []struct {
		what string
		do   func(context.Context)
	}{
		{"credentials", e.identity}, {"keys", e.keys}, {"tables", e.tables}, {"metadata", e.metadata}, {"clock", e.clock}, {"JWKS", e.jwks}, {"feed", e.feed},
	} {
		e.busy("looking at the %s", check.what)
		bounded, cancel := context.WithTimeout(ctx, 3*limit)
		check.do(bounded)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	e.flow(ctx)
	return ctx.Err()
}

// identity tells who is asking: what may not be looked at depends on that.
func (e *Examination) identity(ctx context.Context) {
	if e.Identity == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	who, err := e.Identity(ctx)
	if err != nil {
		// It may be an emulator, which knows nobody. If there are no credentials, the rest fails for that.
		e.warn("aws", "AWS_PROFILE and AWS_REGION choose the credentials and the Region", "%v", err)
		return
	}
	e.ok("aws", "%s", who)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (e *Examination) busy(format string, args ...any) {
	if e.Busy != nil {
		e.Busy(fmt.Sprintf(format, args...))
	}
}

func (e *Examination) ok(check, format string, args ...any) {
	e.Tell(Finding{Check: check, Status: OK, Detail: fmt.Sprintf(format, args...)})
}

func (e *Examination) skip(check, format string, args ...any) {
	e.Tell(Finding{Check: check, Status: Skipped, Detail: fmt.Sprintf(format, args...)})
}

func (e *Examination) warn(check, fix, format string, args ...any) {
	e.Tell(Finding{Check: check, Status: Warning, Detail: fmt.Sprintf(format, args...), Fix: fix})
}

func (e *Examination) fail(check, fix, format string, args ...any) {
	e.Tell(Finding{Check: check, Status: Failed, Detail: fmt.Sprintf(format, args...), Fix: fix})
}

// trouble tells of a call that failed. A permission that is missing is whoever runs this's, and not the deployment's fault.
func (e *Examination) trouble(check, permission, fix string, err error) {
	if errors.Is(err, awserr.ErrDenied) {
		e.skip(check, "not allowed to whoever runs this: it takes %s", permission)
		return
	}
	e.fail(check, fix, "%v", err)
}
