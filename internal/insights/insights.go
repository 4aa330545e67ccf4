// Package insights evaluates queries of CloudWatch Logs Insights over log lines at hand, so that those which the documentation
// gives to operators are tried on what the functions write. It knows the part of the language that they use, as AWS documents it,
// and refuses all else:
//
//	fields a, b as c             filter …  (=, !=, <, <=, >, >=, in […], like, not like, and, or, not, ispresent)
//	parse a "x * y" as b         stats count(*), count, count_distinct, sum, avg, min, max, pct, latest, earliest … as a by b, bin(5m)
//	sort a desc, b               limit 20
//
// AWS itself was not asked: that its answers are the same rests on its documentation.
package insights

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Event is a log line as Logs Insights discovers its fields: members of members are joined by dots.
type Event map[string]any // string, float64 or time.Time; no nulls

// The fields that each event has, whatever its line holds.
const (
	timestamp = "@timestamp"
	message   = "@message"
)

// Read reads log lines in JSON. What is no JSON object is an event with a message alone, as Lambda's own lines in text are.
func Read(lines string) []Event {
	var events []Event
	s := bufio.NewScanner(strings.NewReader(lines))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		e := Event{message: s.Text()}
		var members map[string]any
		if json.Unmarshal(s.Bytes(), &members) == nil {
			e.flatten("", members)
		}
		if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["time"])); err == nil {
			e[timestamp] = at
		}
		events = append(events, e)
	}
	return events
}

func (e Event) flatten(prefix string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			e.flatten(strings.TrimPrefix(prefix+"."+name, "."), member)
		}
	case []any:
		for i, element := range v {
			e.flatten(prefix+"."+strconv.Itoa(i), element)
		}
	case bool:
		e[prefix] = map[bool]float64{false: 0, true: 1}[v]
	case nil:
	default:
		e[prefix] = v
	}
}

// Table is a query's result, each value as text, empty where there is none.
type Table struct {
	Columns []string
	Rows    [][]string
}

// String is the table with a line a row, values separated by bars: for tests to compare.
func (t *Table) String() string {
	var b strings.Builder
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		b.WriteString(strings.Join(row, " | ") + "\n")
	}
	return b.String()
}

// maxRows is how many there are unless limit says otherwise.
const maxRows = 10_000

// Run evaluates a query.
func Run(query string, events []Event) (*Table, error) {
	p := &parser{rest: query}
	rows := slices.Clone(events)
	// As Logs Insights has it, the latest come first.
	slices.SortStableFunc(rows, func(a, b Event) int { return compare(b[timestamp], a[timestamp]) })
	columns := []string{timestamp, message}
	named, limit := false, maxRows
	for {
		word, err := p.word()
		if err != nil {
			return nil, err
		}
		switch word {
		case "fields":
			var added []string
			if rows, added, err = p.fields(rows); named {
				added = append(columns, added...)
			}
			columns, named = added, true
		case "filter":
			rows, err = p.filter(rows)
		case "parse":
			rows, err = p.parse(rows)
		case "stats":
			rows, columns, err = p.stats(rows)
			named = true
		case "sort":
			rows, err = p.sort(rows)
		case "limit":
			var n float64
			n, err = p.number()
			limit = int(n)
		default:
			err = fmt.Errorf("command %q is not known here", word)
		}
		if err != nil {
			return nil, err
		}
		if p.end() {
			break
		}
		if err := p.expect("|"); err != nil {
			return nil, err
		}
	}
	table := &Table{Columns: columns}
	for _, row := range rows[:min(limit, len(rows))] {
		texts := make([]string, len(columns))
		for i, name := range columns {
			texts[i] = text(row[name])
		}
		table.Rows = append(table.Rows, texts)
	}
	return table, nil
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05.000")
	default:
		return fmt.Sprint(v)
	}
}

// compare orders numbers as such, also those in strings, and all else as text; what is absent comes first.
func compare(a, b any) int {
	x, okX := number(a)
	y, okY := number(b)
	switch {
	case a == nil || b == nil:
		return cmp.Compare(presence(a), presence(b))
	case okX && okY:
		return cmp.Compare(x, y)
	}
	return strings.Compare(text(a), text(b))
}

func presence(v any) int {
	if v == nil {
		return 0
	}
	return 1
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case time.Time:
		return float64(v.UnixNano()), true
	case string:
		n, err := strconv.ParseFloat(v, 64)
		return n, err == nil
	}
	return 0, false
}
