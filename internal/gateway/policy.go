package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// policy is an IAM policy as an authorizer returns it.
type policy struct {
	statements []statement
}

type statement struct {
	deny      bool
	actions   []string
	resources []string
	condition map[string]map[string][]string // operator, key, values
}

// verdict is a policy's on one method.
type verdict int

const (
	implicitDeny verdict = iota
	allowed
	explicitDeny
)

// parsePolicy refuses what it does not know: a member that is left out of the evaluation could be the one that denies.
func parsePolicy(data []byte) (*policy, error) {
	var w struct {
		Version   string
		ID        string `json:"Id"`
		Statement oneOrMore[json.RawMessage]
	}
	if err := strictDecode(data, &w); err != nil {
		return nil, fmt.Errorf("the policy: %w", err)
	}
	if w.Version != "2012-10-17" {
		return nil, errors.New("the policy's Version is not 2012-10-17")
	}
	if len(w.Statement) == 0 {
		return nil, errors.New("the policy has no Statement")
	}
	p := &policy{}
	for _, raw := range w.Statement {
		s, err := parseStatement(raw)
		if err != nil {
			return nil, fmt.Errorf("the policy's statement: %w", err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func parseStatement(data []byte) (statement, error) {
	var w struct {
		Sid       string
		Effect    string
		Action    oneOrMore[string]
		Resource  oneOrMore[string]
		Condition map[string]map[string]oneOrMore[string]
	}
	if err := strictDecode(data, &w); err != nil {
		return statement{}, err
	}
	if w.Effect != "Allow" && w.Effect != "Deny" {
		return statement{}, errors.New("its Effect is neither Allow nor Deny")
	}
	if len(w.Action) == 0 || len(w.Resource) == 0 {
		return statement{}, errors.New("it has no Action or no Resource")
	}
	s := statement{deny: w.Effect == "Deny", actions: w.Action, resources: w.Resource}
	for _, resource := range s.resources {
		if strings.Contains(resource, "${") {
			return statement{}, errors.New("policy variables are not emulated")
		}
		if resource != "*" && len(strings.SplitN(resource, ":", 6)) != 6 {
			return statement{}, errors.New("a Resource is neither * nor an ARN")
		}
	}
	if len(w.Condition) > 0 {
		s.condition = map[string]map[string][]string{}
		for operator, keys := range w.Condition {
			s.condition[operator] = map[string][]string{}
			for key, values := range keys {
				s.condition[operator][key] = values
			}
		}
	}
	return s, nil
}

// oneOrMore is a JSON array, or one value that stands for an array of it.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]T)(o))
	}
	if string(data) == "null" {
		return errors.New("null where a value is expected")
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*o = oneOrMore[T]{one}
	return nil
}

// evaluate is IAM's logic: a statement that denies outweighs all that allow, and without any the answer is no.
func (p *policy) evaluate(arn string, now time.Time) verdict {
	v := implicitDeny
	for _, s := range p.statements {
		if !s.covers(arn) {
			continue
		}
		holds, known := s.holds(now)
		switch {
		case s.deny && (holds || !known): // what can't be judged must not let a request through
			return explicitDeny
		case !s.deny && holds && known:
			v = allowed
		}
	}
	return v
}

func (s *statement) covers(arn string) bool {
	action := func(pattern string) bool {
		return wildcard(strings.ToLower(pattern), "execute-api:invoke") // actions are compared without regard to case
	}
	resource := func(pattern string) bool { return matchARN(pattern, arn) }
	return slices.ContainsFunc(s.actions, action) && slices.ContainsFunc(s.resources, resource)
}

// holds evaluates the conditions: all operators and keys must hold, any value of a key suffices. known is false where one is
// not emulated.
func (s *statement) holds(now time.Time) (holds, known bool) {
	holds, known = true, true
	for operator, keys := range s.condition {
		compare := dateOperators[operator]
		for key, values := range keys {
			if compare == nil || !strings.EqualFold(key, "aws:CurrentTime") {
				known = false
				continue
			}
			any := false
			for _, value := range values {
				at, err := time.Parse(time.RFC3339, value)
				if err != nil {
					known = false
					continue
				}
				any = any || compare(now, at)
			}
			holds = holds && any
		}
	}
	return holds, known
}

var dateOperators = map[string]func(now, at time.Time) bool{
	"DateLessThan":    func(now, at time.Time) bool { return now.Before(at) },
	"DateGreaterThan": func(now, at time.Time) bool { return now.After(at) },
}

// matchARN compares the six parts of an ARN one by one: no wildcard crosses a colon between them. Within a part, slashes are
// characters as any other.
func matchARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	patterns, parts := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	if len(patterns) != 6 || len(parts) != 6 {
		return false
	}
	for i := range parts {
		if !wildcard(patterns[i], parts[i]) {
			return false
		}
	}
	return true
}

// wildcard matches * (any characters, or none) and ? (one character). It backtracks to the last star only, so that no
// pattern takes longer than the product of the lengths.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
