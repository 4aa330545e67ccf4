package testenv

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
)

// Fault says which call a proxy fails, and how. A call is the caller's: the SDK's tries of it are one call.
type Fault struct {
	Call int    // counted from 1, from when the fault was set; 0: every one
	Of   string // the service, such as KMS, whose calls are counted; empty: all
	Done bool   // it is carried out, and its answer lost; else it never takes place
	Once bool   // its first try alone fails
	Form Form   // what the caller sees
	Hit  func() // called at each try that fails, after its effect if it is Done; nil: nothing
}

// Form is what a caller sees of a call that fails.
type Form int

// The forms. What the services answer is in each one's own words.
const (
	Reset       Form = iota // the connection is reset
	Torn                    // it is reset amidst the answer
	Internal                // 500, the service's internal error
	Unavailable             // 503, as a load balancer says it, in HTML
	Throttled               // 400, of too many requests for what is asked
	Limited                 // 400, of too many requests in all
	Garbage                 // 200 and no JSON
	Cut                     // 200 and half of an object, said to be whole
	Wrong                   // 200 and an object whose members are of other types
	Page                    // 200 and HTML
	Hang                    // no answer, until the caller gives up
)

// Forms are all of them but Hang, which takes its time, by name.
var Forms = map[string]Form{
	"reset": Reset, "torn": Torn, "500": Internal, "503": Unavailable, "throttled": Throttled, "limited": Limited,
	"garbage": Garbage, "cut": Cut, "wrong types": Wrong, "HTML": Page,
}

// refusals are the services' words: of an internal error, of throttling and of limits.
var refusals = map[string][3]string{
	"DynamoDB":       {"InternalServerError", "ProvisionedThroughputExceededException", "RequestLimitExceeded"},
	"KMS":            {"KMSInternalException", "ThrottlingException", "LimitExceededException"},
	"SecretsManager": {"InternalServiceError", "ThrottlingException", "LimitExceededException"},
}

// fault is a Fault under way.
type fault struct {
	mu sync.Mutex
	Fault
	choose func(service string) (Fault, bool) // decides of each try, in place of Call, Of and Once
	calls  map[string]int                     // by the SDK's id of the call: which one it is
	tries  int                                // that were failed
}

// Fail has calls fail, the Fault's, instead of any that were to fail before.
func (p *CountingProxy) Fail(f Fault) { p.fault.Store(&fault{Fault: f, calls: map[string]int{}}) }

// FailBy has choose decide which tries fail, and how; of each Fault it goes by Done and Form. One decision is made at a time.
func (p *CountingProxy) FailBy(choose func(service string) (Fault, bool)) {
	p.fault.Store(&fault{choose: choose, calls: map[string]int{}})
}

// Mend ends what Fail or FailBy began. It returns how many calls were seen since, and how many tries were failed.
func (p *CountingProxy) Mend() (calls, failed int) {
	f := p.fault.Swap(nil)
	if f == nil {
		return 0, 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls), f.tries
}

// hits returns the fault that is this request's, if there is one.
func (f *fault) hits(r *http.Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	service := serviceOf(r)
	id := r.Header.Get("Amz-Sdk-Invocation-Id")
	if f.calls[id] == 0 && (f.Of == "" || f.Of == service) {
		f.calls[id] = len(f.calls) + 1
	}
	if f.choose != nil {
		chosen, hit := f.choose(service)
		if hit {
			f.tries++
		}
		return chosen, hit
	}
	if f.calls[id] == 0 || f.Call != 0 && f.calls[id] != f.Call || f.Once && f.tries > 0 {
		return Fault{}, false
	}
	f.tries++
	return f.Fault, true
}

// serve fails the request, or has next serve it.
func (f *fault) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	chosen, hit := f.hits(r)
	if !hit {
		next.ServeHTTP(w, r)
		return
	}
	chosen.Serve(w, r, next)
}

// Serve fails a request, whichever call it is of: next would serve it.
func (f Fault) Serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	whole := httptest.NewRecorder()
	if f.Done || f.Form == Torn || f.Form == Cut { // there has to be an answer to spoil
		next.ServeHTTP(whole, r)
	}
	if f.Hit != nil {
		f.Hit()
	}
	f.Form.answer(w, r, whole.Body.Bytes())
}

// answer answers a request in this form, which spoils the whole answer.
func (form Form) answer(w http.ResponseWriter, r *http.Request, whole []byte) {
	service := serviceOf(r)
	say := func(status int, contentType, body string) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // a client that went away is no news
	}
	const ownJSON, html = "application/x-amz-json-1.1", "<!DOCTYPE html><title>503 Service Unavailable</title>"
	contentType := ownJSON
	if service == "" {
		contentType = "application/json"
	}
	refuse := func(status, which int) {
		say(status, contentType, `{"__type":"`+refusals[service][which]+`","message":"a fault of the tests"}`)
	}
	switch form {
	case Internal:
		refuse(http.StatusInternalServerError, 0)
	case Unavailable:
		say(http.StatusServiceUnavailable, "text/html", html)
	case Throttled:
		refuse(http.StatusBadRequest, 1)
	case Limited:
		refuse(http.StatusBadRequest, 2)
	case Garbage:
		say(http.StatusOK, contentType, "\x00\x01\xff not JSON")
	case Cut:
		say(http.StatusOK, contentType, string(whole[:len(whole)/2]))
	case Wrong:
		say(http.StatusOK, contentType, `{"Item":7,"Items":{},"Attributes":[],"SecretString":7,"SecretBinary":{},"Signature":true,"PublicKey":1,"keys":7,"entries":7,"version":"x"}`)
	case Page:
		say(http.StatusOK, "text/html", html)
	case Torn:
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(whole)+1))
		_, _ = w.Write(whole[:len(whole)/2])
		_ = http.NewResponseController(w).Flush()
		reset(w)
	case Hang:
		_, _ = io.Copy(io.Discard, r.Body) // until then the server does not see that the caller has gone
		<-r.Context().Done()
		reset(w)
	case Reset:
		reset(w)
	}
}

// reset resets the request's connection.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // which closes it
	}
	if c, ok := conn.(*droppableConn); ok {
		c.drop()
	}
	_ = conn.Close() // at worst it is closed already, and forgotten
}
