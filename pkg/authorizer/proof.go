package authorizer

import (
	"context"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// possession is asked about a token that is valid, before any answer is made of it: may whoever sent this request use it? The
// request's method is e.method(), its headers e.header(name); a TOKEN event has neither.
func (a *Authorizer) possession(_ context.Context, _ *event, _ credentials, _ *token.Access) *refusal {
	return nil
}
