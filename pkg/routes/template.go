package routes

import (
	"fmt"
	"strings"
)

// segment is what stands between two slashes of a template.
type segment struct {
	kind kind
	text string // the literal, or the variable's name
}

type kind int

const (
	literal  kind = iota
	variable      // {name}: one segment of a path
	greedy        // {name+}: all the rest of it
)

// validLiteral reports whether a segment has no character that is special in a policy's resource (* ? and ${…}), and none that
// requests may write in two ways (percent-encoding).
func validLiteral(s string) bool {
	return consists(s, func(c byte) bool { return word(c) || strings.IndexByte(".~!$&'()+,;=:@", c) >= 0 }, MaxPath)
}

// parseVariable returns the name in {name} or {name+}.
func parseVariable(part string) (name string, rest, ok bool) {
	name, ok = strings.CutPrefix(part, "{")
	if ok {
		name, ok = strings.CutSuffix(name, "}")
	}
	name, rest = strings.CutSuffix(name, "+")
	return name, rest, ok && consists(name, func(c byte) bool { return word(c) || c == '.' || c == ':' }, 64)
}

// parseTemplate reads a path such as /orders/{id}. The root has one segment, which is empty.
func parseTemplate(path string) ([]segment, error) {
	switch {
	case !strings.HasPrefix(path, "/"):
		return nil, fmt.Errorf("%q is no path: those begin with /, or are $default or $connect", path)
	case len(path) > MaxPath:
		return nil, fmt.Errorf("the path has %d bytes, and may have %d", len(path), MaxPath)
	case path == "/":
		return []segment{{literal, ""}}, nil
	case strings.HasSuffix(path, "/"):
		return nil, fmt.Errorf("%q ends with a slash: API Gateway routes the path with it like that without", path)
	}
	parts := strings.Split(path[1:], "/")
	out := make([]segment, 0, len(parts))
	seen := map[string]bool{}
	for i, part := range parts {
		name, rest, ok := parseVariable(part)
		switch {
		case ok && rest && i+1 < len(parts):
			return nil, fmt.Errorf("%s in %q is not last: a variable that takes all the rest must be", part, path)
		case ok && seen[name]:
			return nil, fmt.Errorf("%q has the variable %s twice", path, name)
		case ok && rest:
			out = append(out, segment{greedy, name})
		case ok:
			seen[name] = true
			out = append(out, segment{variable, name})
		case part == "":
			return nil, fmt.Errorf("%q has two slashes in a row", path)
		case part == "." || part == "..":
			return nil, fmt.Errorf("%q has the segment %s, which clients resolve before they send it", path, part)
		case strings.ContainsAny(part, "*?"):
			return nil, fmt.Errorf("%q has a wildcard: variables are written {name}, and {name+} for all the rest", path)
		case strings.ContainsAny(part, "{}"):
			return nil, fmt.Errorf("%q has a malformed variable: a variable is a whole segment, {name} or, at the end, {name+}", path)
		case strings.Contains(part, "%"):
			return nil, fmt.Errorf("%q has a percent-encoding, which API Gateway's routes don't have", path)
		case !validLiteral(part):
			return nil, fmt.Errorf("%q has characters that the path of a route doesn't have", path)
		default:
			out = append(out, segment{literal, part})
		}
	}
	return out, nil
}

// shape is the template without the names of its variables: what API Gateway tells routes apart by.
func shape(segments []segment) string {
	var b strings.Builder
	for _, s := range segments {
		switch s.kind {
		case variable:
			b.WriteString("/{}")
		case greedy:
			b.WriteString("/{+}")
		default:
			b.WriteString("/" + s.text)
		}
	}
	return b.String()
}

// wild reports whether a policy needs a wildcard for the template.
func wild(segments []segment) bool {
	for _, s := range segments {
		if s.kind != literal {
			return true
		}
	}
	return false
}

// resource is the template as a policy's resource has it after the method.
func resource(segments []segment) string {
	var b strings.Builder
	for _, s := range segments {
		if s.kind == literal {
			b.WriteString("/" + s.text)
		} else {
			b.WriteString("/*")
		}
	}
	return b.String()
}

// HasDotSegment reports whether a decoded path has a segment . or .., as any server may see it: some take a backslash for a
// slash, and what follows a semicolon for no part of the segment.
func HasDotSegment(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return true
		}
	}
	return false
}
