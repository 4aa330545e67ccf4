package main

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

func TestDependencies(t *testing.T) {
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"github.com/aws/aws-sdk-go-v2/service/dynamodb":     "a refresh makes no database call",
			"github.com/latchkey-auth/latchkey/pkg/dynamostore": "a refresh makes no database call",
			"github.com/latchkey-auth/latchkey/pkg/boltstore":   "a refresh makes no database call",
			"go.etcd.io/bbolt": "a refresh makes no database call",
			"database/sql":     "a refresh makes no database call",
			"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials": "no sign-in here",
			"github.com/latchkey-auth/latchkey/pkg/grant/password":          "no sign-in here",
			"github.com/latchkey-auth/latchkey/pkg/user/...":                "users sign in elsewhere",
			"golang.org/x/crypto/argon2":                                    "users sign in elsewhere",
			"github.com/aws/aws-sdk-go-v2/config":                           "awsenv reads all that Lambda gives; config links sso, sts and imds",
			"github.com/aws/aws-sdk-go-v2/service/sts":                      "no role is assumed",
			"github.com/aws/aws-lambda-go/events":                           "lambdahttp has structs of its own, much smaller",
			"github.com/spf13/cobra":                                        "the command line's",
			"github.com/latchkey-auth/latchkey/pkg/filekeys":                "the laptop's keys",
			"github.com/latchkey-auth/latchkey/internal/devpage":            "the page of latchkey dev",
			"github.com/latchkey-auth/latchkey/internal/gateway":            "an emulation for the laptop and the tests",
			"net/http/pprof": "nothing listens",
			"testing":        "not in a deployed binary",
		},
		Expected: []string{
			"github.com/aws/aws-lambda-go/lambda",
			"github.com/aws/aws-sdk-go-v2/service/kms",
			"github.com/aws/aws-sdk-go-v2/service/secretsmanager",
			"github.com/latchkey-auth/latchkey/pkg/dpop",
			"github.com/latchkey-auth/latchkey/pkg/grant/refresh",
			"github.com/latchkey-auth/latchkey/pkg/remotefeed",
			"github.com/latchkey-auth/latchkey/pkg/revocation",
		},
	})
}
