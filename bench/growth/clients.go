package growth

import (
	"context"
	"fmt"

	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// clients measures servers of few and of many clients in turn; each client asks as often as any other. More than 10,000
// records are not remembered: with 100,000 clients nine sign-ins in ten read the store.
func (g *growth) clients(ctx context.Context) error {
	var servers []*rig.Server
	var rows []string
	for _, n := range []int{10, 1000, manyClients} {
		g.progress("a server with %d clients", n)
		s, err := g.stand.Start(ctx, rig.LatchkeyOf(n))
		if err != nil {
			return err
		}
		defer s.Close()
		servers, rows = append(servers, s), append(rows, fmt.Sprintf("%d clients", n))
	}
	columns := []report.Column{}
	for _, k := range kinds {
		columns = append(columns, report.Column{Name: perSecond(k), Ratio: true})
	}
	columns = append(columns, report.Column{Name: inMemory, Unit: "MB", Digits: 1})
	table := g.report.Table("growth-clients", rows[0], columns...)
	for round := range g.o.Rounds {
		for _, k := range kinds {
			samples, err := rig.Turns(ctx, servers, k, connections, round)
			if err != nil {
				return err
			}
			for i, sample := range samples {
				table.Add(round, rows[i], perSecond(k), sample.Rate())
			}
		}
	}
	for i, s := range servers {
		mb, err := s.Memory()
		if err != nil {
			return err
		}
		table.Add(0, rows[i], inMemory, mb)
	}
	for _, k := range kinds {
		g.report.AtLeast("growth.clients."+string(k), table.Ratio(rows[len(rows)-1], perSecond(k)), 0.9)
	}
	return nil
}
