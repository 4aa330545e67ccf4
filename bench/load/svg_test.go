package load

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// What is drawn is XML, says whose the lines are, and has each point within its panel, higher latencies above lower ones.
func TestDraw(t *testing.T) {
	panels := []panel{
		{"Refresh", []line{{"ours & theirs", []point{{1000, 0.0002, 0.002}, {2000, 0.00001, 5}}}}},
		{"Sign-in", []line{{"ours & theirs", nil}}},
	}
	out := draw(panels, "Median of <6> rounds.")
	d := xml.NewDecoder(bytes.NewReader(out))
	var text strings.Builder
	var lines [][]float64
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		switch e := token.(type) {
		case xml.CharData:
			text.Write(e)
		case xml.StartElement:
			if e.Name.Local != "polyline" {
				continue
			}
			var numbers []float64
			for _, n := range strings.FieldsFunc(e.Attr[0].Value, func(r rune) bool { return r == ' ' || r == ',' }) {
				v, err := strconv.ParseFloat(n, 64)
				if err != nil {
					t.Fatal(err)
				}
				numbers = append(numbers, v)
			}
			lines = append(lines, numbers)
		}
	}
	for _, want := range []string{"Refresh", "Sign-in", "ours & theirs", "p99", "10 ms", "requests a second", "Median of <6> rounds."} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if len(lines) != 2 || len(lines[0]) != 4 || len(lines[1]) != 4 {
		t.Fatalf("lines %v", lines)
	}
	p50, p99 := lines[0], lines[1]
	if p50[0] >= p50[2] || p99[1] >= p50[1] || p99[3] != top || p50[3] != height-bottom {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
}
