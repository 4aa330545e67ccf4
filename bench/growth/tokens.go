package growth

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

var kinds = []generate.Kind{generate.Token, generate.Refresh}

const (
	warm       = 2 * time.Second // of a new server's each grant: Node.js compiles for seconds
	warmTokens = 10_000          // an old server has had the same when it has issued so many
)

// The columns of the tables.
const (
	inMemory   = "in memory"
	tokenBytes = "tokens of a sign-in"
)

func perSecond(k generate.Kind) string {
	if k == generate.Token {
		return "sign-ins/s"
	}
	return "refreshes/s"
}

func besideNew(k generate.Kind) string { return perSecond(k) + " × a new server's" }

// tokens has servers issue more and more and measures each beside another of its kind that has just begun.
func (g *growth) tokens(ctx context.Context) error {
	columns := []report.Column{}
	for _, k := range kinds {
		columns = append(columns, report.Column{Name: perSecond(k)}, report.Column{Name: besideNew(k), Digits: 2})
	}
	columns = append(columns, report.Column{Name: tokenBytes, Unit: "bytes"}, report.Column{Name: inMemory, Unit: "MB", Digits: 1})
	table := g.report.Table("growth-tokens", "", columns...)
	ours := steps(g.o.Tokens)
	for _, spec := range append([]rig.Spec{rig.Latchkey(seats)}, rig.Peers(seats)...) {
		most := ours
		if spec.Name != rig.Latchkey(seats).Name {
			most = steps(min(g.o.Tokens, peerTokens))
		}
		if err := g.issue(ctx, table, spec, most); err != nil {
			return err
		}
	}
	first, last := row(rig.Latchkey(seats), ours[0]), row(rig.Latchkey(seats), ours[len(ours)-1])
	for _, k := range kinds {
		g.report.AtLeast("growth.rps."+string(k), table.Series(last, besideNew(k)).Median(), 0.9)
	}
	g.report.AtMost("growth.bytes", table.Series(last, tokenBytes).Over(table.Series(first, tokenBytes)).Median(), 1.0)
	return nil
}

func row(spec rig.Spec, tokens int) string { return fmt.Sprintf("%s, %d tokens", spec.Name, tokens) }

// issue measures one server at each step.
func (g *growth) issue(ctx context.Context, table *report.Table, spec rig.Spec, steps []int) error {
	old, err := g.stand.Start(ctx, spec)
	if err != nil {
		return err
	}
	defer old.Close()
	issued := 0
	for _, step := range steps {
		g.progress("%s: issuing tokens until they are %d", spec.Name, step)
		sample, err := old.Run(ctx, generate.Job{Kind: generate.Token, Connections: connections, Count: max(1, step-issued)})
		if err != nil {
			return err
		}
		issued += sample.Requests
		table.Add(0, row(spec, step), tokenBytes, float64(sample.TokenBytes)/float64(sample.Requests))
		mb, err := old.Memory()
		if err != nil {
			return err
		}
		table.Add(0, row(spec, step), inMemory, mb)
		if step < warmTokens {
			continue
		}
		more, err := g.beside(ctx, table, spec, old, row(spec, step))
		if err != nil {
			return err
		}
		issued += more
	}
	return nil
}

// beside measures an old server and a new one in turn, and returns how many tokens that made of the old one.
func (g *growth) beside(ctx context.Context, table *report.Table, spec rig.Spec, old *rig.Server, row string) (int, error) {
	young, err := g.stand.Start(ctx, spec)
	if err != nil {
		return 0, err
	}
	defer young.Close()
	for _, k := range kinds {
		if _, err := young.Run(ctx, generate.Job{Kind: k, Connections: connections, Duration: warm}); err != nil {
			return 0, err
		}
	}
	issued := 0
	for round := range g.o.Rounds {
		for _, k := range kinds {
			samples, err := rig.Turns(ctx, []*rig.Server{old, young}, k, connections, round)
			if err != nil {
				return 0, err
			}
			issued += samples[0].Requests
			table.Add(round, row, perSecond(k), samples[0].Rate())
			table.Add(round, row, besideNew(k), samples[0].Rate()/samples[1].Rate())
		}
	}
	return issued, nil
}
