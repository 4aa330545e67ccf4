package routefile

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Header is what a rules file that is made of an OpenAPI document says of its API.
type Header struct {
	API, Stage string
	Audiences  []string
}

// Rules writes a rules file with the document's routes, and with what has no rule as comments. The result is one that Parse
// takes, or the error is Problems of the document.
func (o *OpenAPI) Rules(h Header) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by `latchkey routes from-openapi` of %s.\n", comment(o.Name))
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "# Note: %s.\n", comment(n))
	}
	fmt.Fprintf(&b, "version: 1\napis:\n  - api: %s\n    stage: %s\n", quote(h.API), quote(h.Stage))
	if len(h.Audiences) > 0 {
		b.WriteString("    audiences:\n")
		for _, a := range h.Audiences {
			fmt.Fprintf(&b, "      - %s\n", quote(a))
		}
	}
	b.WriteString("    complete: true # these are all routes of the API\n    routes:\n")
	var places []Place // of the rules, in order
	lines := map[int]Place{}
	for _, op := range o.Operations {
		if op.Without != "" {
			fmt.Fprintf(&b, "      # %s %s.\n", comment(op.Key()), comment(op.Without))
		}
		for _, n := range op.Notes {
			fmt.Fprintf(&b, "      # %s: %s.\n", comment(op.Key()), comment(n))
		}
		if op.Without != "" {
			continue
		}
		places = append(places, op.Place)
		lines[strings.Count(b.String(), "\n")+1] = op.Place
		fmt.Fprintf(&b, "      %s: ", quoteKey(op.Key()))
		switch {
		case len(op.AnyOf) > 0:
			b.WriteString("{any: [")
			for i, alternative := range op.AnyOf {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(quote(strings.Join(alternative, " ")))
			}
			b.WriteString("]}\n")
		case len(op.AllOf) > 0:
			b.WriteString(quote(strings.Join(op.AllOf, " ")) + "\n")
		default:
			b.WriteString("[] # any valid token\n")
		}
	}
	if len(places) == 0 {
		return nil, Problems{{o.Name, Place{}, "none of its routes asks for an access token, so there are no rules to write"}}
	}
	data := []byte(b.String())
	// What the rules can't be made of is wrong in the document, so its places are shown.
	if _, err := Parse(o.Name, data); err != nil {
		var problems Problems
		if !errors.As(err, &problems) {
			return nil, err
		}
		for i := range problems {
			problems[i].Place = lines[problems[i].Line]
		}
		return nil, problems
	}
	return data, nil
}

var (
	plainPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*$`)
	keyPattern   = regexp.MustCompile(`^([A-Z]+ /[A-Za-z0-9_./{}+-]*|\$default)$`)
	wordPattern  = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)
)

// quote writes text as YAML, in quotes where it needs them.
func quote(s string) string {
	for _, word := range strings.Split(s, " ") {
		if !plainPattern.MatchString(word) || wordPattern.MatchString(s) {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}

func quoteKey(s string) string {
	if keyPattern.MatchString(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// comment makes text that others wrote safe for a comment's one line.
func comment(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}
