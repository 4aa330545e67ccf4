// Command golangjwt is an authorizer as it is usually written in Go: the events of aws-lambda-go, golang-jwt, the keys in
// the environment. It obeys no revocation, has no route rules and writes no log.
package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

type claims struct {
	jwt.RegisteredClaims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

type authorizer struct {
	parser *jwt.Parser
	keys   map[string]*ecdsa.PublicKey
}

func main() {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(os.Getenv("JWKS")), &set); err != nil {
		panic(err)
	}
	a := &authorizer{keys: make(map[string]*ecdsa.PublicKey), parser: jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(os.Getenv("ISSUER")), jwt.WithAudience(os.Getenv("AUDIENCE")),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(),
	)}
	for _, k := range set.Keys {
		a.keys[k.KeyID] = k.Key.(*ecdsa.PublicKey)
	}
	lambda.Start(a.authorize)
}

func (a *authorizer) authorize(_ context.Context, e events.APIGatewayCustomAuthorizerRequestTypeRequest) (events.APIGatewayCustomAuthorizerResponse, error) {
	raw, ok := strings.CutPrefix(e.Headers["Authorization"], "Bearer ")
	if !ok {
		return events.APIGatewayCustomAuthorizerResponse{}, errors.New("Unauthorized")
	}
	var c claims
	if _, err := a.parser.ParseWithClaims(raw, &c, a.key); err != nil {
		return events.APIGatewayCustomAuthorizerResponse{}, errors.New("Unauthorized")
	}
	return events.APIGatewayCustomAuthorizerResponse{
		PrincipalID: c.Subject,
		PolicyDocument: events.APIGatewayCustomAuthorizerPolicy{Version: "2012-10-17", Statement: []events.IAMPolicyStatement{
			{Action: []string{"execute-api:Invoke"}, Effect: "Allow", Resource: []string{e.MethodArn}},
		}},
		Context: map[string]any{"client_id": c.ClientID, "scope": c.Scope, "sub": c.Subject},
	}, nil
}

func (a *authorizer) key(t *jwt.Token) (any, error) {
	kid, _ := t.Header["kid"].(string)
	key, ok := a.keys[kid]
	if !ok {
		return nil, errors.New("unknown key")
	}
	return key, nil
}
