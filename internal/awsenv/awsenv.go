// Package awsenv makes the AWS SDK's configuration for a function from its environment variables:
//
//	cfg, err := awsenv.Config(os.LookupEnv)
//	client := dynamodb.NewFromConfig(cfg)
//
// The SDK's own config package can do far more, of which a function needs nothing: shared files, SSO, STS, the EC2
// metadata service. Linking those makes its binary larger by a fifth and its start slower.
package awsenv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go/logging"
)

// A call makes at most attempts tries, each of which ends after attemptTimeout, at most maxBackoff apart and at random, so that
// sandboxes which failed together do not come back together: an endpoint
// that is dead costs a call some three seconds, not the whole time that a function has. In one Region a try takes
// milliseconds, the first with its TLS handshake some hundred.
const (
	attempts       = 3
	attemptTimeout = time.Second
	maxBackoff     = 100 * time.Millisecond
)

// Config reads, through lookup, which is os.LookupEnv or a test's:
//
//	AWS_REGION, or AWS_DEFAULT_REGION                required
//	AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY         required
//	AWS_SESSION_TOKEN                                Lambda sets it
//	AWS_ENDPOINT_URL                                 of all services, in place of AWS's own
//	AWS_ENDPOINT_URL_DYNAMODB, _KMS, _SECRETS_MANAGER, ...  of one service, which goes first
//
// An empty variable counts as an absent one. On AWS Lambda an endpoint must be https, or on this machine: what goes there
// are signing keys. The error names each variable that is wrong, and no value. Clients made from
// the configuration find their endpoints by themselves.
func Config(lookup func(name string) (string, bool)) (aws.Config, error) {
	return config(lookup, attemptTimeout)
}

func config(lookup func(name string) (string, bool), attemptTimeout time.Duration) (aws.Config, error) {
	var errs []error
	get := func(name string) string {
		value, _ := lookup(name)
		return value
	}
	required := func(name string) string {
		value := get(name)
		if value == "" {
			errs = append(errs, fmt.Errorf("%s is not set: it is required", name))
		}
		return value
	}

	region := get("AWS_REGION")
	if region == "" {
		region = get("AWS_DEFAULT_REGION")
	}
	if region == "" {
		errs = append(errs, errors.New("AWS_REGION is not set: it must be an AWS Region, such as eu-central-1"))
	}
	credentials := aws.Credentials{
		AccessKeyID:     required("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: required("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    get("AWS_SESSION_TOKEN"),
		Source:          "environment",
	}
	var base *string
	if endpoint := get("AWS_ENDPOINT_URL"); endpoint != "" {
		if err := checkEndpoint(get, "AWS_ENDPOINT_URL", endpoint); err != nil {
			errs = append(errs, err)
		}
		base = &endpoint
	}
	services := endpoints(get)
	for _, service := range []string{"DynamoDB", "KMS", "Secrets Manager"} {
		if _, _, err := services.GetServiceBaseEndpoint(context.Background(), service); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return aws.Config{}, err
	}

	return aws.Config{
		Region: region,
		// They don't change while the process lives: Lambda starts another one.
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return credentials, nil
		}),
		BaseEndpoint:  base,
		ConfigSources: []any{services},
		HTTPClient:    httpClient(attemptTimeout),
		RetryMode:     aws.RetryModeStandard,
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = attempts
				// Not o.MaxBackoff: below a second the SDK's own takes that as the wait, always the same.
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) {
					return rand.N(maxBackoff), nil //nolint:gosec // nobody gains by guessing a wait
				})
			})
		},
		// The SDK logs in its own format, and with emulators a warning for each answer, whose checksum it didn't get to.
		// What goes wrong is in the errors.
		Logger: logging.Nop{},
	}, nil
}

func httpClient(timeout time.Duration) aws.HTTPClient {
	return awshttp.NewBuildableClient().
		WithTimeout(timeout). // of the whole try, from dialling to the answer's last byte
		WithDialerOptions(func(d *net.Dialer) {
			d.Timeout = timeout
			d.KeepAlive = 30 * time.Second
		}).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = timeout
			t.ResponseHeaderTimeout = timeout
			t.MaxIdleConnsPerHost = 16
			t.IdleConnTimeout = 90 * time.Second
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		})
}

// endpoints tells a service's client of its AWS_ENDPOINT_URL_<SERVICE>, as the SDK's shared configuration would.
type endpoints func(name string) string

// GetServiceBaseEndpoint is called by the services' clients.
func (get endpoints) GetServiceBaseEndpoint(_ context.Context, sdkID string) (string, bool, error) {
	name := "AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(sdkID, " ", "_"))
	endpoint := get(name)
	if endpoint == "" {
		return "", false, nil
	}
	return endpoint, true, checkEndpoint(get, name, endpoint)
}

func checkEndpoint(get func(name string) string, name, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%s is not valid: it must be an http or https URL, such as http://127.0.0.1:5000", name)
	}
	onLambda := get("AWS_LAMBDA_FUNCTION_NAME") != "" && get("AWS_SAM_LOCAL") != "true"
	if ip, err := netip.ParseAddr(u.Hostname()); onLambda && u.Scheme == "http" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is not valid: on AWS Lambda it must be an https URL", name)
	}
	return nil
}
