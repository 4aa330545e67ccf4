package dynamostore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// callError is a failed call. Its text goes into logs and onto screens, so it is put together of what is known to be
// harmless: the SDK's own texts carry ARNs, account numbers, request ids and endpoints.
type callError struct {
	text  string
	cause error
}

func (e *callError) Error() string { return e.text }

// Unwrap gives errors.Is and errors.As what the SDK returned.
func (e *callError) Unwrap() error { return e.cause }

func (t table) translate(operation string, err error) error {
	return &callError{text: fmt.Sprintf("DynamoDB %s on the %s: %s", operation, t.label, describe(err)), cause: err}
}

func describe(err error) string {
	var (
		missing *types.ResourceNotFoundException
		api     smithy.APIError
		network net.Error
		dns     *net.DNSError
		errno   syscall.Errno
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded.Error()
	case errors.As(err, &missing):
		return "there is no such table in this account and region"
	case errors.As(err, &api):
		return redact(api.ErrorCode() + ": " + api.ErrorMessage())
	case strings.Contains(err.Error(), "get identity: ") || strings.Contains(err.Error(), "get credentials: "):
		return "no AWS credentials were found, or they could not be refreshed"
	case errors.As(err, &dns):
		return "the endpoint's name could not be resolved"
	case errors.As(err, &errno):
		return "the endpoint could not be reached: " + errno.Error()
	case errors.As(err, &network) && network.Timeout():
		return "the endpoint did not answer in time"
	default:
		return "the call failed"
	}
}

// private is what API messages may name: ARNs, account numbers, access key and request ids, addresses.
var private = regexp.MustCompile(strings.Join([]string{
	`arn:[\w-]*:\S*`,
	`\b\d{12}\b`,
	`\b(?:AKIA|ASIA|AIDA|AROA)\w+`,
	`\b[0-9A-Z]{40,}\b`, // DynamoDB's request ids
	`\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b`,
	`https?://\S+`,
	`\S+\.amazonaws\.com\S*`,
}, "|"))

func redact(text string) string { return private.ReplaceAllString(text, "[…]") }
