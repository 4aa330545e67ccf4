package authorizer

import (
	"context"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// possession is asked about a token that is valid, before anything is granted on it: may whoever sent this request use it?
// The request's method and route are e.route(), its headers e.header(name); a TOKEN event has neither. The host and the path
// are in the event's requestContext.
func (a *Authorizer) possession(_ context.Context, _ *event, r *rules, _ credentials, _ *token.Access) *refusal {
	if r.API != nil && r.Bound {
		return &refusal{reason: reasonBound, code: codeToken, detail: "this API takes sender-constrained tokens alone"}
	}
	return nil
}
