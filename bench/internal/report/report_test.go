package report

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func example() *Report {
	r := New()
	r.Section("jose")
	t := r.Table("verify", "bare", Column{Name: "CPU", Unit: "µs", Digits: 1, Ratio: true}, Column{Name: "allocations"})
	// The machine was slow in round 1; a ratio of medians would be 1.5.
	for round, v := range []float64{10, 100, 12} {
		t.Add(round, "bare", "CPU", v)
		t.Add(round, "ours", "CPU", v*1.1)
	}
	t.Add(0, "peer", "CPU", 12345)
	t.Add(0, "ours", "allocations", 12)
	r.AtMost("verify.es256", t.Ratio("ours", "CPU"), 1.1)
	r.AtLeast("rate", 1.9994, 2)
	r.AtMost("absent", t.Ratio("absent", "CPU"), 1)
	return r
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	r := example()
	r.Print(&b)
	want := `
verify
        CPU, µs    × bare  allocations
  bare     12.0      1.00             
  ours     13.2      1.10           12
  peer  12,345.0  1,234.50             

target verify.es256 1.100 1.100 ok
target rate 1.999 2.000 short
target absent NaN 1.000 short
`
	if got := b.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got %s, want %s", got, want)
	}
	if r.Short() != 2 {
		t.Errorf("%d are short", r.Short())
	}
}

func TestWriteDocument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# P\n<!-- bench:verify -->\nold\n<!-- /bench -->\nx\n<!-- bench:targets-jose -->\n<!-- /bench -->\n<!-- bench:other -->\nstays\n<!-- /bench -->\n")
	for range 2 { // the second time over its own
		if err := example().WriteDocument(file, "About."); err != nil {
			t.Fatal(err)
		}
	}
	const want = `# P
<!-- bench:verify -->
|  | CPU, µs | × bare | allocations |
|---|---:|---:|---:|
| bare | 12.0 | 1.00 |  |
| ours | 13.2 | 1.10 | 12 |
| peer | 12,345.0 | 1,234.50 |  |

About.
<!-- /bench -->
x
<!-- bench:targets-jose -->
| target | measured | bound |  |
|---|---:|---:|---:|
| verify.es256 | 1.100 | ≤ 1.10 | ok |
| rate | 1.999 | ≥ 2.00 | short |
| absent | not measured | ≤ 1.00 | short |
<!-- /bench -->
<!-- bench:other -->
stays
<!-- /bench -->
`
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	for _, text := range []string{
		"no marker",
		"<!-- bench:verify -->\nnever ends",
		"<!-- bench:verify -->\n<!-- bench:targets-jose -->\n<!-- /bench -->",
	} {
		write(text)
		if err := example().WriteDocument(file, "About."); err == nil {
			t.Errorf("%q passes", text)
		}
		if got, _ := os.ReadFile(file); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestSeries(t *testing.T) {
	a, b := Series{0: 1, 1: 2, 2: 6}, Series{1: 4, 2: 3, 3: 9}
	for name, test := range map[string]struct{ got, want float64 }{
		"median":       {a.Median(), 2},
		"of two":       {Series{0: 1, 1: 2}.Median(), 1.5},
		"over":         {a.Over(b).Median(), 1.25},
		"plus":         {a.Plus(b).Median(), 7.5},
		"minus":        {a.Minus(b).Median(), 0.5},
		"over nothing": {a.Over(nil).Median(), math.NaN()},
	} {
		if test.got != test.want && !(math.IsNaN(test.got) && math.IsNaN(test.want)) {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}
}
