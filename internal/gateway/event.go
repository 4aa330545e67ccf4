package gateway

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object of an event.
type object map[string]any

// event is what the function is handed.
func (g *Gateway) event(req *request) ([]byte, error) {
	if g.api.Kind == REST {
		e := g.restRequest(req)
		e["body"] = nil
		binary := g.binary(req.Header.Get("Content-Type"))
		if len(req.body) > 0 {
			e["body"] = text(req.body, binary)
		}
		e["isBase64Encoded"] = binary && len(req.body) > 0
		if req.authorizer != nil {
			e["requestContext"].(object)["authorizer"] = req.authorizer
		}
		return json.Marshal(e)
	}
	e := g.httpRequest(req)
	binary := len(req.body) > 0 && !plainOnHTTP(req.Header.Get("Content-Type"))
	if len(req.body) > 0 {
		e["body"] = text(req.body, binary)
	}
	e["isBase64Encoded"] = binary
	if req.authorizer != nil {
		e["requestContext"].(object)["authorizer"] = object{"lambda": req.authorizer}
	}
	return json.Marshal(e)
}

// authorizerEvent is what the authorizer is asked with; no form of it has the body.
func (g *Gateway) authorizerEvent(req *request, a *authorizer, identity []string) ([]byte, error) {
	var e object
	switch {
	case a.Type == Token:
		e = object{"type": "TOKEN", "authorizationToken": identity[0], "methodArn": g.arn(req)}
	case g.api.Kind == REST || a.Payload == "1.0":
		e = g.restRequest(req)
		e["type"], e["methodArn"] = "REQUEST", g.arn(req)
		if g.api.Kind == HTTP {
			joined := strings.Join(identity, ",")
			e["version"], e["identitySource"], e["authorizationToken"] = "1.0", joined, joined
			e["requestContext"].(object)["resourceId"] = req.route.key()
			delete(e["requestContext"].(object), "deploymentId")
		}
		for _, name := range []string{
			"queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables",
		} {
			if e[name] == nil { // null for functions, empty for authorizers
				e[name] = object{}
			}
		}
	default:
		e = g.httpRequest(req)
		e["type"], e["routeArn"] = "REQUEST", g.arn(req)
		if len(identity) > 0 {
			e["identitySource"] = identity
		}
	}
	return json.Marshal(e)
}

// restRequest is the part of a REST API's event that functions and authorizers have in common.
func (g *Gateway) restRequest(req *request) object {
	headers := g.headers(req)
	var single, multi any // null where there is no query
	if query := query(req.URL); len(query) > 0 {
		single, multi = last(query), query
	}
	var params any
	if req.params != nil {
		params = req.params
	}
	return object{
		"resource":                        req.route.Path,
		"path":                            req.path,
		"httpMethod":                      req.Method,
		"headers":                         last(headers),
		"multiValueHeaders":               headers,
		"queryStringParameters":           single,
		"multiValueQueryStringParameters": multi,
		"pathParameters":                  params,
		"stageVariables":                  nil,
		"requestContext": object{
			"accountId": g.api.Account, "apiId": g.api.ID, "stage": g.api.Stage,
			"deploymentId": "local0", "resourceId": "local0", "resourcePath": req.route.Path,
			"httpMethod": req.Method, "path": req.path, "protocol": req.Proto,
			"domainName": domain(req.Host), "domainPrefix": domainPrefix(req.Host),
			"requestId": req.id, "extendedRequestId": req.id,
			"requestTime": req.time.UTC().Format(timeFormat), "requestTimeEpoch": req.time.UnixMilli(),
			"identity": object{
				"accessKey": nil, "accountId": nil, "caller": nil, "cognitoAuthenticationProvider": nil,
				"cognitoAuthenticationType": nil, "cognitoIdentityId": nil, "cognitoIdentityPoolId": nil,
				"principalOrgId": nil, "sourceIp": sourceIP(req.Request), "user": nil, "userAgent": req.UserAgent(), "userArn": nil,
			},
		},
	}
}

