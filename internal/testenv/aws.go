package testenv

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/logging"
)

// Region and credentials that the emulators accept, as they do any. A test that starts a program which configures
// itself from the environment sets AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to them.
const (
	Region          = "us-east-1"
	AccessKeyID     = "AKIDTESTENV"
	SecretAccessKey = "testenv"
)

// AWSConfig returns a configuration whose clients all call endpoint, and try three times in quick succession.
func AWSConfig(endpoint string) aws.Config {
	credentials := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey}, nil
	})
	return aws.Config{
		Region:       Region,
		Credentials:  credentials,
		BaseEndpoint: &endpoint,
		// The SDK warns at each answer whose checksum it didn't get to, which is every one of an emulator's.
		Logger: logging.Nop{},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = 3
				o.MaxBackoff = 20 * time.Millisecond
				// A budget for retries would make one test's failures another's.
				o.RateLimiter = ratelimit.None
			})
		},
	}
}
