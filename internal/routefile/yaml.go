package routefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxBytes bounds the files that are read.
const maxBytes = 4 << 20

// Place is where in a file something stands, counted from 1. Zero means the file as a whole.
type Place struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

func at(n *yaml.Node) Place { return Place{n.Line, n.Column} }

// Problem is something in a file that its author should look at.
type Problem struct {
	File string `json:"file"`
	Place
	Text string `json:"text"`
}

func (p Problem) String() string {
	switch {
	case p.Line == 0:
		return fmt.Sprintf("%s: %s", p.File, p.Text)
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems is the error of a file that can't be used: one or more problems, in the file's order.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// reader reads one file and gathers what is wrong with it.
type reader struct {
	file     string
	problems Problems
}

// maxProblems is how many are gathered: after these, people start again.
const maxProblems = 50

func (r *reader) bad(p Place, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{r.file, p, fmt.Sprintf(format, args...)})
	}
}

// load reads the one document of a file, nil where it can't be. JSON is YAML too. What makes YAML say something else than it
// seems to is refused: anchors, aliases and merges, tags, repeated keys, several documents.
func (r *reader) load(data []byte) *yaml.Node {
	if len(data) > maxBytes {
		r.bad(Place{}, "the file has %d bytes, and may have %d", len(data), maxBytes)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		r.bad(Place{}, "the file is empty")
		return nil
	} else if err != nil {
		r.badYAML(err)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		r.bad(at(&second), "a second document begins here: a file has one")
		return nil
	case !errors.Is(err, io.EOF):
		r.badYAML(err)
		return nil
	}
	if len(document.Content) != 1 {
		r.bad(Place{}, "the file is empty")
		return nil
	}
	if r.strict(document.Content[0]); len(r.problems) > 0 {
		return nil
	}
	return document.Content[0]
}

func (r *reader) badYAML(err error) {
	var syntax *yaml.LoadError
	if errors.As(err, &syntax) {
		text := syntax.Message
		if strings.Contains(text, "alphabetic or numeric") {
			text += " (a value that begins with * or & stands in quotes)"
		}
		r.bad(Place{syntax.Mark.Line, syntax.Mark.Column}, "%s", text)
		return
	}
	r.bad(Place{}, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
}

func (r *reader) strict(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		r.bad(at(n), "*%s is an alias: write out what it stands for (and * in quotes)", n.Value)
		return
	case n.Anchor != "":
		r.bad(at(n), "&%s is an anchor: aliases aren't followed", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		r.bad(at(n), "%s is a tag: values are taken as they are", n.Tag)
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			switch before := seen[key.Value]; {
			case key.Kind != yaml.ScalarNode:
				r.bad(at(key), "a key must be text")
			case key.Tag == "!!merge":
				r.bad(at(key), "<< is a merge: write out what it stands for")
			case before != nil:
				r.bad(at(key), "%s was there before, in line %d", key.Value, before.Line)
			default:
				seen[key.Value] = key
			}
		}
	}
	for _, child := range n.Content {
		r.strict(child)
	}
}

// kind says what a node is, in words.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "empty"
	case n.Tag == "!!bool":
		return "true or false (quote it if it is text)"
	case n.Tag == "!!int", n.Tag == "!!float":
		return "a number (quote it if it is text)"
	case n.Tag == "!!str":
		return "text"
	}
	return "of another kind (quote it if it is text)"
}

// text reads text that isn't empty.
func (r *reader) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		r.bad(at(n), "%s must be text, and is %s", what, kind(n))
		return "", false
	}
	if n.Value == "" {
		r.bad(at(n), "%s is empty", what)
		return "", false
	}
	return n.Value, true
}

func (r *reader) bool(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
		r.bad(at(n), "%s must be true or false", what)
	}
	return n.Value == "true"
}

// list reads a list of texts.
func (r *reader) list(n *yaml.Node, what string) []string {
	if n.Kind != yaml.SequenceNode {
		r.bad(at(n), "%s must be a list, and is %s", what, kind(n))
		return nil
	}
	var out []string
	for _, item := range n.Content {
		if s, ok := r.text(item, "each of "+what); ok {
			out = append(out, s)
		}
	}
	return out
}

// pair is a key of a mapping and its value.
type pair struct{ key, value *yaml.Node }

// pairs reads a mapping in the file's order; nil where it is none.
func (r *reader) pairs(n *yaml.Node, what string) []pair {
	if n.Kind != yaml.MappingNode {
		r.bad(at(n), "%s must be a mapping, and is %s", what, kind(n))
		return nil
	}
	out := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, pair{n.Content[i], n.Content[i+1]})
	}
	return out
}

// fields reads a mapping that has no other keys than these.
func (r *reader) fields(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
next:
	for _, p := range r.pairs(n, what) {
		for _, k := range known {
			if p.key.Value == k {
				out[k] = p.value
				continue next
			}
		}
		r.bad(at(p.key), "%s has no %q: it may have %s", what, p.key.Value, strings.Join(known, ", "))
	}
	return out
}
