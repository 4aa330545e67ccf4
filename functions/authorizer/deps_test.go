package main

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

func TestDependencies(t *testing.T) {
	const offline = "the authorizer verifies offline, with public keys alone"
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"github.com/aws/aws-sdk-go-v2/...":                      "the authorizer calls no AWS service",
			"github.com/aws/smithy-go/...":                          "the authorizer calls no AWS service",
			"github.com/aws/aws-lambda-go/events":                   "pkg/authorizer has structs of its own, much smaller",
			"github.com/latchkey-auth/latchkey/pkg/client":          offline,
			"github.com/latchkey-auth/latchkey/pkg/grant/...":       "no token is made here",
			"github.com/latchkey-auth/latchkey/pkg/dynamostore":     offline,
			"github.com/latchkey-auth/latchkey/pkg/boltstore":       offline,
			"github.com/latchkey-auth/latchkey/pkg/secretkeys":      offline,
			"github.com/latchkey-auth/latchkey/pkg/kmssigner":       offline,
			"github.com/latchkey-auth/latchkey/pkg/filekeys":        offline,
			"github.com/latchkey-auth/latchkey/pkg/lambdahttp":      "its events are not requests",
			"github.com/latchkey-auth/latchkey/internal/awsenv":     "the authorizer calls no AWS service",
			"github.com/latchkey-auth/latchkey/internal/devpage":    "the page of latchkey dev",
			"github.com/latchkey-auth/latchkey/internal/gateway":    "an emulation for the laptop and the tests",
			"github.com/latchkey-auth/latchkey/internal/lambdatest": "for the tests",
			"github.com/latchkey-auth/latchkey/internal/iameval":    "for the tests",
			"go.yaml.in/yaml/v4/...":                                "rules come compiled",
			"go.etcd.io/bbolt":                                      "the laptop's store",
			"github.com/spf13/cobra":                                "the command line's",
			"net/http/pprof":                                        "nothing listens",
			"net/http/httptest":                                     "for the tests",
			"database/sql":                                          offline,
			"text/template":                                         "it keeps the linker from dropping unused methods",
			"html/template":                                         "it keeps the linker from dropping unused methods",
			"os/exec":                                               "it starts no program",
			"plugin":                                                "it loads no code",
			"testing":                                               "not in a deployed binary",
		},
		Expected: []string{
			"github.com/aws/aws-lambda-go/lambda",
			"github.com/latchkey-auth/latchkey/pkg/authorizer",
			"github.com/latchkey-auth/latchkey/pkg/dpop",
			"github.com/latchkey-auth/latchkey/pkg/remotefeed",
			"github.com/latchkey-auth/latchkey/pkg/remotekeys",
			"github.com/latchkey-auth/latchkey/pkg/revocation",
			"github.com/latchkey-auth/latchkey/pkg/routes",
			"github.com/latchkey-auth/latchkey/pkg/token",
		},
	})
}
