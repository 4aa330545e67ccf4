// Package awserr turns the AWS SDK's errors into ones that may be logged and shown: the service, what kind of failure it
// was and the code, in one line. The SDK's own texts hold ARNs, account numbers, role names and URLs; those stay out, and
// so the SDK's errors are not wrapped.
package awserr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/aws/smithy-go"
)

// Error is an answer of a service that was not a success.
type Error struct {
	Service string // "KMS"
	Code    string // as the service gives it, such as "AccessDeniedException"
}

func (e *Error) Error() string {
	if what := meanings[e.Code]; what != "" {
		return fmt.Sprintf("%s: %s (%s)", e.Service, what, e.Code)
	}
	return fmt.Sprintf("%s: %s", e.Service, e.Code)
}

// meanings has the codes that an operator can do something about.
var meanings = map[string]string{
	"AccessDeniedException":       "the function's role is not allowed to do this",
	"ThrottlingException":         "asked too often",
	"LimitExceededException":      "a quota is used up",
	"RequestLimitExceeded":        "asked too often",
	"KMSInternalException":        "internal failure",
	"InternalServiceError":        "internal failure",
	"InternalServiceException":    "internal failure",
	"DependencyTimeoutException":  "internal time-out",
	"KeyUnavailableException":     "the key is unavailable for now",
	"DisabledException":           "the key is disabled",
	"KMSInvalidStateException":    "the key is pending deletion or not usable yet",
	"NotFoundException":           "there is no such key in this account and Region",
	"InvalidKeyUsageException":    "the key is not made for this use",
	"ResourceNotFoundException":   "there is no such thing in this account and Region",
	"EncryptionFailure":           "the secret's KMS key can't be used",
	"DecryptionFailure":           "the secret's KMS key can't be used",
	"ExpiredTokenException":       "the credentials have expired",
	"UnrecognizedClientException": "the credentials are not valid",
	"InvalidSignatureException":   "the credentials are not valid, or the clock is off",
}

// Code returns the service's code for an error of the SDK or of this package, "" if there is none.
func Code(err error) string {
	var ours *Error
	if errors.As(err, &ours) {
		return ours.Code
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Translate returns an error that may be shown for one that a call to service returned; nil for nil. It wraps
// context.Canceled or context.DeadlineExceeded where that ended the call.
func Translate(service string, err error) error {
	if err == nil {
		return nil
	}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			return fmt.Errorf("%s: no answer: %w", service, ended)
		}
	}
	if code := Code(err); code != "" {
		return &Error{Service: service, Code: code}
	}
	// Below the URL error, whose text has the URL, the causes name an address at most.
	var u *url.Error
	var network net.Error
	switch {
	case errors.As(err, &u) && u.Timeout():
		return fmt.Errorf("%s: no answer in time", service)
	case errors.As(err, &u):
		return fmt.Errorf("%s: no answer: %s", service, u.Err)
	case errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("%s: no answer in time", service)
	}
	return fmt.Errorf("%s: the call failed (%T)", service, root(err))
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
