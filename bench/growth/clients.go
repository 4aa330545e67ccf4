package growth

import (
	"context"
	"fmt"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// clients measures servers of few and of many clients in turn; each client asks as often as any other. Refreshes have servers
// of their own, as on Lambda: they need no record. Of records, at most 10,000 are remembered: with 100,000 clients nine
// sign-ins in ten read the store.
func (g *growth) clients(ctx context.Context) error {
	servers := make(map[generate.Kind][]*rig.Server)
	var rows []string
	for _, n := range []int{10, 1000, manyClients} {
		g.progress("servers with %d clients", n)
		rows = append(rows, fmt.Sprintf("%d clients", n))
		for _, k := range kinds {
			s, err := g.stand.Start(ctx, rig.LatchkeyOf(n))
			if err != nil {
				return err
			}
			defer s.Close()
			servers[k] = append(servers[k], s)
		}
	}
	columns := []report.Column{}
	for _, k := range kinds {
		columns = append(columns, report.Column{Name: perSecond(k), Ratio: true})
	}
	table := g.report.Table("growth-clients", rows[0], columns...)
	for round := range g.o.Rounds {
		for _, k := range kinds {
			samples, err := rig.Turns(ctx, servers[k], k, connections, round)
			if err != nil {
				return err
			}
			for i, sample := range samples {
				table.Add(round, rows[i], perSecond(k), sample.Rate())
			}
		}
	}
	for _, k := range kinds {
		g.report.AtLeast("growth.clients."+string(k), table.Ratio(rows[len(rows)-1], perSecond(k)), 0.9)
	}
	return nil
}
