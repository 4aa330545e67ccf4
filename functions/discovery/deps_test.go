package main

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

func TestDependencies(t *testing.T) {
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"github.com/aws/aws-sdk-go-v2/service/secretsmanager": "private keys are out of reach",
			"github.com/aws/aws-sdk-go-v2/service/kms":            "private keys are out of reach",
			"github.com/latchkey-auth/latchkey/internal/devpage":  "the page of latchkey dev",
			"github.com/latchkey-auth/latchkey/pkg/secretkeys":    "private keys are out of reach",
			"github.com/latchkey-auth/latchkey/pkg/kmssigner":     "private keys are out of reach",
			"github.com/latchkey-auth/latchkey/pkg/grant/...":     "no token is made here",
			"github.com/aws/aws-sdk-go-v2/config":                 "awsenv reads all that Lambda gives; config links sso, sts and imds",
			"github.com/aws/aws-lambda-go/events":                 "lambdahttp has structs of its own, much smaller",
			"go.etcd.io/bbolt":                                    "the laptop's store",
			"github.com/spf13/cobra":                              "the command line's",
			"github.com/santhosh-tekuri/jsonschema/v6":            "the tests' validator",
			"testing": "not in a deployed binary",
		},
		Expected: []string{
			"github.com/aws/aws-lambda-go/lambda",
			"github.com/aws/aws-sdk-go-v2/service/dynamodb",
			"github.com/latchkey-auth/latchkey/pkg/discovery",
			"github.com/latchkey-auth/latchkey/pkg/openapi",
			"github.com/latchkey-auth/latchkey/pkg/revocation",
		},
	})
}
