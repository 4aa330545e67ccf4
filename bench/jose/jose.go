// Package jose measures how tokens are verified and signed, beside the bare primitive and beside other libraries. The
// benchmarks are those of its tests, and run by themselves as well:
//
//	go test -bench . ./jose
package jose

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/latchkey-auth/latchkey/bench/internal/fixture"
	"github.com/latchkey-auth/latchkey/bench/internal/gotool"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// passes is how often a round measures everything, in turn. Each counts as a value of its own.
const passes = 10

// benchTime is short, so that what is compared is measured moments apart.
const benchTime = "25ms"

// The rows that targets are about.
const (
	bare     = "bare"
	latchkey = "Latchkey"
)

// peers are the modules by the names of the benchmarks.
var peers = map[string]string{
	"golang-jwt":        "github.com/golang-jwt/jwt/v5",
	"cristalhq":         "github.com/cristalhq/jwt/v5",
	"go-jose":           "github.com/go-jose/go-jose/v4",
	"go-oidc":           "github.com/coreos/go-oidc/v3",
	"zitadel-oidc":      "github.com/zitadel/oidc/v3",
	"jwx":               "github.com/lestrrat-go/jwx/v3",
	"go-jwt-middleware": "github.com/auth0/go-jwt-middleware/v3",
}

var algorithms = []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA}

// Run measures the Go libraries, then those of Node.js, each round.
func Run(ctx context.Context, r *report.Report, o report.Options) error {
	dir, err := os.MkdirTemp("", "bench-jose-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "jose.test")
	if _, err := gotool.Output(ctx, filepath.Join(o.Root, "bench"), nil, "go", "test", "-c", "-o", binary, "./jose"); err != nil {
		return err
	}
	// What is compared is compared only if it checks what it should.
	if _, err := gotool.Output(ctx, dir, nil, binary, "-test.count=1"); err != nil {
		return err
	}
	t, err := newTables(ctx, r, o.Root)
	if err != nil {
		return err
	}
	input, err := nodeInput()
	if err != nil {
		return err
	}
	for round := range o.Rounds {
		fmt.Fprintf(o.Log, "jose: round %d of %d\n", round+1, o.Rounds)
		out, err := gotool.Output(ctx, dir, nil, binary, "-test.run=^$", "-test.bench=.", "-test.benchtime="+benchTime, fmt.Sprintf("-passes=%d", passes))
		if err != nil {
			return err
		}
		if err := t.readGo(round, out); err != nil {
			return err
		}
		if out, err = gotool.Output(ctx, filepath.Join(o.Root, "bench", "jose"), input, "node", "verify.mjs"); err != nil {
			return err
		}
		if err := t.readNode(round, out); err != nil {
			return err
		}
	}
	t.targets(r)
	return nil
}

type tables struct {
	verify, sign, known, node *report.Table
	versions                  map[string]string
}

func newTables(ctx context.Context, r *report.Report, root string) (*tables, error) {
	var modules []string
	for _, path := range peers {
		modules = append(modules, path)
	}
	versions, err := gotool.Versions(ctx, root, modules...)
	if err != nil {
		return nil, err
	}
	t := &tables{versions: make(map[string]string)}
	for name, path := range peers {
		t.versions[name] = versions[path]
	}
	var columns, nodeColumns []report.Column
	for _, alg := range algorithms {
		cpu := report.Column{Name: string(alg), Unit: "µs", Digits: 1, Ratio: true}
		columns = append(columns, cpu, report.Column{Name: allocations(string(alg))})
		nodeColumns = append(nodeColumns, cpu)
	}
	t.verify = r.Table("verify", bare, columns...)
	t.known = r.Table("verify-known", "", report.Column{Name: "CPU", Unit: "µs", Digits: 2}, report.Column{Name: "allocations"})
	t.node = r.Table("verify-node", bare, nodeColumns...)
	t.sign = r.Table("sign", bare, columns...)
	return t, nil
}

func allocations(alg string) string { return alg + " allocations" }

// row is a benchmark's name with the version of what it measures.
func (t *tables) row(name string) string {
	if version := t.versions[name]; version != "" {
		return name + " " + version
	}
	return name
}

// BenchmarkVerify/ES256/golang-jwt#01-2: the number after # is the pass, but for the first; that after - is GOMAXPROCS.
var benchmark = regexp.MustCompile(`^Benchmark(Verify|Sign|Known)/(\w+)/([\w-]+?)(?:#(\d+))?(?:-\d+)?\s+\d+\s(.*)$`)

func (t *tables) readGo(round int, out []byte) error {
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		m := benchmark.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		found++
		values, err := metrics(m[5])
		if err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		pass, _ := strconv.Atoi(m[4])
		at, alg, row := round*passes+pass, m[2], t.row(m[3])
		cpu, allocs := values["cpu-ns/op"]/1000, values["allocs/op"]
		switch m[1] {
		case "Verify":
			t.verify.Add(at, row, alg, cpu)
			t.verify.Add(at, row, allocations(alg), allocs)
		case "Sign":
			t.sign.Add(at, row, alg, cpu)
			t.sign.Add(at, row, allocations(alg), allocs)
		case "Known":
			t.known.Add(at, row+", "+alg, "CPU", cpu)
			t.known.Add(at, row+", "+alg, "allocations", allocs)
		}
	}
	if found == 0 {
		return fmt.Errorf("no benchmark in\n%s", out)
	}
	return nil
}

