// Function whoami is the sample resource: it answers what the authorizer handed it. CORS_ORIGIN says whose pages may read
// that; it has no AWS permission.
package main

import (
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/version"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/whoami"
)

func main() {
	log := jsonlog.Function(nil)
	version.Log(log, "whoami.started")
	lambda.Start(lambdahttp.Handler(&whoami.Handler{AllowOrigin: os.Getenv("CORS_ORIGIN"), Now: clock.Now, Log: log}))
}