// httpRequest is the same of an HTTP API's, payload format 2.0.
func (g *Gateway) httpRequest(req *request) object {
	path := req.path
	if g.api.Stage != "$default" {
		path = "/" + g.api.Stage + path
	}
	headers := object{}
	for name, values := range g.headers(req) {
		if name != "Cookie" {
			headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	headers["content-length"] = strconv.FormatInt(max(req.ContentLength, 0), 10)
	e := object{
		"version": "2.0", "routeKey": req.route.key(), "rawPath": path, "rawQueryString": req.URL.RawQuery, "headers": headers,
		"requestContext": object{
			"accountId": g.api.Account, "apiId": g.api.ID, "stage": g.api.Stage, "routeKey": req.route.key(),
			"domainName": domain(req.Host), "domainPrefix": domainPrefix(req.Host), "requestId": req.id,
			"time": req.time.UTC().Format(timeFormat), "timeEpoch": req.time.UnixMilli(),
			"http": object{
				"method": req.Method, "path": path, "protocol": req.Proto, "sourceIp": sourceIP(req.Request),
				"userAgent": req.UserAgent(),
			},
		},
	}
	if query := query(req.URL); len(query) > 0 {
		joined := object{}
		for name, values := range query {
			joined[name] = strings.Join(values, ",")
		}
		e["queryStringParameters"] = joined
	}
	if cookies := req.Header.Values("Cookie"); len(cookies) > 0 {
		var list []string
		for _, value := range cookies {
			for cookie := range strings.SplitSeq(value, ";") {
				list = append(list, strings.TrimSpace(cookie))
			}
		}
		e["cookies"] = list
	}
	if req.params != nil {
		e["pathParameters"] = req.params
	}
	return e
}

const timeFormat = "02/Jan/2006:15:04:05 -0700"

// hopByHop are headers of one connection (RFC 9110 §7.6.1), which no gateway passes on.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// headers are the request's, with those that a gateway adds. Their names are as net/http has them: Title-Case.
func (g *Gateway) headers(req *request) http.Header {
	h := req.Header.Clone()
	for _, name := range hopByHop {
		h.Del(name)
	}
	scheme, port := "http", "80"
	if req.TLS != nil {
		scheme, port = "https", "443"
	}
	if p := (&url.URL{Host: req.Host}).Port(); p != "" {
		port = p
	}
	h.Set("Host", req.Host)
	h.Set("X-Forwarded-For", strings.Join(append(h.Values("X-Forwarded-For"), sourceIP(req.Request)), ", "))
	h.Set("X-Forwarded-Proto", scheme)
	h.Set("X-Forwarded-Port", port)
	h.Set("X-Amzn-Trace-Id", "Root=1-"+strconv.FormatInt(req.time.Unix(), 16)+"-"+strings.ReplaceAll(req.id, "-", "")[:24])
	return h
}

// domain is the host without its port.
func domain(host string) string { return (&url.URL{Host: host}).Hostname() }

func domainPrefix(host string) string {
	prefix, _, _ := strings.Cut(domain(host), ".")
	return prefix
}

// query is decoded; what can't be decoded is left out.
func query(u *url.URL) url.Values {
	values, _ := url.ParseQuery(u.RawQuery) // returns what it could read
	return values
}

// binary tells whether a REST API hands a body of that type on in base64.
func (g *Gateway) binary(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return slices.Contains(g.api.BinaryMediaTypes, "*/*") || err == nil && slices.Contains(g.api.BinaryMediaTypes, mediaType)
}

// plainOnHTTP tells whether an HTTP API hands a body of that type on as it is. A form is not among them.
func plainOnHTTP(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (strings.HasPrefix(mediaType, "text/") || plainTypes[mediaType])
}

var plainTypes = map[string]bool{"application/json": true, "application/xml": true, "application/javascript": true}

func text(body []byte, binary bool) string {
	if binary {
		return base64.StdEncoding.EncodeToString(body)
	}
	return string(body)
}

// sortedNames makes what is built from a map the same each time.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
