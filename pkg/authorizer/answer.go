package authorizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// policyResponse is the answer that carries an IAM policy: all kinds of API take it.
type policyResponse struct {
	PrincipalID string         `json:"principalId"`
	Policy      policyDocument `json:"policyDocument"`
	Context     any            `json:"context"`
}

// simpleResponse is the other one that HTTP APIs with payload format 2.0 take.
type simpleResponse struct {
	IsAuthorized bool `json:"isAuthorized"`
	Context      any  `json:"context"`
}

type policyDocument struct {
	Version   string       `json:"Version"`
	Statement [1]statement `json:"Statement"`
}

type statement struct {
	Effect    string     `json:"Effect"`
	Action    string     `json:"Action"`
	Resource  []string   `json:"Resource"`
	Condition *condition `json:"Condition,omitempty"`
}

type condition struct {
	DateLessThan struct {
		CurrentTime string `json:"aws:CurrentTime"`
	} `json:"DateLessThan"`
}

// allow is a policy that lists what may be called, until the token's end, say: a cached policy would outlive it otherwise.
// aws:CurrentTime is a documented condition key of API Gateway's policies.
func allow(until time.Time, resources []string) policyDocument {
	c := &condition{}
	c.DateLessThan.CurrentTime = until.UTC().Format(time.RFC3339)
	return policyDocument{"2012-10-17", [1]statement{{Effect: "Allow", Action: "execute-api:Invoke", Resource: resources, Condition: c}}}
}

// deny is a policy that denies all of the stage: explicit, so that no other statement can outweigh it, and of everything, so
// that no spelling of a path gets around it.
func deny(a *arn) policyDocument {
	return policyDocument{"2012-10-17", [1]statement{{Effect: "Deny", Action: "execute-api:Invoke", Resource: []string{a.prefix + "*"}}}}
}

// denial is for access logs ($context.authorizer.reason) and gateway responses; no backend gets it.
type denial struct {
	Code   string `json:"error,omitempty"`
	Reason string `json:"reason"`
}

// principal is the policies' principalId where there is no valid token.
const principal = "unauthorized"

// refuse is the answer that lets nothing through.
func (a *Authorizer) refuse(e *event, access *token.Access, r *refusal) ([]byte, error) {
	d := denial{r.code, r.reason}
	if a.simple(e) {
		return marshal(simpleResponse{false, d})
	}
	who := principal
	if r.denied && access != nil {
		who = access.Subject
	}
	return marshal(policyResponse{who, deny(&e.arn), d})
}

// marshal writes &, < and > as they are: as escapes they would be six bytes each, and no HTML is near.
func marshal(answer any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(answer)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// permit is the answer that lets through what the resources name; a simple response names nothing. Nothing is ever left out
// of an answer to make it fit: an answer that API Gateway would not take is refused.
func (a *Authorizer) permit(e *event, r *rules, access *token.Access, resources []string) ([]byte, *refusal, error) {
	c := r.extra.of(access)
	if !c.plain() {
		return nil, &refusal{reason: reasonContext, detail: "the scope or the audience is a JSON document", denied: true, ours: true}, nil
	}
	var answer any
	if a.simple(e) {
		answer = simpleResponse{true, c}
	} else {
		answer = policyResponse{access.Subject, allow(a.until(access), resources), c}
	}
	out, err := marshal(answer)
	if len(out) > MaxAnswer {
		return nil, &refusal{reason: reasonSize, detail: fmt.Sprintf("the answer would have %d bytes", len(out)), denied: true, ours: true}, nil
	}
	return out, nil, err
}

// MaxAnswer is how many bytes an answer may have, all told: routes.MaxPolicy leaves room for it. It is WebSocket APIs' bound; of the others none is documented, but policies
// were seen to be refused at some size.
const MaxAnswer = 8 << 10
