package authorizer

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Origins are the APIs that take sender-constrained tokens, and their addresses, for which DPoP proofs must be made. To list
// an API here is to say that its authorizer is asked about every request: what a token is bound to is shown by a request,
// and a cached answer would be given to a thief who shows nothing. Nil: no API takes them.
type Origins []origin

// origin is one entry.
type origin struct {
	api string // empty: every one
	url string // empty: the address that API Gateway gives each API
}

// executeAPI is the entry for that address.
const executeAPI = "execute-api"

// ParseOrigins reads the setting, of which each member is "https://api.example.com" or "execute-api", for API Gateway's own
// address of an API, either for all APIs or, after its id and "=", for one.
func ParseOrigins(list []string, allowHTTP bool) (Origins, error) {
	var origins Origins
	for _, member := range list {
		var o origin
		o.url = member
		if api, rest, ok := strings.Cut(member, "="); ok {
			o.api, o.url = api, rest
			if api == "" || strings.ContainsAny(api, "/:*?") {
				return nil, errors.New("before = must be an API's id")
			}
		}
		if o.url == executeAPI {
			o.url = ""
		} else if u, err := url.Parse(o.url); err != nil || u.Scheme != "https" && !(u.Scheme == "http" && allowHTTP) || u.Host == "" ||
			o.url != u.Scheme+"://"+u.Host {
			return nil, errors.New("each must be an https URL of a host without a path or a slash at the end, or execute-api; before it, an API's id and = if it is of one API alone")
		}
		origins = append(origins, o)
	}
	return origins, nil
}

// of returns the addresses that the event's request may have been made to: the origins of its API, each with the path that the
// client has asked for. None: this API takes no sender-constrained tokens.
func (list Origins) of(e *event) []string {
	var urls []string
	for _, o := range list {
		if o.api != "" && o.api != e.arn.api {
			continue
		}
		base := o.url
		if base == "" {
			if base = e.arn.address(); base == "" {
				continue
			}
		}
		urls = append(urls, base+e.sentPath())
		if e.kind == kindWebSocket && o.url != "" {
			urls = append(urls, base) // a domain of the API's own may have the stage at its root
		}
	}
	return urls
}

