// Package traceid reads the id of a trace, by which lines of several services are told to be of one request.
//
// API Gateway makes an id for each request, and keeps the one that a client sends: it may be of the client's choosing, so that it
// helps to find lines and proves nothing. What goes into a log has one form, whatever was sent.
package traceid

import (
	"context"
	"strings"
)

// length is that of 1-{8 hex digits}-{24 hex digits}.
const length = 1 + 1 + 8 + 1 + 24

// Parse returns the id of a header X-Amzn-Trace-Id, or of the variable _X_AMZN_TRACE_ID, such as
//
//	Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1
//
// empty where it has none of that form, and whether the trace is recorded.
func Parse(header string) (id string, sampled bool) {
	const most = 512 // of what a client may send
	if len(header) > most {
		return "", false
	}
	for part := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case name == "Root" && id == "" && wellFormed(value):
			id = value
		case name == "Sampled":
			sampled = value == "1"
		}
	}
	return id, sampled && id != ""
}

func wellFormed(id string) bool {
	if len(id) != length {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch i {
		case 0:
			if c != '1' {
				return false
			}
		case 1, 10:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// Lambda returns the header that Lambda gave along with the invocation, empty where it gave none.
func Lambda(ctx context.Context) string {
	header, _ := ctx.Value("x-amzn-trace-id").(string) // as aws-lambda-go keeps it, under a string
	return header
}
