package authorizer

import (
	"fmt"
	"strconv"
	"time"

	"github.com/latchkey-auth/latchkey/internal/appendjson"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// The answers are appended to a buffer: those by encoding/json would cost as much as all else that a known token does.

// An answer is either of two forms; both end with a context.
//
//	{"principalId":…,"policyDocument":…,"context":…}    an IAM policy: all kinds of API take it
//	{"isAuthorized":…,"context":…}                      a simple response: HTTP APIs with payload format 2.0 take it too

func appendSimple(out []byte, authorized bool) []byte {
	out = append(out, `{"isAuthorized":`...)
	out = strconv.AppendBool(out, authorized)
	return append(out, `,"context":`...)
}

// appendPolicy appends a policy of one statement, and what stands around it.
func appendPolicy(out []byte, principal, effect string, resources []string, until time.Time) []byte {
	out = appendjson.String(append(out, `{"principalId":`...), principal)
	out = appendjson.String(append(out, `,"policyDocument":{"Version":"2012-10-17","Statement":[{"Effect":`...), effect)
	out = append(out, `,"Action":"execute-api:Invoke","Resource":[`...)
	for i, resource := range resources {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendjson.String(out, resource)
	}
	out = append(out, ']')
	if !until.IsZero() {
		out = append(out, `,"Condition":{"DateLessThan":{"aws:CurrentTime":"`...)
		out = until.UTC().AppendFormat(out, time.RFC3339)
		out = append(out, `"}}`...)
	}
	return append(out, `}]},"context":`...)
}

// appendAllow lists what may be called, until the token's end, say: a cached policy would outlive it otherwise.
// aws:CurrentTime is a documented condition key of API Gateway's policies.
func appendAllow(out []byte, principal string, resources []string, until time.Time) []byte {
	return appendPolicy(out, principal, "Allow", resources, until)
}

// appendDeny denies all of the stage: explicitly, so that no other statement can outweigh it, and everything, so that no
// spelling of a path gets around it.
func appendDeny(out []byte, principal string, a *arn) []byte {
	return appendPolicy(out, principal, "Deny", []string{a.prefix + "*"}, time.Time{})
}

// appendDenial appends the context that is for access logs ($context.authorizer.reason) and gateway responses; no backend gets
// it.
func appendDenial(out []byte, r *refusal) []byte {
	out = append(out, '{')
	if r.code != "" {
		out = append(appendjson.String(append(out, `"error":`...), r.code), ',')
	}
	return append(appendjson.String(append(out, `"reason":`...), r.reason), '}')
}

// nobody is the policies' principalId where there is no valid token.
const nobody = "unauthorized"

// refuse is the answer that lets nothing through.
func (a *Authorizer) refuse(e *event, access *token.Access, r *refusal) []byte {
	out := make([]byte, 0, 512)
	if a.simple(e) {
		out = appendSimple(out, false)
	} else {
		who := nobody
		if r.denied && access != nil {
			who = access.Subject
		}
		out = appendDeny(out, who, &e.arn)
	}
	return append(appendDenial(out, r), '}')
}

// permit is the answer that lets through what the resources name; a simple response names nothing. Nothing is ever left out
// of an answer to make it fit: an answer that API Gateway would not take is refused.
func (a *Authorizer) permit(e *event, r *rules, access *token.Access, resources []string) ([]byte, *refusal) {
	if !plain(access.Scope.String()) || r.extra.audience && !plain(audience(access)) {
		return nil, &refusal{reason: reasonContext, detail: "the scope or the audience is a JSON document", denied: true, ours: true}
	}
	out := make([]byte, 0, 1024)
	if a.simple(e) {
		out = appendSimple(out, true)
	} else {
		out = appendAllow(out, access.Subject, resources, a.until(access))
	}
	out = append(r.extra.appendClaims(out, access), '}')
	if len(out) > MaxAnswer {
		return nil, &refusal{reason: reasonSize, detail: fmt.Sprintf("the answer would have %d bytes", len(out)), denied: true, ours: true}
	}
	return out, nil
}

// MaxAnswer is how many bytes an answer may have, all told: routes.MaxPolicy leaves room for it. It is WebSocket APIs' bound; of the others none is documented, but policies
// were seen to be refused at some size.
const MaxAnswer = 8 << 10