// address is the one that API Gateway gives the API, empty in a partition that is not known.
func (a *arn) address() string {
	suffix := map[string]string{"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}
	parts := strings.SplitN(a.text, ":", 5)
	domain, ok := suffix[parts[1]]
	if !ok {
		return ""
	}
	return "https://" + a.api + ".execute-api." + parts[3] + "." + domain
}

// sentPath is the path as the client has asked for it, the stage or a base path included.
func (e *event) sentPath() string {
	w := e.wire
	decoded := w.RawPath
	switch e.kind {
	case kindRequest:
		return w.Context.Path // as it was sent
	case kindWebSocket:
		return "/" + e.arn.stage // the event has none
	case kindHTTP1:
		decoded = w.Path
	}
	// HTTP APIs have decoded it. What this encodes though clients don't makes no difference to a proof's URL, except where
	// decoding has made a slash of %2F: that is another one, and is refused.
	return (&url.URL{Path: decoded}).EscapedPath()
}

// method is the request's.
func (e *event) method() string {
	switch e.kind {
	case kindHTTP2:
		return e.wire.Context.HTTPMethod
	case kindWebSocket:
		return "GET" // RFC 6455 §4.1
	}
	return e.wire.HTTPMethod
}

// certificate is the thumbprint of the certificate that the client has shown to API Gateway, empty if there is none. Headers
// that say something of certificates are the caller's own.
func (e *event) certificate() string {
	text := e.wire.Context.IdentityPEM
	if e.kind == kindHTTP2 {
		text = e.wire.Context.AuthenticationPEM
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return ""
	}
	return token.CertificateThumbprint(block.Bytes)
}

// possession is asked about a token that is valid, before anything is granted on it: may whoever sent this request use it?
// An error is an outage.
func (a *Authorizer) possession(ctx context.Context, e *event, r *rules, c credentials, access *token.Access) (*refusal, error) {
	binding := access.Confirmation
	bad := func(detail string) (*refusal, error) {
		return &refusal{reason: reasonBinding, code: codeToken, detail: detail}, nil
	}
	switch {
	case c.dpop && binding.JKT == "":
		// RFC 9449 §7.1: its client would believe that its proofs count.
		return bad("a token that is bound to no key, with the scheme DPoP")
	case !binding.Bound():
		if r.API != nil && r.Bound {
			return &refusal{reason: reasonBound, code: codeToken, detail: "this API takes sender-constrained tokens alone"}, nil
		}
		return nil, nil
	case binding.JKT != "" && !c.dpop:
		return bad("a token that is bound to a key, without the scheme DPoP") // RFC 9449 §7.2
	}
	urls := a.Origins.of(e)
	if refused := e.showsPossession(urls, binding); refused != nil {
		return refused, nil
	}
	if binding.X5T != "" && e.certificate() != binding.X5T {
		return bad("another client certificate than the one that the token is bound to, or none") // RFC 8705 §3
	}
	if binding.JKT == "" {
		return nil, nil
	}
	proof, err := a.Proofs.Verify(ctx, e.header(dpop.Header), dpop.Request{Method: e.method(), URLs: urls, AccessToken: c.token})
	if err == nil {
		err = proof.Bound(binding)
	}
	var refused *dpop.InvalidError
	switch {
	case errors.As(err, &refused):
		return &refusal{reason: string(refused.Reason), code: codeProof, detail: refused.Detail}, nil
	case err != nil:
		return nil, fmt.Errorf("verifying a DPoP proof: %w", err)
	}
	return nil, nil
}

// showsPossession refuses an event that can't show what a token is bound to, or whose answer API Gateway may keep and give to a
// request that shows nothing. HTTP APIs' events say so: without identity sources nothing is kept, and what is kept under the
// proof itself is given to nobody else. Of REST APIs' it can't be seen: see Origins, alone and until.
func (e *event) showsPossession(urls []string, binding token.Confirmation) *refusal {
	refused := &refusal{reason: reasonBinding, denied: true, ours: true}
	sources := e.wire.IdentitySource
	proofs := e.header(dpop.Header)
	switch {
	case e.kind == kindToken:
		refused.reason = reasonKind
		refused.detail = "sender-constrained tokens need an authorizer of type REQUEST: a TOKEN event shows neither a proof nor a certificate"
	case len(urls) == 0:
		refused.detail = "this API is not set up for sender-constrained tokens"
	case len(sources) > 0 && (binding.JKT == "" || len(proofs) != 1 || !slices.Contains(sources, proofs[0])):
		refused.reason = reasonIdentitySource
		refused.detail = "sender-constrained tokens need an authorizer without identity sources, or with $request.header.DPoP among them"
	default:
		return nil
	}
	return refused
}

// alone makes the answer to a request with a bound token one about this request and no other, whatever is kept of it: a proof
// is for one method and URL.
func (a *Authorizer) alone(e *event, g grant) (grant, *refusal) {
	switch {
	case g.beyond != nil:
		return g, g.beyond
	case (a.simple(e) || e.arn.route == defaultRoute) && len(e.wire.IdentitySource) > 0:
		return g, &refusal{
			reason: reasonIdentitySource, denied: true, ours: true,
			detail: "a simple response names no path, nor does $default: sender-constrained tokens need an authorizer without identity sources there",
		}
	case a.simple(e):
		return g, nil
	}
	return grant{resources: []string{e.arn.text}}, e.arn.exact()
}

// until is when a policy ends: with its token, and that of a bound token after as long as clocks may differ, so that one which
// is kept against the rules is not kept for long.
func (a *Authorizer) until(access *token.Access) time.Time {
	if soon := a.Now().Add(token.Leeway); access.Confirmation.Bound() && soon.Before(access.ExpiresAt) {
		return soon
	}
	return access.ExpiresAt
}
