package testenv

import (
	"net/http"
	"net/http/httptest"
	"sync"
)

// Fault says which call a proxy fails, and how. A call is the caller's: the SDK's tries of it are one call.
type Fault struct {
	Call    int  // counted from 1, from when the fault was set
	Done    bool // it is carried out, and its answer lost; else it never takes place
	Once    bool // its first try alone fails
	Refused bool // it is answered, with a status of 500, rather than that the connection is reset
}

// fault is a Fault under way.
type fault struct {
	mu sync.Mutex
	Fault
	calls map[string]int // by the SDK's id of the call: which one it is
	tries int            // of the call that is to fail
}

// Fail has one call fail, the Fault's, instead of any that was to fail before.
func (p *CountingProxy) Fail(f Fault) { p.fault.Store(&fault{Fault: f, calls: map[string]int{}}) }

// Mend ends what Fail began. It returns how many calls were seen since, and how many tries of one were failed.
func (p *CountingProxy) Mend() (calls, failed int) {
	f := p.fault.Swap(nil)
	if f == nil {
		return 0, 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls), f.tries
}

// hits reports whether the fault is this request's.
func (f *fault) hits(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.Header.Get("Amz-Sdk-Invocation-Id")
	if f.calls[id] == 0 {
		f.calls[id] = len(f.calls) + 1
	}
	if f.calls[id] != f.Call || f.Once && f.tries > 0 {
		return false
	}
	f.tries++
	return true
}

// serve fails the request, or has next serve it.
func (f *fault) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !f.hits(r) {
		next.ServeHTTP(w, r)
		return
	}
	if f.Done {
		next.ServeHTTP(httptest.NewRecorder(), r)
	}
	if f.Refused {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"__type":"InternalServerError"}`)) // a client that went away is no news
		return
	}
	reset(w)
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
