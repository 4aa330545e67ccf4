// Package report collects what benchmarks measure, round by round, and says it: as tables on standard output, as the same
// tables in a document, and last as one line a target.
//
//	t := r.Table("verify-es256", "bare", report.Column{Name: "CPU", Unit: "µs", Digits: 1, Ratio: true})
//	for round := range o.Rounds {
//		t.Add(round, "bare", "CPU", 60.2)
//		t.Add(round, "latchkey", "CPU", 62.5)
//	}
//	r.AtMost("verify.es256", t.Ratio("latchkey", "CPU"), 1.08)
//
// A ratio is taken within each round, between values measured moments apart, and then the median of the rounds' ratios: a
// machine that is slow for a while is slow for both.
package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Options are what every section of the benchmarks is run with.
type Options struct {
	Rounds int       // how often everything is measured; a median of fewer than 6 is worth little
	Root   string    // the repository
	Log    io.Writer // progress
}

// Series is what was measured of one thing, by round.
type Series map[int]float64

// Over divides by another series, round by round. Rounds that either lacks are left out.
func (s Series) Over(o Series) Series { return s.with(o, func(a, b float64) float64 { return a / b }) }

// Plus adds another series, round by round.
func (s Series) Plus(o Series) Series { return s.with(o, func(a, b float64) float64 { return a + b }) }

// Minus subtracts another series, round by round.
func (s Series) Minus(o Series) Series { return s.with(o, func(a, b float64) float64 { return a - b }) }

// Median is that of the rounds; NaN of none.
func (s Series) Median() float64 {
	values := slices.Sorted(maps.Values(s))
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (s Series) with(o Series, f func(a, b float64) float64) Series {
	out := make(Series)
	for round, a := range s {
		if b, ok := o[round]; ok {
			out[round] = f(a, b)
		}
	}
	return out
}

// Column is one quantity of a table.
type Column struct {
	Name, Unit string // Unit may be ""
	Digits     int    // after the point
	Ratio      bool   // shows the ratio to the baseline as well, where the table has one
}

// Table is one table: rows are what is compared, columns the quantities. Rows stand in the order in which they were first
// added to.
type Table struct {
	name, baseline string
	columns        []Column
	rows           []string
	cells          map[[2]string]Series
}

// Add notes what one round measured. The column has to be one of the table's.
func (t *Table) Add(round int, row, column string, value float64) {
	if !slices.ContainsFunc(t.columns, func(c Column) bool { return c.Name == column }) {
		panic(fmt.Sprintf("report: table %s has no column %q", t.name, column))
	}
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	key := [2]string{row, column}
	if t.cells[key] == nil {
		t.cells[key] = make(Series)
	}
	t.cells[key][round] = value
}

// Series returns what was added of a row and a column; nil if nothing was.
func (t *Table) Series(row, column string) Series { return t.cells[[2]string{row, column}] }

// Ratio is the median of the rounds' ratios to the table's baseline.
func (t *Table) Ratio(row, column string) float64 {
	return t.Series(row, column).Over(t.Series(t.baseline, column)).Median()
}

// grid is the table's text, its head first. An empty cell was not measured.
func (t *Table) grid() [][]string {
	head := []string{""}
	for _, c := range t.columns {
		title := c.Name
		if c.Unit != "" {
			title += ", " + c.Unit
		}
		head = append(head, title)
		if c.Ratio && t.baseline != "" {
			head = append(head, "× "+t.baseline)
		}
	}
	grid := [][]string{head}
	for _, row := range t.rows {
		line := []string{row}
		for _, c := range t.columns {
			line = append(line, number(t.Series(row, c.Name).Median(), c.Digits))
			if c.Ratio && t.baseline != "" {
				line = append(line, number(t.Ratio(row, c.Name), 2))
			}
		}
		grid = append(grid, line)
	}
	return grid
}

// number writes thousands apart, as in 16,213.
func number(v float64, digits int) string {
	if math.IsNaN(v) {
		return ""
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	whole, fraction, _ := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction
}

// target is a bound and what was measured.
type target struct {
	section, name string
	value, bound  float64
	least         bool // the bound is the least allowed, not the most
}

// ok compares the figures as they are printed. What was not measured is short.
func (t target) ok() bool {
	value := math.Round(t.value*1000) / 1000
	if t.least {
		return value >= t.bound
	}
	return value <= t.bound
}

func (t target) verdict() string {
	if t.ok() {
		return "ok"
	}
	return "short"
}

// Report is all that one run measures. Make one with New.
type Report struct {
	section string
	tables  []*Table
	targets []target
}

// New makes an empty report.
func New() *Report { return new(Report) }

// Section says whose the following targets are: they are written into the document as the table "targets-NAME".
func (r *Report) Section(name string) { r.section = name }

// Table makes a table. Its name is the document's marker. The baseline is the row that ratios are to; "" for none.
func (r *Report) Table(name, baseline string, columns ...Column) *Table {
	if slices.ContainsFunc(r.tables, func(t *Table) bool { return t.name == name }) {
		panic(fmt.Sprintf("report: there are two tables %s", name))
	}
	t := &Table{name: name, baseline: baseline, columns: columns, cells: make(map[[2]string]Series)}
	r.tables = append(r.tables, t)
	return t
}

// AtMost is a target that a value keeps to if it is no greater than the bound. A NaN does not.
func (r *Report) AtMost(name string, value, bound float64) {
	r.targets = append(r.targets, target{r.section, name, value, bound, false})
}

// AtLeast is a target that a value keeps to if it is no less than the bound. A NaN does not.
func (r *Report) AtLeast(name string, value, bound float64) {
	r.targets = append(r.targets, target{r.section, name, value, bound, true})
}

// Short is how many targets are.
func (r *Report) Short() int {
	n := 0
	for _, t := range r.targets {
		if !t.ok() {
			n++
		}
	}
	return n
}

// Print writes the tables and then, last, the targets: "target NAME value bound ok|short".
func (r *Report) Print(w io.Writer) {
	for _, t := range r.tables {
		fmt.Fprintf(w, "\n%s\n", t.name)
		printGrid(w, t.grid())
	}
	fmt.Fprintln(w)
	for _, t := range r.targets {
		fmt.Fprintf(w, "target %s %.3f %.3f %s\n", t.name, t.value, t.bound, t.verdict())
	}
}

func printGrid(w io.Writer, grid [][]string) {
	widths := make([]int, len(grid[0]))
	for _, line := range grid {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, line := range grid {
		fmt.Fprintf(w, "  %-*s", widths[0], line[0])
		for i, cell := range line[1:] {
			fmt.Fprintf(w, "  %*s", widths[i+1], cell)
		}
		fmt.Fprintln(w)
	}
}

// targetGrid is the table of a section's targets.
func (r *Report) targetGrid(section string) [][]string {
	grid := [][]string{{"target", "measured", "bound", ""}}
	for _, t := range r.targets {
		if t.section == section {
			bound := "≤ " + number(t.bound, 2)
			if t.least {
				bound = "≥ " + number(t.bound, 2)
			}
			grid = append(grid, []string{t.name, cmp.Or(number(t.value, 3), "not measured"), bound, t.verdict()})
		}
	}
	return grid
}
