package main

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

func TestDependencies(t *testing.T) {
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"github.com/aws/aws-sdk-go-v2/config":                "awsenv reads all that Lambda gives; config links sso, sts and imds",
			"github.com/aws/aws-sdk-go-v2/credentials/...":       "they come from the environment",
			"github.com/aws/aws-sdk-go-v2/feature/ec2/imds":      "Lambda has no instance metadata",
			"github.com/aws/aws-sdk-go-v2/service/sts":           "no role is assumed",
			"github.com/aws/aws-sdk-go-v2/service/sso":           "nobody signs in",
			"github.com/aws/aws-sdk-go-v2/service/ssooidc":       "nobody signs in",
			"github.com/aws/aws-lambda-go/events":                "the request of CloudFormation is small",
			"github.com/aws/aws-lambda-go/cfn":                   "it answers by other rules, see customresource",
			"go.etcd.io/bbolt":                                   "the laptop's store",
			"github.com/spf13/cobra":                             "the command line's",
			"github.com/latchkey-auth/latchkey/pkg/boltstore":    "the laptop's store",
			"github.com/latchkey-auth/latchkey/pkg/filekeys":     "the laptop's keys",
			"github.com/latchkey-auth/latchkey/pkg/grant/...":    "rotate issues no token",
			"github.com/latchkey-auth/latchkey/pkg/authorizer":   "another function",
			"github.com/latchkey-auth/latchkey/pkg/discovery":    "another function",
			"github.com/latchkey-auth/latchkey/internal/devpage": "the page of latchkey dev",
			"github.com/latchkey-auth/latchkey/internal/gateway": "an emulation for the laptop and the tests",
			"testing": "not in a deployed binary",
		},
		Expected: []string{
			"github.com/aws/aws-lambda-go/lambda",
			"github.com/aws/aws-sdk-go-v2/service/dynamodb",
			"github.com/aws/aws-sdk-go-v2/service/kms",
			"github.com/aws/aws-sdk-go-v2/service/secretsmanager",
			"github.com/latchkey-auth/latchkey/internal/customresource",
			"github.com/latchkey-auth/latchkey/pkg/dynamostore",
			"github.com/latchkey-auth/latchkey/pkg/keyring",
			"github.com/latchkey-auth/latchkey/pkg/secretkeys",
		},
	})
}
