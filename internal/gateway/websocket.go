package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// WebSocket is what stands in front of a WebSocket API's $connect: an authorizer of type Request, whose answers are not
// cached. No connection is made.
type WebSocket struct {
	// ID, Stage, Region and Account make up the ARN, as those of API; all required.
	ID, Stage, Region, Account string
	Function                   Function
	// IdentitySources say which parts of a request must be there: route.request.header.NAME and
	// route.request.querystring.NAME.
	IdentitySources []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// maxWebSocketAnswer is how many bytes an authorizer may answer a WebSocket API.
const maxWebSocketAnswer = 8 << 10

// Connect asks the authorizer about the request that opens a connection. The status is 101 where it may go on, else 401, 403
// or 500; the context is what the integrations will be told.
func (ws *WebSocket) Connect(r *http.Request) (status int, context map[string]any) {
	now := time.Now
	if ws.Now != nil {
		now = ws.Now
	}
	for _, source := range ws.IdentitySources {
		value, err := webSocketIdentity(source, r)
		if err != nil {
			return http.StatusInternalServerError, nil
		}
		if value == "" {
			return http.StatusUnauthorized, nil
		}
	}
	arn := "arn:aws:execute-api:" + ws.Region + ":" + ws.Account + ":" + ws.ID + "/" + ws.Stage + "/$connect"
	out, err := ws.ask(r, arn, now())
	if err != nil && errorMessage(err) == "Unauthorized" {
		return http.StatusUnauthorized, nil
	}
	var d *decision
	if err == nil && len(out) > maxWebSocketAnswer {
		err = errors.New("the authorizer's answer is too large")
	}
	if err == nil {
		d, err = parseDecision(out, false)
	}
	switch {
	case err != nil:
		return http.StatusInternalServerError, nil
	case d.policy.evaluate(arn, now()) != allowed:
		return http.StatusForbidden, nil
	}
	return http.StatusSwitchingProtocols, d.context
}

func (ws *WebSocket) ask(r *http.Request, arn string, now time.Time) ([]byte, error) {
	id := newID()
	headers, query := r.Header.Clone(), query(r.URL)
	headers.Set("Host", r.Host)
	e := object{
		"type": "REQUEST", "methodArn": arn, "headers": last(headers), "multiValueHeaders": headers,
		"queryStringParameters": last(query), "multiValueQueryStringParameters": query, "stageVariables": object{},
		"requestContext": object{
			"routeKey": "$connect", "eventType": "CONNECT", "extendedRequestId": id, "requestTime": now.UTC().Format(timeFormat),
			"messageDirection": "IN", "stage": ws.Stage, "connectedAt": now.UnixMilli(), "requestTimeEpoch": now.UnixMilli(),
			"identity": object{"sourceIp": sourceIP(r)}, "requestId": id, "domainName": domain(r.Host), "connectionId": id, "apiId": ws.ID,
		},
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return call(r.Context(), ws.Function, payload, authorizerTimeout)
}

// last has of each name the last value.
func last(values map[string][]string) object {
	o := object{}
	for name, list := range values {
		if len(list) > 0 {
			o[name] = list[len(list)-1]
		}
	}
	return o
}

func webSocketIdentity(source string, r *http.Request) (string, error) {
	if name, ok := strings.CutPrefix(source, "route.request.header."); ok {
		return strings.Join(r.Header.Values(name), ","), nil
	}
	if name, ok := strings.CutPrefix(source, "route.request.querystring."); ok {
		return strings.Join(query(r.URL)[name], ","), nil
	}
	return "", fmt.Errorf("the identity source %q is not emulated", source)
}
