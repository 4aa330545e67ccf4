// Package iameval evaluates IAM policies as AWS documents it, so that tests can say what API Gateway does with a policy that
// an authorizer has returned, now and from its cache. It is written from the documentation alone and shares nothing with the
// code that makes policies, nor with the gateway's emulation.
//
//	p, err := iameval.Parse(answer.PolicyDocument)
//	p.Decide(iameval.Request{Action: "execute-api:Invoke", Resource: methodARN, Now: now}) == iameval.Allowed
//
// It knows what policies of API Gateway's authorizers are made of: statements with Effect, Action and Resource, and
// conditions on the time. An operator or a condition key that it does not know never matches.
package iameval

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Decision is a policy's on a request.
type Decision string

// The decisions.
const (
	Allowed      Decision = "allowed"
	ImplicitDeny Decision = "implicit deny" // nothing allows it
	ExplicitDeny Decision = "explicit deny" // a statement denies it, whatever others say
)

// Request is what is asked for.
type Request struct {
	Action   string
	Resource string
	Now      time.Time
}

// Policy is a policy document.
type Policy struct {
	statements []statement
}

type statement struct {
	Effect    string
	Action    list
	Resource  list
	Condition map[string]map[string]list
	patterns  struct{ actions, resources []*regexp.Regexp }
}

// list is a JSON string or an array of strings. Conditions may have numbers and booleans too, which stand for their text.
type list []string

func (l *list) UnmarshalJSON(data []byte) error {
	var v any
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err
	}
	values, ok := v.([]any)
	if !ok {
		values = []any{v}
	}
	*l = list{}
	for _, value := range values {
		switch value.(type) {
		case string, json.Number, bool:
			*l = append(*l, fmt.Sprint(value))
		default:
			return errors.New("iameval: a value that is neither a string nor a number nor a boolean")
		}
	}
	return nil
}

// Parse reads a policy document. It refuses members that it has no meaning for: what they would do can't be told then.
func Parse(data []byte) (*Policy, error) {
	var document struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strict(data, &document); err != nil {
		return nil, err
	}
	if document.Version != "2012-10-17" {
		return nil, fmt.Errorf("iameval: the version %q", document.Version)
	}
	raw := []json.RawMessage{document.Statement}
	if strings.HasPrefix(strings.TrimSpace(string(document.Statement)), "[") {
		if err := json.Unmarshal(document.Statement, &raw); err != nil {
			return nil, err
		}
	}
	if len(raw) == 0 || len(document.Statement) == 0 {
		return nil, errors.New("iameval: no statement")
	}
	p := &Policy{}
	for _, one := range raw {
		var wire struct {
			Sid       string
			Effect    string
			Action    list
			Resource  list
			Condition map[string]map[string]list
		}
		if err := strict(one, &wire); err != nil {
			return nil, err
		}
		s := statement{Effect: wire.Effect, Action: wire.Action, Resource: wire.Resource, Condition: wire.Condition}
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, fmt.Errorf("iameval: the effect %q", s.Effect)
		}
		if len(s.Action) == 0 || len(s.Resource) == 0 {
			return nil, errors.New("iameval: a statement without an action or a resource")
		}
		for _, action := range s.Action {
			s.patterns.actions = append(s.patterns.actions, pattern(strings.ToLower(action)))
		}
		for _, resource := range s.Resource {
			if resource != "*" && strings.Count(resource, ":") < 5 {
				return nil, fmt.Errorf("iameval: the resource %q is no ARN", resource)
			}
			if strings.Contains(resource, "${") {
				return nil, fmt.Errorf("iameval: the resource %q has a policy variable", resource)
			}
			s.patterns.resources = append(s.patterns.resources, pattern(resource))
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func strict(data []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("iameval: %w", err)
	}
	if d.More() {
		return errors.New("iameval: data after the document")
	}
	return nil
}

// pattern translates wildcards: * is any characters, slashes and colons too, or none; ? is exactly one.
func pattern(s string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(s)
	quoted = strings.ReplaceAll(quoted, `\*`, `.*`)
	quoted = strings.ReplaceAll(quoted, `\?`, `.`)
	return regexp.MustCompile(`(?s)^` + quoted + `$`)
}

// Resources are those of all statements, to be looked at.
func (p *Policy) Resources() []string {
	var all []string
	for _, s := range p.statements {
		all = append(all, s.Resource...)
	}
	return all
}

// Decide evaluates the policy: an explicit deny wins over every allow, and without an allow the answer is no.
func (p *Policy) Decide(r Request) Decision {
	decision := ImplicitDeny
	for _, s := range p.statements {
		if !s.matches(r) {
			continue
		}
		if s.Effect == "Deny" {
			return ExplicitDeny
		}
		decision = Allowed
	}
	return decision
}

func (s *statement) matches(r Request) bool {
	return anyMatch(s.patterns.actions, strings.ToLower(r.Action)) && anyMatch(s.patterns.resources, r.Resource) && s.conditionsHold(r.Now)
}

func anyMatch(patterns []*regexp.Regexp, s string) bool {
	for _, p := range patterns {
		if p.MatchString(s) {
			return true
		}
	}
	return false
}

// conditionsHold: every operator and every key must hold, by any one of a key's values.
func (s *statement) conditionsHold(now time.Time) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			holds := false
			for _, value := range values {
				holds = holds || compare(operator, key, value, now)
			}
			if !holds {
				return false
			}
		}
	}
	return true
}

// compare evaluates one condition on the time of the request. aws:CurrentTime is a date; aws:EpochTime is a date or a number of
// seconds. Dates are written as ISO 8601 or as seconds since 1970.
func compare(operator, key, value string, now time.Time) bool {
	key = strings.ToLower(key)
	if key != "aws:currenttime" && key != "aws:epochtime" {
		return false
	}
	var difference int // of now and the value
	switch {
	case strings.HasPrefix(operator, "Date"):
		at, ok := date(value)
		if !ok {
			return false
		}
		difference = now.Compare(at)
	case strings.HasPrefix(operator, "Numeric") && key == "aws:epochtime":
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return false
		}
		seconds := float64(now.Unix())
		switch {
		case seconds < n:
			difference = -1
		case seconds > n:
			difference = 1
		}
	default:
		return false
	}
	switch strings.TrimPrefix(strings.TrimPrefix(operator, "Date"), "Numeric") {
	case "LessThan":
		return difference < 0
	case "LessThanEquals":
		return difference <= 0
	case "GreaterThan":
		return difference > 0
	case "GreaterThanEquals":
		return difference >= 0
	case "Equals":
		return difference == 0
	case "NotEquals":
		return difference != 0
	}
	return false
}

func date(value string) (time.Time, bool) {
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Unix(seconds, 0), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
