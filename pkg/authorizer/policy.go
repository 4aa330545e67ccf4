package authorizer

import (
	"time"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// policyResponse is the answer that carries an IAM policy: all kinds of API take it.
type policyResponse struct {
	PrincipalID string            `json:"principalId"`
	Policy      policyDocument    `json:"policyDocument"`
	Context     map[string]string `json:"context,omitempty"`
}

// simpleResponse is the other one that HTTP APIs with payload format 2.0 take.
type simpleResponse struct {
	IsAuthorized bool              `json:"isAuthorized"`
	Context      map[string]string `json:"context,omitempty"`
}

type policyDocument struct {
	Version   string      `json:"Version"`
	Statement []statement `json:"Statement"`
}

type statement struct {
	Effect    string                       `json:"Effect"`
	Action    string                       `json:"Action"`
	Resource  []string                     `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

const invoke = "execute-api:Invoke"

func policy(s []statement) policyDocument { return policyDocument{"2012-10-17", s} }

// statements is all that a token may call on a stage of an API. It must not depend on the route that is asked for: API
// Gateway applies the answer to every route. So far a valid token may call everything there; what routes ask of a token's
// scope belongs here.
func statements(access *token.Access, a api) []statement {
	return []statement{{
		Effect: "Allow", Action: invoke, Resource: []string{a.everything()},
		// A cached policy would outlive the token otherwise. aws:CurrentTime is a documented condition key of API Gateway's
		// policies.
		Condition: map[string]map[string]string{
			"DateLessThan": {"aws:CurrentTime": access.ExpiresAt.UTC().Format(time.RFC3339)},
		},
	}}
}

// deny is explicit, so that no other statement can outweigh it.
func deny(a api) []statement {
	return []statement{{Effect: "Deny", Action: invoke, Resource: []string{a.everything()}}}
}
