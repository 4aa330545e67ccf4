package main

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

func TestDependencies(t *testing.T) {
	const backend = "a backend trusts the authorizer's context, and needs nothing of the issuer's"
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"github.com/aws/aws-sdk-go-v2/...":                   "it calls no AWS service",
			"github.com/aws/smithy-go/...":                       "it calls no AWS service",
			"github.com/aws/aws-lambda-go/events":                "lambdahttp has structs of its own, much smaller",
			"github.com/latchkey-auth/latchkey/internal/devpage": "the page of latchkey dev",
			"github.com/latchkey-auth/latchkey/pkg/oauth":        backend,
			"github.com/latchkey-auth/latchkey/pkg/token":        backend,
			"github.com/latchkey-auth/latchkey/pkg/keyring":      backend,
			"github.com/latchkey-auth/latchkey/pkg/client":       backend,
			"github.com/latchkey-auth/latchkey/pkg/grant/...":    backend,
			"github.com/latchkey-auth/latchkey/pkg/authorizer":   backend,
			"github.com/golang-jwt/jwt/v5":                       backend,
			"go.etcd.io/bbolt":                                   "the laptop's store",
			"github.com/spf13/cobra":                             "the command line's",
			"net/http/pprof":                                     "nothing listens",
			"net/http/httptest":                                  "for the tests",
			"testing":                                            "not in a deployed binary",
		},
		Expected: []string{
			"github.com/aws/aws-lambda-go/lambda",
			"github.com/latchkey-auth/latchkey/pkg/lambdahttp",
			"github.com/latchkey-auth/latchkey/pkg/resource",
			"github.com/latchkey-auth/latchkey/pkg/whoami",
		},
	})
}
