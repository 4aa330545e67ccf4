// Package awserr turns the AWS SDK's errors into ones that may be logged and shown: which call it was, what kind of failure
// and the service's code, in one line. The SDK's own texts hold ARNs, account numbers, role names, request ids and
// endpoints; those stay out, and so the SDK's errors are not wrapped.
package awserr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/aws/smithy-go"
)

// meanings has the codes that an operator can do something about.
var meanings = map[string]string{
	"AccessDenied":                           "the role or user in use is not allowed to do this",
	"AccessDeniedException":                  "the role or user in use is not allowed to do this",
	"ThrottlingException":                    "asked too often",
	"LimitExceededException":                 "a quota is used up",
	"RequestLimitExceeded":                   "asked too often",
	"ProvisionedThroughputExceededException": "asked more often than the capacity provisioned allows",
	"KMSInternalException":                   "internal failure",
	"InternalServerError":                    "internal failure",
	"InternalServiceError":                   "internal failure",
	"InternalServiceException":               "internal failure",
	"DependencyTimeoutException":             "internal time-out",
	"KeyUnavailableException":                "the key is unavailable for now",
	"DisabledException":                      "the key is disabled",
	"KMSInvalidStateException":               "the key is pending deletion or not usable yet",
	"NotFoundException":                      "there is no such key in this account and Region",
	"InvalidKeyUsageException":               "the key is not made for this use",
	"ResourceNotFoundException":              "there is no such thing in this account and Region",
	"ValidationException":                    "the request does not suit what it was sent to",
	"EncryptionFailure":                      "the secret's KMS key can't be used",
	"DecryptionFailure":                      "the secret's KMS key can't be used",
	"ExpiredTokenException":                  "the credentials have expired",
	"UnrecognizedClientException":            "the credentials are not valid",
	"InvalidSignatureException":              "the credentials are not valid, or the clock is off",
}

// ErrDenied is what errors.Is asks for to tell calls that whoever made them is not allowed to make. It adds nothing to a text.
var ErrDenied = errors.New("not allowed")

// refused is the error of a call that the service answered.
type refused struct {
	text   string
	denied bool
}

func (r *refused) Error() string        { return r.text }
func (r *refused) Is(target error) bool { return r.denied && target == ErrDenied }

// Translate returns an error that may be shown for one that a call returned; nil for nil. call names the call, or the
// service alone. It wraps context.Canceled or context.DeadlineExceeded where that ended the call.
func Translate(call string, err error) error {
	if err == nil {
		return nil
	}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			return fmt.Errorf("%s: no answer: %w", call, ended)
		}
	}
	var api smithy.APIError
	denied := errors.As(err, &api) && strings.HasPrefix(api.ErrorCode(), "AccessDenied") // some services add Exception
	return &refused{call + ": " + describe(err), denied}
}

func describe(err error) string {
	var (
		api     smithy.APIError
		dns     *net.DNSError
		errno   syscall.Errno
		network net.Error
	)
	switch {
	// First, and by its text: the SDK has no type for it, and what is below may be another service's answer.
	case strings.Contains(err.Error(), "get identity: "), strings.Contains(err.Error(), "get credentials: "):
		return "no AWS credentials were found, or they could not be refreshed"
	case errors.As(err, &api):
		code := api.ErrorCode()
		if what := meanings[code]; what != "" {
			return fmt.Sprintf("%s (%s)", what, code)
		}
		return code
	case errors.As(err, &dns):
		return "no answer: the endpoint's name could not be resolved"
	case errors.As(err, &errno):
		return "no answer: " + errno.Error()
	case errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "no answer: the connection was closed"
	}
	return fmt.Sprintf("the call failed (%T)", root(err))
}

// root is the innermost error. Its type says what happened; its text could say more than it should.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
