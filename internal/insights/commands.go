package insights

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// named reads a value and what it is to be called.
func (p *parser) named() (expression, string, error) {
	e, name, err := p.value()
	if err == nil && p.keyword("as") {
		name, err = p.word()
	}
	return e, name, err
}

func (p *parser) fields(rows []Event) (out []Event, names []string, err error) {
	out = make([]Event, len(rows))
	for i, row := range rows {
		out[i] = maps.Clone(row)
	}
	for {
		value, name, err := p.named()
		if err != nil {
			return nil, nil, err
		}
		names = append(names, name)
		for i, row := range rows {
			if v := value(row); v != nil {
				out[i][name] = v
			}
		}
		if !p.take(",") {
			return out, names, nil
		}
	}
}

func (p *parser) filter(rows []Event) ([]Event, error) {
	c, err := p.or()
	if err != nil {
		return nil, err
	}
	var kept []Event
	for _, row := range rows {
		if c(row) {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

// parse reads parse FIELD "text * text" as NAME, …: each * is a name's.
func (p *parser) parse(rows []Event) ([]Event, error) {
	field, err := p.word()
	if err != nil {
		return nil, err
	}
	glob, err := p.string()
	if err != nil {
		return nil, err
	}
	if !p.keyword("as") {
		return nil, errors.New("parse: names are expected")
	}
	var names []string
	for {
		name, err := p.word()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		if !p.take(",") {
			break
		}
	}
	parts := strings.Split(glob, "*")
	if len(parts) != len(names)+1 {
		return nil, fmt.Errorf("parse: %d names for %d wildcards", len(names), len(parts)-1)
	}
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	pattern := strings.Join(parts, "(.*?)")
	if strings.HasSuffix(glob, "*") {
		pattern += "$"
	}
	r, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	out := make([]Event, len(rows))
	for i, row := range rows {
		out[i] = maps.Clone(row)
		if m := r.FindStringSubmatch(text(row[field])); m != nil {
			for j, name := range names {
				out[i][name] = m[j+1]
			}
		}
	}
	return out, nil
}

func (p *parser) sort(rows []Event) ([]Event, error) {
	type by struct {
		name string
		sign int
	}
	var order []by
	for {
		name, err := p.word()
		if err != nil {
			return nil, err
		}
		b := by{name, 1}
		if p.keyword("desc") {
			b.sign = -1
		} else {
			p.keyword("asc")
		}
		order = append(order, b)
		if !p.take(",") {
			break
		}
	}
	sorted := slices.Clone(rows)
	slices.SortStableFunc(sorted, func(a, b Event) int {
		for _, by := range order {
			if c := compare(a[by.name], b[by.name]); c != 0 {
				return c * by.sign
			}
		}
		return 0
	})
	return sorted, nil
}

// aggregate is one of stats, over the events of a group.
type aggregate struct {
	name string
	of   func(group []Event) any
}

func (p *parser) stats(rows []Event) (out []Event, columns []string, err error) {
	var aggregates []aggregate
	for {
		a, err := p.aggregate()
		if err != nil {
			return nil, nil, err
		}
		aggregates = append(aggregates, a)
		if !p.take(",") {
			break
		}
	}
	var keys []expression
	if p.keyword("by") {
		for {
			value, name, err := p.named()
			if err != nil {
				return nil, nil, err
			}
			keys, columns = append(keys, value), append(columns, name)
			if !p.take(",") {
				break
			}
		}
	}
	groups := map[string][]Event{}
	var order []string
	for _, row := range rows {
		id := ""
		for _, k := range keys {
			id += text(k(row)) + "\x00"
		}
		if groups[id] == nil {
			order = append(order, id)
		}
		groups[id] = append(groups[id], row)
	}
	for _, id := range order {
		group := groups[id]
		row := Event{}
		for i, k := range keys {
			if v := k(group[0]); v != nil {
				row[columns[i]] = v
			}
		}
		for _, a := range aggregates {
			if v := a.of(group); v != nil {
				row[a.name] = v
			}
		}
		out = append(out, row)
	}
	for _, a := range aggregates {
		columns = append(columns, a.name)
	}
	return out, columns, nil
}

func (p *parser) aggregate() (a aggregate, err error) {
	function, err := p.word()
	if err != nil {
		return a, err
	}
	if err := p.expect("("); err != nil {
		return a, err
	}
	var of func(values []any, group []Event) any
	value, percent := expression(func(Event) any { return 1.0 }), 0.0
	if function != "count" || !p.take("*") {
		if value, _, err = p.value(); err != nil {
			return a, err
		}
		if function == "pct" {
			if err = p.expect(","); err == nil {
				percent, err = p.number()
			}
		}
	}
	if err == nil {
		err = p.expect(")")
	}
	if err == nil && !p.keyword("as") {
		err = fmt.Errorf("%s(…) has no name: say as what", function)
	}
	if err != nil {
		return a, err
	}
	if a.name, err = p.word(); err != nil {
		return a, err
	}
	switch function {
	case "count":
		of = func(values []any, _ []Event) any { return float64(len(values)) }
	case "count_distinct":
		of = distinct
	case "sum", "avg", "min", "max", "pct":
		of = func(values []any, _ []Event) any { return ofNumbers(function, percent, values) }
	case "latest", "earliest":
		of = func(_ []any, group []Event) any { return byTime(function == "latest", value, group) }
	default:
		return a, fmt.Errorf("function %s is not known here", function)
	}
	a.of = func(group []Event) any {
		var values []any
		for _, e := range group {
			if v := value(e); v != nil {
				values = append(values, v)
			}
		}
		return of(values, group)
	}
	return a, nil
}

func distinct(values []any, _ []Event) any {
	seen := map[string]bool{}
	for _, v := range values {
		seen[text(v)] = true
	}
	return float64(len(seen))
}

func ofNumbers(function string, percent float64, values []any) any {
	var ns []float64
	sum := 0.0
	for _, v := range values {
		if n, ok := number(v); ok {
			ns, sum = append(ns, n), sum+n
		}
	}
	if len(ns) == 0 {
		return nil
	}
	slices.Sort(ns)
	switch function {
	case "sum":
		return sum
	case "avg":
		return sum / float64(len(ns))
	case "min":
		return ns[0]
	case "max":
		return ns[len(ns)-1]
	}
	rank := int(math.Ceil(percent / 100 * float64(len(ns)))) // the nearest: that of AWS is not documented
	return ns[min(max(rank, 1), len(ns))-1]
}

// byTime is a value of the event of a group that comes last or first and has it.
func byTime(latest bool, value expression, group []Event) any {
	var found Event
	for _, e := range group {
		if value(e) == nil {
			continue
		}
		if found != nil {
			if c := compare(e[timestamp], found[timestamp]); latest && c <= 0 || !latest && c >= 0 {
				continue
			}
		}
		found = e
	}
	if found == nil {
		return nil
	}
	return value(found)
}
