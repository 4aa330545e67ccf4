package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxCached bounds an authorizer's cache. API Gateway's bound is not documented.
const maxCached = 1024

// authorizer is an Authorizer with its cache.
type authorizer struct {
	Authorizer
	validation *regexp.Regexp // nil: anything

	mu    sync.Mutex
	cache map[string]cached
}

type cached struct {
	decision *decision
	at       time.Time
}

// decision is an authorizer's answer, before it is applied to a route. Exactly one of policy and simple is set.
type decision struct {
	policy    *policy
	simple    *bool
	principal string
	context   map[string]any // strings, json.Numbers and bools
}

// failure is why a request is not let through. cause is set where that is not the caller's fault.
type failure struct {
	status    int
	errorType string
	message   string
	cause     error
}

func newAuthorizer(a Authorizer, kind Kind) (*authorizer, error) {
	switch {
	case a.Function == nil:
		return nil, errors.New("it has no function")
	case a.Type != Request && a.Type != Token:
		return nil, errors.New("its type must be Request or Token")
	case a.Type == Token && kind == HTTP:
		return nil, errors.New("HTTP APIs have no type Token")
	case a.Simple && kind == REST:
		return nil, errors.New("REST APIs have no simple responses")
	case a.Payload != "" && a.Payload != "1.0" && a.Payload != "2.0" || a.Payload != "" && kind == REST:
		return nil, errors.New("the payload format must be 1.0 or 2.0, of an HTTP API")
	case a.Simple && a.Payload == "1.0":
		return nil, errors.New("payload format 1.0 has no simple responses")
	case a.Validation != "" && a.Type != Token:
		return nil, errors.New("only the type Token has a validation")
	case a.TTL < 0 || a.TTL > time.Hour:
		return nil, errors.New("the TTL must be from 0 to 1 hour")
	case len(a.IdentitySources) == 0 && (a.TTL > 0 || a.Type == Token):
		return nil, errors.New("without an identity source, it must be of type Request and its TTL 0")
	case a.Type == Token && (len(a.IdentitySources) != 1 || !strings.HasPrefix(a.IdentitySources[0], "method.request.header.")):
		return nil, errors.New("the type Token has one identity source, a header")
	}
	for _, source := range a.IdentitySources {
		if _, err := identityOf(source, kind, nil); err != nil {
			return nil, err
		}
	}
	validation, err := compileValidation(a.Validation)
	if err != nil {
		return nil, fmt.Errorf("the validation is not a regular expression: %w", err)
	}
	return &authorizer{Authorizer: a, validation: validation, cache: map[string]cached{}}, nil
}

// identityOf returns the values of an identity source. With a nil request it only says whether it knows the source.
func identityOf(source string, kind Kind, req *request) ([]string, error) {
	header, querystring := "method.request.header.", "method.request.querystring."
	if kind == HTTP {
		header, querystring = "$request.header.", "$request.querystring."
	}
	if name, ok := strings.CutPrefix(source, header); ok && name != "" {
		if req == nil {
			return nil, nil
		}
		if strings.EqualFold(name, "Host") {
			return []string{req.Host}, nil
		}
		return req.Header.Values(name), nil
	}
	if name, ok := strings.CutPrefix(source, querystring); ok && name != "" {
		if req == nil {
			return nil, nil
		}
		return query(req.URL)[name], nil
	}
	if req == nil {
		req = &request{route: &route{}}
	}
	var value string
	known := true
	switch {
	case kind == HTTP && source == "$context.routeKey":
		value = req.route.key()
	case kind == REST && source == "context.resourcePath":
		value = req.route.Path
	case kind == REST && source == "context.httpMethod", kind == HTTP && source == "$context.httpMethod":
		if req.Request != nil {
			value = req.Method
		}
	case kind == REST && source == "context.path", kind == HTTP && source == "$context.path":
		value = req.path
	default:
		known = false
	}
	if known {
		return []string{value}, nil
	}
	return nil, fmt.Errorf("the identity source %q is not emulated", source)
}

// identity returns the identity sources' values, one each: a repeated header is joined by commas, so that no value of it
// goes unseen. ok is false where one is missing or empty.
func (a *authorizer) identity(req *request, kind Kind) (values []string, ok bool) {
	for _, source := range a.IdentitySources {
		list, err := identityOf(source, kind, req)
		value := strings.Join(list, ",")
		if err != nil || value == "" {
			return nil, false
		}
		values = append(values, value)
	}
	return values, true
}

