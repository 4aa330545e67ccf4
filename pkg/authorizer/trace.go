package authorizer

import (
	"context"
	"strings"

	"github.com/latchkey-auth/latchkey/internal/traceid"
)

// requestID is API Gateway's id of the request, which a TOKEN event has not.
func (e *event) requestID() string {
	const most = 128 // of what is some forty
	if id := e.wire.Context.RequestID; len(id) <= most {
		return id
	}
	return ""
}

// trace is the id of the trace that the request is part of, by its header or else by what Lambda says of the invocation. Of a
// request that was let through, as most are, it is told only where the trace is recorded: of another there is nothing to look
// up, and each line would pay for it. The event may be nil.
func (e *event) trace(ctx context.Context, allowed bool) string {
	said := func(header string) string {
		if id, sampled := traceid.Parse(header); sampled || !allowed {
			return id
		}
		return ""
	}
	if e != nil && (!allowed || e.wire.mention("Sampled=1")) {
		for _, header := range e.header("X-Amzn-Trace-Id") {
			if id := said(header); id != "" {
				return id
			}
		}
	}
	return said(traceid.Lambda(ctx))
}

// mention reports whether a text may be in a header, without looking which.
func (w *wireEvent) mention(text string) bool {
	return strings.Contains(string(w.Headers), text) || strings.Contains(string(w.MultiValueHeaders), text)
}
