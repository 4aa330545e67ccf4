// Package generate makes load on a token endpoint: requests over connections that are kept, each answer checked. It is
// built to cost little, so that one processor of its own is enough to keep a server on another busy: no net/http client, no
// allocation a request that can be spared.
package generate

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/internal/stand"
)

// Kind is what is asked for.
type Kind string

// The kinds.
const (
	Token   Kind = "token"   // grant_type=client_credentials
	Refresh Kind = "refresh" // grant_type=refresh_token; a new refresh token is used from then on
	Prime   Kind = "prime"   // Token at each seat that has no refresh token yet
)

// Job is a piece of work. It ends with the first of Duration and Count that is not zero, one of which has to be; Prime ends
// by itself.
type Job struct {
	Kind        Kind
	Connections int
	Duration    time.Duration
	Count       int
	// Rate is how many requests begin a second, whatever becomes of them: an open loop. Zero: each connection asks again when
	// it was answered.
	Rate float64
}

// Result is what came of a Job.
type Result struct {
	Requests int
	Elapsed  time.Duration
	// TokenBytes is the length of all tokens that were handed out.
	TokenBytes int
	// Latency is what an open loop measured, from when each request was due and not from when it could be sent. Late is by how
	// much the generator itself was: what it cannot tell from the server's time.
	Latency, Late Quantiles
	Error         string // the first; the rest of the result is void then
}

// Quantiles are a distribution's.
type Quantiles struct{ P50, P99, Max time.Duration }

// Announcement is what a server says of itself.
type Announcement = stand.Announcement

// seat is one client's session: a connection uses it at a time.
type seat struct {
	basic, id string // as they go into a request
	refresh   string
}

// Generator sends requests to one server. Its seats keep the last refresh token from job to job. One job at a time.
type Generator struct {
	Announcement
	host  string
	seats []*seat
	key   *ecdsa.PublicKey // nil: the server makes no tokens
}

// New makes a Generator for the server that announced itself so.
func New(a Announcement) (*Generator, error) {
	u, err := url.Parse(a.URL)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "http" || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s is not on this machine", a.URL)
	}
	g := &Generator{Announcement: a, host: u.Host}
	for _, c := range a.Credentials {
		basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret)))
		g.seats = append(g.seats, &seat{basic: basic, id: url.QueryEscape(c.ID), refresh: c.RefreshToken})
	}
	if len(g.seats) == 0 {
		return nil, errors.New("no credentials")
	}
	if a.PublicKey == "" {
		return g, nil
	}
	der, err := base64.StdEncoding.DecodeString(a.PublicKey)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	if g.key, _ = key.(*ecdsa.PublicKey); g.key == nil {
		return nil, errors.New("the tokens are not ES256")
	}
	return g, nil
}

// Run does a job.
func (g *Generator) Run(ctx context.Context, j Job) Result {
	r, err := g.run(ctx, j)
	if err != nil {
		return Result{Error: err.Error()}
	}
	return r
}

// RefreshTokens returns the last of each seat.
func (g *Generator) RefreshTokens() []string {
	var tokens []string
	for _, s := range g.seats {
		tokens = append(tokens, s.refresh)
	}
	return tokens
}

func (g *Generator) run(ctx context.Context, j Job) (Result, error) {
	switch {
	case j.Duration == 0 && j.Count == 0 && j.Kind != Prime:
		return Result{}, errors.New("a job without an end")
	case j.Connections < 1:
		return Result{}, errors.New("a job without connections")
	case g.key != nil && len(g.seats) < j.Connections:
		return Result{}, fmt.Errorf("%d seats for %d connections", len(g.seats), j.Connections)
	}
	conns := make([]*conn, j.Connections)
	for i := range conns {
		c, err := g.dial(ctx, i, j.Connections)
		if err != nil {
			return Result{}, err
		}
		defer c.Close()
		conns[i] = c
	}
	if j.Rate > 0 {
		return openLoop(ctx, j, conns)
	}
	var begun atomic.Int64
	start := time.Now()
	return closedLoop(ctx, j.Kind, conns, func(c *conn) bool {
		if j.Kind == Prime {
			return c.unprimed()
		}
		return (j.Count == 0 || int(begun.Add(1)) <= j.Count) && (j.Duration == 0 || time.Since(start) < j.Duration)
	})
}

// closedLoop has each connection ask as soon as it was answered, as long as there is more to ask.
func closedLoop(ctx context.Context, k Kind, conns []*conn, more func(*conn) bool) (Result, error) {
	var wg sync.WaitGroup
	var failure firstError
	start := time.Now()
	for _, c := range conns {
		wg.Go(func() {
			for !failure.set() && ctx.Err() == nil && more(c) {
				if err := c.exchange(k); err != nil {
					failure.put(err)
				}
			}
		})
	}
	wg.Wait()
	return sum(conns, time.Since(start)), errors.Join(failure.err, ctx.Err())
}

func sum(conns []*conn, elapsed time.Duration) Result {
	r := Result{Elapsed: elapsed}
	for _, c := range conns {
		r.Requests += c.requests
		r.TokenBytes += c.tokenBytes
	}
	return r
}

// firstError keeps the first error of many goroutines.
type firstError struct {
	once sync.Once
	done atomic.Bool
	err  error // to be read when all have ended
}

func (f *firstError) put(err error) {
	f.once.Do(func() {
		f.err = err
		f.done.Store(true)
	})
}

func (f *firstError) set() bool { return f.done.Load() }

func quantiles(all []time.Duration) Quantiles {
	if len(all) == 0 {
		return Quantiles{}
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))] }
	return Quantiles{at(0.50), at(0.99), all[len(all)-1]}
}
