// Package growth measures what becomes of a token endpoint as it works: after millions of tokens, with many clients, and
// how long its answers take at a load that leaves it room.
package growth

import (
	"context"
	"fmt"

	"github.com/latchkey-auth/latchkey/bench/endpoint"
	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// Options are how much work that is.
type Options struct {
	report.Options
	Tokens int // how many Latchkey issues in all; its peers stop at 100,000
}

// DefaultTokens takes some half an hour.
const DefaultTokens = 10_000_000

const (
	seats       = 64
	connections = 8       // of a closed loop
	peerTokens  = 100_000 // beyond which it is known what becomes of them
	manyClients = 100_000
	refreshes   = 1_000_000 // that memory is measured over
)

// Run measures latency, and what tokens do.
func Run(ctx context.Context, r *report.Report, o Options) error {
	if o.Tokens < warmTokens {
		return fmt.Errorf("%d tokens are too few to grow by", o.Tokens)
	}
	return measure(ctx, r, o, (*growth).latency, (*growth).tokens, (*growth).memory)
}

// Clients measures what many clients do.
func Clients(ctx context.Context, r *report.Report, o report.Options) error {
	return measure(ctx, r, Options{Options: o}, (*growth).clients)
}

func measure(ctx context.Context, r *report.Report, o Options, parts ...func(*growth, context.Context) error) error {
	stand, err := rig.New(ctx, o.Options)
	if err != nil {
		return err
	}
	defer stand.Close()
	g := &growth{stand: stand, report: r, o: o}
	for _, part := range parts {
		if err := part(g, ctx); err != nil {
			return err
		}
	}
	return nil
}

func (g *growth) memory(ctx context.Context) error {
	return endpoint.Memory(ctx, g.report, g.stand, "growth-memory", min(refreshes, g.o.Tokens))
}

type growth struct {
	stand  *rig.Rig
	report *report.Report
	o      Options
}

func (g *growth) progress(format string, args ...any) {
	fmt.Fprintf(g.o.Log, "growth: "+format+"\n", args...)
}

// steps are the numbers of tokens after which a server is measured.
func steps(most int) []int {
	var all []int
	for _, n := range []int{1, 1_000, 100_000, 1_000_000} {
		if n < most {
			all = append(all, n)
		}
	}
	return append(all, most)
}
