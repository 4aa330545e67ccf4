// Package endpoint measures token endpoints over HTTP on this machine: Latchkey's, its peers', and what none over net/http
// can be faster than. Each server has a processor of its own, and so has who makes its load.
package endpoint

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// warm is how long each grant is asked for before the first round: Node.js compiles for seconds.
const warm = 1500 * time.Millisecond

var kinds = []generate.Kind{generate.Refresh, generate.Token}

// connections are how many ask at a time.
var connections = []int{8, 32}

// seats are as many as the most connections.
const seats = 32

// refreshes is how many the memory is measured over in a run that is to be short.
const refreshes = 100_000

// Run measures both grants, and what many refreshes take of memory.
func Run(ctx context.Context, r *report.Report, o report.Options) error {
	stand, err := rig.New(ctx, o)
	if err != nil {
		return err
	}
	defer stand.Close()
	var b bench
	if err := b.start(ctx, stand); err != nil {
		return err
	}
	b.tables(r)
	for round := range o.Rounds {
		fmt.Fprintf(o.Log, "endpoint: round %d of %d\n", round+1, o.Rounds)
		if err := b.round(ctx, round); err != nil {
			return err
		}
	}
	b.busy(o.Log)
	if err := b.memory(); err != nil {
		return err
	}
	b.targets(r)
	return Memory(ctx, r, stand, "endpoint-memory", refreshes)
}

// bench is one run.
type bench struct {
	ours, hello, limit *rig.Server
	peers, all         []*rig.Server
	of                 map[generate.Kind]*report.Table
	shares             []float64 // of its processor that each server had
}

func (b *bench) start(ctx context.Context, stand *rig.Rig) error {
	start := func(spec rig.Spec) (*rig.Server, error) {
		s, err := stand.Start(ctx, spec)
		if err != nil {
			return nil, err
		}
		b.all = append(b.all, s)
		for _, kind := range kinds {
			if _, err := s.Run(ctx, generate.Job{Kind: kind, Connections: connections[0], Duration: warm}); err != nil {
				return nil, err
			}
		}
		return s, nil
	}
	var err error
	if b.hello, err = start(rig.Hello()); err != nil {
		return err
	}
	if b.limit, err = start(rig.Limit()); err != nil {
		return err
	}
	if b.ours, err = start(rig.Latchkey(seats)); err != nil {
		return err
	}
	for _, spec := range rig.Peers(seats) {
		peer, err := start(spec)
		if err != nil {
			return err
		}
		b.peers = append(b.peers, peer)
	}
	return nil
}

func (b *bench) tables(r *report.Report) {
	b.of = make(map[generate.Kind]*report.Table)
	for _, kind := range kinds {
		columns := []report.Column{}
		for _, n := range connections {
			columns = append(columns, report.Column{Name: rate(n)})
		}
		for _, n := range connections {
			columns = append(columns, report.Column{Name: cpu(n), Unit: "µs", Digits: 1, Ratio: true})
		}
		if kind == generate.Refresh {
			columns = append(columns, report.Column{Name: memory, Unit: "MB"})
		}
		b.of[kind] = r.Table("endpoint-"+string(kind), b.limit.Name, columns...)
	}
}

// The tables' columns.
const memory = "memory at the end"

func rate(n int) string { return fmt.Sprintf("req/s, %d connections", n) }
func cpu(n int) string  { return fmt.Sprintf("CPU a request, %d", n) }

// round measures each server, another first each time.
func (b *bench) round(ctx context.Context, round int) error {
	for _, kind := range kinds {
		for _, n := range connections {
			samples, err := rig.Turns(ctx, b.all, kind, n, round)
			if err != nil {
				return err
			}
			for i, s := range b.all {
				b.of[kind].Add(round, s.Name, rate(n), samples[i].Rate())
				b.of[kind].Add(round, s.Name, cpu(n), samples[i].Micros())
				if s != b.hello { // which is faster than one processor can ask
					b.shares = append(b.shares, samples[i].Share())
				}
			}
		}
	}
	return nil
}

// busy tells whoever reads the req/s if the servers did not have their processor to themselves.
func (b *bench) busy(log io.Writer) {
	slices.Sort(b.shares)
	if median := b.shares[len(b.shares)/2]; median < 0.9 {
		fmt.Fprintf(log, "endpoint: the machine was busy: servers had %.0f %% of their processor; CPU a request holds, req/s are too low\n", 100*median)
	}
}

// memory is what each server has after all that; who answered more requests has had more to keep.
func (b *bench) memory() error {
	for _, s := range b.all {
		mb, err := s.Memory()
		if err != nil {
			return err
		}
		b.of[generate.Refresh].Add(0, s.Name, memory, mb)
	}
	return nil
}

func (b *bench) targets(r *report.Report) {
	for _, t := range []struct {
		kind generate.Kind
		rate float64 // times the best peer's, at least
		cpu  float64 // times the limit's, at most
	}{{generate.Refresh, 2.0, 1.6}, {generate.Token, 1.5, 1.7}} {
		table := b.of[t.kind]
		for _, n := range connections {
			least := math.Inf(1)
			for _, p := range b.peers {
				least = min(least, table.Series(b.ours.Name, rate(n)).Over(table.Series(p.Name, rate(n))).Median())
			}
			r.AtLeast(fmt.Sprintf("%s.rps.%d", t.kind, n), least, t.rate)
		}
		r.AtMost(string(t.kind)+".cpu", table.Ratio(b.ours.Name, cpu(connections[0])), t.cpu)
	}
}

// Memory measures what a server of ours has in memory after a thousand refreshes, and after many.
func Memory(ctx context.Context, r *report.Report, stand *rig.Rig, name string, many int) error {
	const few = 1000
	s, err := stand.Start(ctx, rig.Latchkey(seats))
	if err != nil {
		return err
	}
	defer s.Close()
	const column = "in memory"
	table := r.Table(name, "", report.Column{Name: column, Unit: "MB", Digits: 1})
	after := func(n, already int) (float64, error) {
		if _, err := s.Run(ctx, generate.Job{Kind: generate.Refresh, Connections: connections[1], Count: n - already}); err != nil {
			return 0, err
		}
		mb, err := s.Memory()
		table.Add(0, fmt.Sprintf("after %d refreshes", n), column, mb)
		return mb, err
	}
	before, err := after(few, 0)
	if err != nil {
		return err
	}
	then, err := after(many, few)
	if err != nil {
		return err
	}
	r.AtMost("refresh.memory", then-before, 10)
	return nil
}
