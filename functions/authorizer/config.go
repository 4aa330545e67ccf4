package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// config is what the environment says.
type config struct {
	issuer          string
	acceptedIssuers []string // its other names, while it moves to another domain
	audiences       []string
	jwksURL         string
	jwks            []byte // nil: the first request fetches one
	simpleResponses bool
	webSocketToken  authorizer.WebSocketToken
	routes          *routes.Set // nil: no rules
	origins         authorizer.Origins
	claims          []string      // that the context has besides the usual ones
	accessCap       time.Duration // the deployment's, as the issuer has it
	revocations     feedview.Config
	remembered      int // how many valid tokens are, at most, by all verifiers together
}

func readConfig(lookup func(string) (string, bool)) (config, error) {
	r := env.Reader{Lookup: lookup}
	c := config{
		issuer:          r.Issuer("ISSUER"),
		audiences:       r.List("AUDIENCE"),
		simpleResponses: r.Bool("SIMPLE_RESPONSES", false),
		claims:          r.List("CONTEXT_CLAIMS"),
		accessCap:       r.Duration("MAX_ACCESS_TOKEN_LIFETIME", time.Hour, time.Minute, 24*time.Hour),
	}
	c.acceptedIssuers = r.Issuers("ACCEPTED_ISSUERS", c.issuer)
	c.jwksURL = r.URL("JWKS_URL", c.issuer+"/.well-known/jwks.json")
	c.revocations = feedview.Lax(&r, c.issuer)
	c.remembered = remembered(r.Optional("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""))
	var err error
	if c.webSocketToken, err = authorizer.ParseWebSocketToken(r.Optional("WEBSOCKET_TOKEN", "header")); err != nil {
		r.Fail("WEBSOCKET_TOKEN", err.Error())
	}
	if c.origins, err = authorizer.ParseOrigins(r.List("API_ORIGINS"), r.AllowHTTP()); err != nil {
		r.Fail("API_ORIGINS", err.Error())
	}
	if c.routes, err = readRoutes(r.Optional("ROUTES_FILE", "")); err != nil {
		r.Fail("ROUTES_FILE", "it must be a file of rules as latchkey routes compile writes it: "+err.Error())
	}
	if err := authorizer.CheckClaims(c.claims); err != nil {
		r.Fail("CONTEXT_CLAIMS", err.Error())
	}
	if r.Optional("AUDIENCE", "") == "" {
		r.Fail("AUDIENCE", "it must be the audiences accepted, separated by commas")
	}
	err = r.Err()
	if jwks := r.Optional("JWKS", ""); jwks != "" {
		c.jwks = []byte(jwks)
		// The value isn't shown: if there is a private key in it, by mistake, it must not get into the log as well.
		if _, e := keyring.ParseJWKS(c.jwks); e != nil {
			err = errors.Join(err, fmt.Errorf("JWKS is not valid: it must be a JWKS document (RFC 7517 section 5): %w", e))
		}
	}
	return c, err
}

// remembered is how many valid tokens are, in a function of a memory given in MB as Lambda does: as many as take a quarter of
// it if each is of the longest, of 9 KiB (see token.Config.Cache; a usual one takes 1 or 2), and never more than most.
func remembered(memory string) int {
	const (
		perMB = 1 << 20 / 4 / (9 << 10)
		most  = 10_000
	)
	mb, err := strconv.Atoi(memory)
	if err != nil || mb <= 0 {
		return most // not on Lambda
	}
	return min(min(mb, most)*perMB, most)
}

// verifiers is how many there are at most: the deployment's, and one for each API that has audiences of its own. Each
// remembers tokens by itself, as a token is valid for an audience.
func (c *config) verifiers() int {
	n := 1
	if c.routes == nil {
		return n
	}
	for i := range c.routes.APIs {
		if len(c.routes.APIs[i].Audiences) > 0 {
			n++
		}
	}
	return n
}

// bundled is the file beside the function's own, where Lambda starts it. Rules that are there are never left out because a
// variable is missing.
const bundled = "routes.json"

// readRoutes reads the file that a variable names, which must be there, or else the bundled one, if there is one.
func readRoutes(name string) (*routes.Set, error) {
	file := name
	if file == "" {
		file = bundled
	}
	data, err := os.ReadFile(file) //nolint:gosec // named by the deployment
	if name == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return routes.Parse(data)
}
