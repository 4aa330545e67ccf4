package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

// read takes the caller from the authorizer's context. Half a caller is none.
func read(values map[string]string) (*Caller, error) {
	if len(values) == 0 {
		return nil, nobody("no authorizer has handed over a caller")
	}
	for _, name := range []string{"client_id", "sub", "grant_id", "jti", "exp"} {
		if values[name] == "" {
			return nil, nobody("the authorizer's context has no " + name)
		}
	}
	exp, err := strconv.ParseInt(values["exp"], 10, 64)
	if err != nil {
		return nil, nobody("the authorizer's context has an exp that is no whole number")
	}
	claims := map[string]string{}
	for _, name := range []string{"iss", "aud", "iat", "auth_time"} {
		if value, ok := values[name]; ok {
			claims[name] = value
		}
	}
	return &Caller{
		ClientID: values["client_id"], Subject: values["sub"], Scope: strings.Fields(values["scope"]),
		GrantID: values["grant_id"], TokenID: values["jti"], ExpiresAt: time.Unix(exp, 0), Claims: claims,
	}, nil
}

// texts spells values as gatewayctx has them. What is neither a string nor a number is none of ours.
func texts(values map[string]any) map[string]string {
	out := make(map[string]string, len(values))
	for name, value := range values {
		switch v := value.(type) {
		case string:
			out[name] = v
		case json.Number:
			out[name] = v.String()
		case float64: // as encoding/json has numbers unless told otherwise
			out[name] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return out
}

// event has what tells the kinds of event apart, and where each has the authorizer's context.
type event struct {
	Version        string `json:"version"`
	HTTPMethod     string `json:"httpMethod"`
	MethodArn      string `json:"methodArn"`
	RouteArn       string `json:"routeArn"`
	RequestContext struct {
		ConnectionID string         `json:"connectionId"`
		Authorizer   map[string]any `json:"authorizer"`
	} `json:"requestContext"`
}

// authorizerOf returns the Lambda authorizer's context, nil where there is none.
func authorizerOf(payload []byte) (map[string]any, error) {
	var e event
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber() // a time in seconds stays as it is spelled
	if d.Decode(&e) != nil {
		return nil, errors.New("the event is not JSON of the shape that API Gateway's have")
	}
	values := e.RequestContext.Authorizer
	switch {
	case e.MethodArn != "" || e.RouteArn != "":
		return nil, errors.New("the event is an authorizer's, for whom there is no caller yet")
	case e.Version == "2.0":
		// Beside other kinds of authorizer ("jwt", "iam"), whose word is not ours.
		lambda, _ := values["lambda"].(map[string]any)
		return lambda, nil
	case e.Version == "1.0", e.Version == "" && (e.HTTPMethod != "" || e.RequestContext.ConnectionID != ""):
		return values, nil
	}
	return nil, errors.New("the event is of no API that has an authorizer")
}
