package load

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// panel is one diagram: latency by load.
type panel struct {
	title string
	lines []line
}

type line struct {
	name   string
	points []point
}

// point has the load in requests a second and latencies in seconds.
type point struct{ load, p50, p99 float64 }

// The picture's measures, in pixels.
const (
	width, height      = 960, 470
	top, bottom        = 92, 78
	left, gap, right   = 64, 64, 24
	lowest, highest    = 1e-4, 1.0 // of the latency axis, in seconds
	textColour         = "#1f2933"
	paleColour         = "#d8dee6"
	font               = "-apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
	small, usual, head = 12, 13, 15
)

// colours are told apart by those who don't see all of them too; the last is what nobody competes with.
var colours = []string{"#0b5cad", "#d1600a", "#2f8f5b", "#8a939e"}

// draw makes an SVG of panels side by side, with axes of their own to the same scale.
func draw(panels []panel, about string) []byte {
	s := &svg{}
	s.f(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="%s" font-size="%d" fill="%s" role="img">`, width, height, font, usual, textColour)
	s.f(`<title>Latency of token endpoints by load</title>`)
	s.f(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	s.legend(panels)
	loads := axis(panels)
	w := (width - left - right - gap*(len(panels)-1)) / max(1, len(panels))
	for i, p := range panels {
		f := frame{x: float64(left + i*(w+gap)), y: top, w: float64(w), h: height - top - bottom, most: loads[len(loads)-1]}
		s.axes(f, p.title, loads)
		for j, l := range p.lines {
			s.line(f, l.points, colours[j%len(colours)])
		}
	}
	s.text(left, height-14, small, "start", about)
	s.f(`</svg>`)
	return s.Bytes()
}

// axis returns the marks of the load axis, from 0 to past all points.
func axis(panels []panel) []float64 {
	most := 0.0
	for _, p := range panels {
		for _, l := range p.lines {
			for _, q := range l.points {
				most = max(most, q.load)
			}
		}
	}
	step := 1000.0
	for _, factor := range []float64{2, 2.5, 2, 2} {
		if most/step > 6 {
			step *= factor
		}
	}
	marks := []float64{0}
	for marks[len(marks)-1] < max(most, step) {
		marks = append(marks, marks[len(marks)-1]+step)
	}
	return marks
}

// frame is where a panel's points go.
type frame struct {
	x, y, w, h float64
	most       float64 // load
}

func (f frame) loadAt(load float64) float64 { return f.x + f.w*load/f.most }

func (f frame) latencyAt(seconds float64) float64 {
	seconds = min(max(seconds, lowest), highest)
	return f.y + f.h*(1-math.Log10(seconds/lowest)/math.Log10(highest/lowest))
}

type svg struct{ bytes.Buffer }

func (s *svg) f(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s *svg) text(x, y float64, size int, anchor, text string) {
	s.f(`<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s">%s</text>`, x, y, size, anchor, escape(text))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes all
	return b.String()
}

// legend says which colour is whose and which stroke is what.
func (s *svg) legend(panels []panel) {
	x := float64(left)
	entry := func(name, stroke string) {
		s.f(`<line x1="%.1f" y1="26" x2="%.1f" y2="26" %s/>`, x, x+26, stroke)
		s.text(x+33, 30.5, usual, "start", name)
		x += 33 + 7.2*float64(len([]rune(name))) + 26
	}
	if len(panels) > 0 {
		for i, l := range panels[0].lines {
			entry(l.name, fmt.Sprintf(`stroke="%s" stroke-width="3"`, colours[i%len(colours)]))
		}
	}
	entry("p99", fmt.Sprintf(`stroke="%s" stroke-width="2"`, textColour))
	entry("p50", fmt.Sprintf(`stroke="%s" stroke-width="1.5" stroke-dasharray="5 4"`, textColour))
}

// latencies are the marks of that axis.
var latencies = []struct {
	seconds float64
	name    string
}{{1e-4, "0.1 ms"}, {1e-3, "1 ms"}, {1e-2, "10 ms"}, {1e-1, "100 ms"}, {1, "1 s"}}

func (s *svg) axes(f frame, title string, loads []float64) {
	s.text(f.x, f.y-18, head, "start", title)
	s.text(f.x+f.w, f.y-18, small, "end", "latency, logarithmic")
	for _, l := range latencies {
		y := f.latencyAt(l.seconds)
		s.f(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, f.x, y, f.x+f.w, y, paleColour)
		s.text(f.x-8, y+4, small, "end", l.name)
	}
	for _, load := range loads {
		x := f.loadAt(load)
		s.f(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, x, f.y+f.h, x, f.y+f.h+5, textColour)
		s.text(x, f.y+f.h+20, small, "middle", thousands(load))
	}
	s.f(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, f.x, f.y+f.h, f.x+f.w, f.y+f.h, textColour)
	s.text(f.x+f.w/2, f.y+f.h+38, small, "middle", "requests a second")
}

// thousands writes 12000 as 12k.
func thousands(v float64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%gk", v/1000)
}

func (s *svg) line(f frame, points []point, colour string) {
	for _, curve := range []struct {
		of     func(point) float64
		stroke string
	}{
		{func(p point) float64 { return p.p50 }, `stroke-width="1.5" stroke-dasharray="5 4"`},
		{func(p point) float64 { return p.p99 }, `stroke-width="2.5" stroke-linejoin="round"`},
	} {
		var at []string
		for _, p := range points {
			at = append(at, fmt.Sprintf("%.1f,%.1f", f.loadAt(p.load), f.latencyAt(curve.of(p))))
		}
		if len(at) > 0 {
			s.f(`<polyline points="%s" fill="none" stroke="%s" %s/>`, strings.Join(at, " "), colour, curve.stroke)
		}
	}
}
