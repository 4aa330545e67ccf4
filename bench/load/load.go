// Package load draws how long token endpoints take to answer at the load they are given, from little to more than they can
// do: Latchkey's, two peers' and one that only says hello, for what of it is net/http's and the load's own. vegeta makes the
// requests and measures them.
package load

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// Picture is where it is drawn to, in the repository.
const Picture = "docs/images/load.svg"

const (
	seats    = 1024 // more than there are requests at a time
	step     = 1000 // requests a second
	most     = 24 * step
	duration = time.Second // at each load
	// A server keeps up with a load if it answers this share of what is asked, and 99 % of that within a time. When it twice
	// does not, it is given no more: once may be the machine's doing.
	keepsUp = 0.95
	tooLate = 200 * time.Millisecond
)

var kinds = []generate.Kind{generate.Refresh, generate.Token}

var titles = map[generate.Kind]string{generate.Refresh: "Refresh", generate.Token: "Sign-in (client_credentials)"}

// Run measures, and draws the picture.
func Run(ctx context.Context, r *report.Report, o report.Options) error {
	stand, err := rig.New(ctx, o)
	if err != nil {
		return err
	}
	defer stand.Close()
	var servers []*rig.Server
	for _, spec := range []rig.Spec{rig.Latchkey(seats), rig.Zitadel(seats), rig.Fosite(seats), rig.Hello()} {
		spec.Generator = "attack"
		s, err := stand.Start(ctx, spec)
		if err != nil {
			return err
		}
		servers = append(servers, s)
	}
	curves := newCurves()
	for round := range o.Rounds {
		for _, k := range kinds {
			fmt.Fprintf(o.Log, "load: round %d of %d, %s\n", round+1, o.Rounds, k)
			if err := climb(ctx, servers, k, round, curves); err != nil {
				return err
			}
		}
	}
	table(r, servers, curves)
	panels := make([]panel, 0, len(kinds))
	for _, k := range kinds {
		p := panel{title: titles[k]}
		for _, s := range servers {
			p.lines = append(p.lines, line{s.Name, curves.points(k, s.Name, o.Rounds)})
		}
		panels = append(panels, p)
	}
	file := filepath.Join(o.Root, Picture)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, draw(panels, report.About(o.Rounds, time.Now())), 0o644)
}

// climb gives all servers the same load in turn, then more, and leaves out those that can't keep up.
func climb(ctx context.Context, servers []*rig.Server, k generate.Kind, round int, c curves) error {
	behind := make(map[string]int) // how many times in a row
	done := 0
	for load := step; load <= most && done < len(servers); load += step {
		for _, s := range servers {
			if behind[s.Name] == 2 {
				continue
			}
			sample, err := s.Run(ctx, generate.Job{Kind: k, Connections: 1, Rate: float64(load), Duration: duration})
			if err != nil {
				return err
			}
			c.add(k, s.Name, load, round, sample)
			if sample.Rate() >= keepsUp*float64(load) && sample.Latency.P99 <= tooLate {
				behind[s.Name] = 0
				c.keeps(k, s.Name, load, round)
			} else if behind[s.Name]++; behind[s.Name] == 2 {
				done++
			}
		}
	}
	return nil
}

// curves are what was measured.
type curves struct {
	at   map[place]*latency
	most map[place]report.Series // load that was kept up with, by round; the place's is 0
}

// place is a point on a curve.
type place struct {
	kind   generate.Kind
	server string
	load   int
}

// latency is in seconds, by round.
type latency struct{ p50, p99 report.Series }

func newCurves() curves { return curves{make(map[place]*latency), make(map[place]report.Series)} }

func (c curves) keeps(k generate.Kind, server string, load, round int) {
	at := place{k, server, 0}
	if c.most[at] == nil {
		c.most[at] = report.Series{}
	}
	c.most[at][round] = float64(load)
}

func (c curves) add(k generate.Kind, server string, load, round int, s rig.Sample) {
	at := place{k, server, load}
	if c.at[at] == nil {
		c.at[at] = &latency{report.Series{}, report.Series{}}
	}
	c.at[at].p50[round], c.at[at].p99[round] = s.Latency.P50.Seconds(), s.Latency.P99.Seconds()
}

// points are the medians of a server's rounds. A round in which it could not keep up with less counts as endless; the curve
// goes on while most rounds do.
func (c curves) points(k generate.Kind, server string, rounds int) []point {
	var points []point
	for load := step; load <= most; load += step {
		l := c.at[place{k, server, load}]
		if l == nil {
			break
		}
		for round := range rounds {
			if _, ok := l.p99[round]; !ok {
				l.p50[round], l.p99[round] = math.Inf(1), math.Inf(1)
			}
		}
		if p := (point{float64(load), l.p50.Median(), l.p99.Median()}); !math.IsInf(p.p99, 1) {
			points = append(points, p)
		}
	}
	return points
}

// table says in numbers what the picture shows.
func table(r *report.Report, servers []*rig.Server, c curves) {
	const (
		keeps  = "keeps up with, req/s"
		at     = 2 * step
		median = "p50 at 2,000 req/s"
		slow   = "p99 at 2,000 req/s"
	)
	t := r.Table("load", "", report.Column{Name: keeps}, report.Column{Name: median, Unit: "µs"}, report.Column{Name: slow, Unit: "µs"})
	add := func(row, column string, values report.Series, factor float64) {
		for round, v := range values {
			t.Add(round, row, column, factor*v)
		}
	}
	for _, k := range kinds {
		for _, s := range servers {
			row := fmt.Sprintf("%s, %s", s.Name, k)
			add(row, keeps, c.most[place{k, s.Name, 0}], 1)
			if l := c.at[place{k, s.Name, at}]; l != nil {
				add(row, median, l.p50, 1e6)
				add(row, slow, l.p99, 1e6)
			}
		}
	}
}
