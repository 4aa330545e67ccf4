package growth

import (
	"context"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

const (
	load     = 0.7 // of what a server can do at most
	short    = time.Second
	steady   = 4 * time.Second
	capacity = "capacity, req/s"
	median   = "p50"
	slow     = "p99"
	own      = "p99 of the generator itself"
)

// latency measures how long answers take at 70 % of what each server can do, requests being due by a schedule.
func (g *growth) latency(ctx context.Context) error {
	type subject struct {
		row  string
		s    *rig.Server
		kind generate.Kind
	}
	hello, err := g.stand.Start(ctx, rig.Hello())
	if err != nil {
		return err
	}
	defer hello.Close()
	ours, err := g.stand.Start(ctx, rig.Latchkey(seats))
	if err != nil {
		return err
	}
	defer ours.Close()
	micros := func(name string, ratio bool) report.Column {
		return report.Column{Name: name, Unit: "µs", Ratio: ratio}
	}
	table := g.report.Table("growth-latency", hello.Name, report.Column{Name: capacity}, micros(median, true), micros(slow, true), micros(own, false))
	for round := range g.o.Rounds {
		g.progress("latency, round %d of %d", round+1, g.o.Rounds)
		for _, t := range []subject{{hello.Name, hello, generate.Refresh}, {"latchkey, refresh", ours, generate.Refresh}, {"latchkey, sign-in", ours, generate.Token}} {
			sample, err := t.s.Run(ctx, generate.Job{Kind: t.kind, Connections: seats / 2, Duration: short})
			if err != nil {
				return err
			}
			most := sample.Rate()
			sample, err = t.s.Run(ctx, generate.Job{Kind: t.kind, Connections: seats, Rate: load * most, Duration: steady})
			if err != nil {
				return err
			}
			table.Add(round, t.row, capacity, most)
			for column, d := range map[string]time.Duration{median: sample.Latency.P50, slow: sample.Latency.P99, own: sample.Late.P99} {
				table.Add(round, t.row, column, float64(d)/float64(time.Microsecond))
			}
		}
	}
	return nil
}
