// Package customresource is the protocol of CloudFormation's Lambda-backed custom resources.
//
// CloudFormation invokes the function asynchronously and then waits, for up to an hour, for a JSON document to be put at
// a presigned URL that it gave. A function that ends without an answer leaves a stack stuck, so this package answers
// whatever happens: an error, a panic, a malformed request, or work that does not end.
//
//	lambda.Start(&customresource.Handler{ID: "latchkey-first-keys", Make: make, Log: log})
package customresource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// Limits of time and size.
const (
	// answerTime is what of the function's time is kept for answering; half of it where there is less than twice that.
	answerTime = 10 * time.Second
	// putTimeout bounds one try to answer, maxPause the pause before the next.
	putTimeout = 3 * time.Second
	maxPause   = 2 * time.Second
	// maxReason, in bytes, keeps an answer below CloudFormation's 4,096 bytes.
	maxReason = 1024
)

// Handler is a resource that is made once and then left: its deletion deletes nothing. It implements lambda.Handler. Without a
// request of CloudFormation in the event, it makes the resource too and returns the outcome, for a scheduler or a person.
type Handler struct {
	// ID is the PhysicalResourceId, the same for all time: CloudFormation takes a new one for another resource, and has the
	// old one deleted. Required.
	ID string
	// Make makes the resource, or what of it is missing. What it returns is the answer to an invocation by others than
	// CloudFormation, as JSON. Its error's text goes into the stack's events, so it may hold no secret. Required.
	Make func(ctx context.Context) (any, error)
	// Attributes returns the resource's attributes, which a template reads by Fn::GetAtt, for its properties as CloudFormation sends
	// them at a creation and at an update. nil: it has none.
	Attributes func(properties json.RawMessage) (map[string]string, error)
	// AllowHTTP permits an answer to an http URL, for tests and emulators.
	AllowHTTP bool
	// Client sends the answers. nil means http.DefaultClient; redirects are never followed.
	Client *http.Client
	// Log takes a line an outcome. nil means slog.Default().
	Log *slog.Logger
}

// request is the part of a request that we read.
type request struct {
	RequestType        string
	ResponseURL        string
	StackId            string
	RequestId          string
	LogicalResourceId  string
	PhysicalResourceId string
	ResourceProperties json.RawMessage
}

// answer is the answer to one. CloudFormation wants all of the ids back as they came.
type answer struct {
	Status             string
	Reason             string `json:",omitempty"`
	PhysicalResourceId string
	StackId            string
	RequestId          string
	LogicalResourceId  string
	Data               map[string]string `json:",omitempty"` // the attributes
}

// Invoke implements lambda.Handler. Once CloudFormation has its answer, a failure too is a success here: Lambda would try
// again what is settled. An answer that could not be delivered is an error, so that Lambda does try again.
func (h *Handler) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(event, &members); err != nil || members == nil {
		err := errors.New("the event is not a JSON object")
		h.log().ErrorContext(ctx, "custom_resource.unanswerable", "cause", err.Error())
		return nil, err
	}
	_, hasType := members["RequestType"]
	_, hasURL := members["ResponseURL"]
	if !hasType && !hasURL {
		made, err := h.make(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(made)
	}

	// Where a member is malformed, the others are still read, so that there is something to answer with.
	var r request
	malformed := json.Unmarshal(event, &r) != nil
	if err := h.checkURL(r.ResponseURL); err != nil {
		h.log().ErrorContext(ctx, "custom_resource.unanswerable", "request_type", r.RequestType, "cause", err.Error())
		return nil, err
	}
	working, cancel := withMargin(ctx)
	defer cancel()
	err := errors.New("the request is malformed")
	var attributes map[string]string
	if !malformed {
		attributes, err = h.serve(working, r)
	}
	a := answer{
		Status: "SUCCESS", PhysicalResourceId: h.ID,
		StackId: r.StackId, RequestId: r.RequestId, LogicalResourceId: r.LogicalResourceId, Data: attributes,
	}
	if r.PhysicalResourceId != "" {
		a.PhysicalResourceId = r.PhysicalResourceId
	}
	if err != nil {
		a.Status, a.Reason = "FAILED", reason(err)
	}
	if err := h.put(ctx, r.ResponseURL, a); err != nil {
		h.log().ErrorContext(ctx, "custom_resource.unanswered", "request_type", r.RequestType, "status", a.Status, "cause", err.Error())
		return nil, fmt.Errorf("CloudFormation has no answer: %w", err)
	}
	h.log().InfoContext(ctx, "custom_resource.answered", "request_type", r.RequestType, "status", a.Status, "reason", a.Reason)
	return json.Marshal(map[string]string{"status": a.Status})
}

func (h *Handler) log() *slog.Logger {
	if h.Log == nil {
		return slog.Default()
	}
	return h.Log
}

// checkURL takes no answer to anywhere by plain http. Neither the URL, which is a credential, nor a part of it is shown.
func (h *Handler) checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(h.AllowHTTP && u.Scheme == "http") {
		return errors.New("ResponseURL is not an https URL")
	}
	return nil
}

// withMargin ends the work early enough for there to be time to answer.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	margin := min(answerTime, time.Until(deadline)/2)
	return context.WithDeadline(ctx, deadline.Add(-margin))
}

func (h *Handler) serve(ctx context.Context, r request) (attributes map[string]string, err error) {
	switch r.RequestType {
	case "Create":
		if _, err := h.make(ctx); err != nil {
			return nil, err
		}
	case "Update":
	case "Delete":
		return nil, nil
	default:
		return nil, errors.New("RequestType is not Create, Update or Delete")
	}
	if h.Attributes == nil {
		return nil, nil
	}
	return h.Attributes(r.ResourceProperties)
}

// make calls Make, and does not wait for it beyond the context's end.
func (h *Handler) make(ctx context.Context) (any, error) {
	type outcome struct {
		made any
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				h.log().ErrorContext(ctx, "custom_resource.panic", "cause", fmt.Sprint(p), "stack", string(debug.Stack()))
				o = outcome{err: errors.New("internal error: the function's log has more")}
			}
			done <- o
		}()
		o.made, o.err = h.Make(ctx)
	}()
	select {
	case o := <-done:
		return o.made, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("not done in time: %w", ctx.Err())
	}
}

// reason is an error's text in one line of bounded length.
func reason(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return text
}

// put delivers an answer. It tries until it succeeds, is refused, or the context ends.
func (h *Handler) put(ctx context.Context, to string, a answer) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		again, err := h.try(ctx, to, body)
		if err == nil || !again {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// try tries to deliver an answer once, and reports whether it makes sense to try again. Errors don't show the URL.
func (h *Handler) try(ctx context.Context, to string, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	// The signature of the URL is one over a request without a Content-Type.
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("ResponseURL is malformed")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if h.Client != nil {
		client.Transport, client.Timeout = h.Client.Transport, h.Client.Timeout
	}
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return true, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	switch {
	case res.StatusCode/100 == 2:
		return false, nil
	case res.StatusCode >= 500, res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusRequestTimeout:
		return true, fmt.Errorf("status %d", res.StatusCode)
	}
	return false, fmt.Errorf("status %d", res.StatusCode)
}
