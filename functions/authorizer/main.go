// Function authorizer lets requests with a valid access token through API Gateway. It verifies offline, but for a poll of
// the revocation feed an interval, and has no AWS permission.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/collector"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func main() {
	collector.Function(os.LookupEnv)
	counts := metrics.Function(os.LookupEnv)
	log := jsonlog.Function(counts)
	handler, err := newHandler(os.LookupEnv, log, counts)
	if err != nil {
		log.Error("authorizer.start_failed", "cause", err.Error())
		os.Exit(1)
	}
	version.Log(log, "authorizer.started")
	lambda.Start(handler)
}

func newHandler(lookup func(string) (string, bool), log *slog.Logger, counts *metrics.Set) (lambda.Handler, error) {
	c, err := readConfig(lookup)
	if err != nil {
		return nil, err
	}
	keys, err := remotekeys.New(remotekeys.Config{URL: c.jwksURL, Initial: c.jwks, Now: clock.Now, Log: log})
	if err != nil {
		return nil, err
	}
	revocations, err := c.revocations.View(c.accessCap, log)
	if err != nil {
		return nil, err
	}
	remembered := c.remembered / c.verifiers()
	var verifiers []*token.AccessVerifier
	verifierFor := func(audiences []string) (authorizer.Verifier, error) {
		v, err := token.NewAccessVerifier(token.Config{
			Issuer: c.issuer, AcceptedIssuers: c.acceptedIssuers, Audiences: audiences, Keys: keys, MaxLifetime: c.accessCap,
			Revocations: revocations, Cache: remembered, Now: clock.Now,
		})
		verifiers = append(verifiers, v)
		return v, err
	}
	counts.Revocations(feedview.Age(revocations))
	counts.Cache(func() (hits, misses uint64) {
		for _, v := range verifiers {
			h, m := v.Cached()
			hits, misses = hits+h, misses+m
		}
		return hits, misses
	})
	verifier, err := verifierFor(c.audiences)
	if err != nil {
		return nil, err
	}
	return authorizer.New(authorizer.Config{
		Verifier: verifier, Routes: c.routes, VerifierFor: verifierFor, Claims: c.claims,
		SimpleResponses: c.simpleResponses, WebSocketToken: c.webSocketToken, Origins: c.origins, Now: clock.Now, Log: log,
	})
}