// authorize lets a request through, with what its function will be told, or returns why not.
func (g *Gateway) authorize(req *request, a *authorizer) *failure {
	unauthorized := &failure{http.StatusUnauthorized, "UnauthorizedException", "Unauthorized", nil}
	identity, ok := a.identity(req, g.api.Kind)
	if !ok || a.validation != nil && !a.validation.MatchString(identity[0]) {
		return unauthorized
	}
	key := cacheKey(identity)
	d := a.lookup(key, g.api.Now())
	start := g.api.Now()
	if d == nil {
		payload, err := g.authorizerEvent(req, a, identity)
		var out []byte
		if err == nil {
			out, err = call(req.Context(), a.Function, payload, authorizerTimeout)
		}
		if err != nil && g.api.Kind == REST && errorMessage(err) == "Unauthorized" {
			return unauthorized
		}
		if err == nil {
			d, err = g.parseDecision(a, out)
		}
		if err != nil {
			return &failure{http.StatusInternalServerError, "AuthorizerConfigurationException", "Internal Server Error", err}
		}
		a.store(key, d, g.api.Now())
	}
	switch g.apply(d, req) {
	case allowed:
	case explicitDeny:
		return g.forbidden(" with an explicit deny")
	default:
		return g.forbidden("")
	}
	req.authorizer = map[string]any{}
	for name, value := range d.context {
		req.authorizer[name] = value
		if g.api.Kind == REST { // REST APIs hand on strings only
			req.authorizer[name] = fmt.Sprint(value)
		}
	}
	if g.api.Kind == REST {
		req.authorizer["principalId"] = d.principal
		req.authorizer["integrationLatency"] = g.api.Now().Sub(start).Milliseconds()
	}
	return nil
}

// apply asks the decision about this request: a policy about its method's ARN, at this time.
func (g *Gateway) apply(d *decision, req *request) verdict {
	switch {
	case d.policy != nil:
		return d.policy.evaluate(g.arn(req), g.api.Now())
	case d.simple != nil && *d.simple:
		return allowed
	}
	return implicitDeny
}

func (g *Gateway) forbidden(how string) *failure {
	message := "Forbidden"
	if g.api.Kind == REST {
		message = "User is not authorized to access this resource" + how
	}
	return &failure{http.StatusForbidden, "AccessDeniedException", message, nil}
}

// errorMessage is the message of a function's error as Lambda reports it.
func errorMessage(err error) string {
	var e interface{ ErrorMessage() string }
	if errors.As(err, &e) {
		return e.ErrorMessage()
	}
	return err.Error()
}

// parseDecision reads an authorizer's answer; an answer in the wrong form is an error.
func (g *Gateway) parseDecision(a *authorizer, out []byte) (*decision, error) {
	return parseDecision(out, a.Simple)
}

func parseDecision(out []byte, simple bool) (*decision, error) {
	var w struct {
		PrincipalID  *string         `json:"principalId"`
		Policy       json.RawMessage `json:"policyDocument"`
		UsageKey     string          `json:"usageIdentifierKey"`
		Context      map[string]any  `json:"context"`
		IsAuthorized *bool           `json:"isAuthorized"`
	}
	if err := strictDecode(out, &w); err != nil {
		return nil, fmt.Errorf("the authorizer's answer: %w", err)
	}
	d := &decision{context: w.Context}
	for name, value := range w.Context {
		switch value.(type) {
		case string, json.Number, bool:
		default:
			return nil, fmt.Errorf("the authorizer's context has a value at %q that is not a string, number or boolean", name)
		}
	}
	if simple {
		if w.IsAuthorized == nil || w.PrincipalID != nil || w.Policy != nil {
			return nil, errors.New("the authorizer's answer is not a simple response")
		}
		d.simple = w.IsAuthorized
		return d, nil
	}
	if w.IsAuthorized != nil || w.PrincipalID == nil || *w.PrincipalID == "" || w.Policy == nil {
		return nil, errors.New("the authorizer's answer is not a policy with a principalId")
	}
	d.principal = *w.PrincipalID
	var err error
	d.policy, err = parsePolicy(w.Policy)
	return d, err
}

// strictDecode refuses members that it does not know, and data after the end.
func strictDecode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return errors.New("data after the end")
	}
	return nil
}

// cacheKey joins the values in a way in which no two lists of them are the same.
func cacheKey(identity []string) string {
	var b strings.Builder
	for _, value := range identity {
		b.WriteString(strconv.Itoa(len(value)))
		b.WriteByte(':')
		b.WriteString(value)
	}
	return b.String()
}

func (a *authorizer) lookup(key string, now time.Time) *decision {
	if a.TTL == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.cache[key]
	if !ok || !a.fresh(c, now) {
		return nil
	}
	return c.decision
}

func (a *authorizer) fresh(c cached, now time.Time) bool {
	age := now.Sub(c.at)
	return age >= 0 && age < a.TTL
}

// store keeps what the authorizer has answered, denials too, as API Gateway does. Errors are not kept.
func (a *authorizer) store(key string, d *decision, now time.Time) {
	if a.TTL == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.cache) >= maxCached {
		for other, c := range a.cache {
			if !a.fresh(c, now) {
				delete(a.cache, other)
			}
		}
	}
	for other := range a.cache { // any will do: what is dropped is only asked for again
		if len(a.cache) < maxCached {
			break
		}
		delete(a.cache, other)
	}
	a.cache[key] = cached{d, now}
}