// metrics reads "123 ns/op  4 allocs/op".
func metrics(s string) (map[string]float64, error) {
	fields := strings.Fields(s)
	m := make(map[string]float64)
	for i := 0; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return nil, err
		}
		m[fields[i+1]] = v
	}
	return m, nil
}

// nodeInput is what verify.mjs reads.
func nodeInput() ([]byte, error) {
	type input struct {
		Issuer   string                                  `json:"issuer"`
		Audience string                                  `json:"audience"`
		Tokens   map[keyring.Algorithm][]string          `json:"tokens"`
		Bad      map[keyring.Algorithm]map[string]string `json:"bad"`
		JWKS     map[keyring.Algorithm]json.RawMessage   `json:"jwks"`
	}
	in := input{
		Issuer: fixture.Issuer, Audience: fixture.Audience, Tokens: make(map[keyring.Algorithm][]string),
		Bad: make(map[keyring.Algorithm]map[string]string), JWKS: make(map[keyring.Algorithm]json.RawMessage),
	}
	for _, alg := range algorithms {
		s, err := fixture.NewSigner(alg)
		if err != nil {
			return nil, err
		}
		if in.Tokens[alg], err = s.Tokens(64); err != nil {
			return nil, err
		}
		if in.Bad[alg], err = s.Bad(); err != nil {
			return nil, err
		}
		in.JWKS[alg] = s.JWKS
	}
	return json.Marshal(in)
}

func (t *tables) readNode(round int, out []byte) error {
	var results []struct {
		Algorithm string  `json:"algorithm"` // "" of the cache's
		Row       string  `json:"row"`
		Pass      int     `json:"pass"`
		CPU       float64 `json:"cpu"` // µs
	}
	if err := json.Unmarshal(out, &results); err != nil {
		return fmt.Errorf("verify.mjs: %w\n%s", err, out)
	}
	for _, v := range results {
		at := round*passes + v.Pass
		if v.Algorithm == "" {
			t.known.Add(at, v.Row, "CPU", v.CPU)
		} else {
			t.node.Add(at, v.Row, v.Algorithm, v.CPU)
		}
	}
	return nil
}

func (t *tables) targets(r *report.Report) {
	more := func(table *report.Table, alg string) float64 {
		column := allocations(alg)
		return table.Series(latchkey, column).Minus(table.Series(bare, column)).Median()
	}
	for _, target := range []struct {
		alg, name string
		bound     float64
	}{{"ES256", "es256", 1.08}, {"EdDSA", "eddsa", 1.10}, {"RS256", "rs256", 1.20}} {
		r.AtMost("verify."+target.name, t.verify.Ratio(latchkey, target.alg), target.bound)
		r.AtMost("verify.allocs."+target.name, more(t.verify, target.alg), 5)
	}
	known := latchkey + ", ES256"
	r.AtMost("verify.known.us", t.known.Series(known, "CPU").Median(), 1)
	r.AtMost("verify.known.allocs", t.known.Series(known, "allocations").Median(), 0)
	r.AtMost("sign.es256", t.sign.Ratio(latchkey, "ES256"), 1.08)
}
