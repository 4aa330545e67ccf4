//go:build unix

package lambdatest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const region = "eu-central-1"

// invocation is one event on its way through the function.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time // set when it is handed over

	once     sync.Once
	done     chan struct{} // closed when response and err are set
	response []byte
	err      error
}

func newInvocation(payload []byte) *invocation {
	h := randomHex(16)
	return &invocation{
		id:      fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:]),
		payload: slices.Clone(payload), // the caller may be gone before it is sent
		done:    make(chan struct{}),
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// finish ends the invocation; only the first call counts.
func (i *invocation) finish(response []byte, err error) {
	i.once.Do(func() {
		i.response, i.err = response, err
		close(i.done)
	})
}

// state is what the Runtime API's side and the invoking side share.
type state struct {
	mu      sync.Mutex
	current *invocation // the one that the process has and has not ended
	killed  error       // why we have killed the process, if we have

	initErr *FunctionError // what the process has reported instead of polling
}

func (s *state) begin(inv *invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = inv
}

func (s *state) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
}

// running returns the invocation with this id, if it is the one that the process has.
func (s *state) running(id string) (*invocation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.current != nil && s.current.id == id
}

func (s *state) killedFor(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed == nil {
		s.killed = why
	}
}

func (s *state) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed
}

func (s *state) initError() *FunctionError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.initErr
}

// runtimeAPI is the part of Lambda's Runtime API (version 2018-06-01) that a function's runtime uses.
func (f *Function) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", f.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", f.respond)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", f.fail)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", f.failInit)
	return mux
}

// next freezes the process, which has nothing left to do, until there is an invocation for it.
func (f *Function) next(w http.ResponseWriter, r *http.Request) {
	f.signal(syscall.SIGSTOP)
	f.markReady()

	poll := make(chan *invocation)
	select {
	case f.polls <- poll:
	case <-r.Context().Done(): // the process is gone
		return
	}
	inv := <-poll
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:"+region+":123456789012:function:"+f.name)
	h.Set("Lambda-Runtime-Trace-Id",
		fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", time.Now().Unix(), randomHex(12), randomHex(8)))
	w.Write(inv.payload)
}

// markReady notes the first poll.
func (f *Function) markReady() {
	f.state.mu.Lock()
	defer f.state.mu.Unlock()
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

func (f *Function) respond(w http.ResponseWriter, r *http.Request) {
	inv, ok := f.state.running(r.PathValue("id"))
	if !ok {
		refuse(w, http.StatusBadRequest, "InvalidRequestID")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	if err != nil {
		return // the process ended amidst its answer
	}
	if len(body) > maxPayload {
		inv.finish(nil, &FunctionError{"Function.ResponseSizeTooLarge",
			fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", maxPayload)})
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge")
		return
	}
	w.WriteHeader(http.StatusAccepted)
	inv.finish(body, nil)
}

func (f *Function) fail(w http.ResponseWriter, r *http.Request) {
	inv, ok := f.state.running(r.PathValue("id"))
	if !ok {
		refuse(w, http.StatusBadRequest, "InvalidRequestID")
		return
	}
	e := readError(r)
	w.WriteHeader(http.StatusAccepted)
	inv.finish(nil, e)
}

func (f *Function) failInit(w http.ResponseWriter, r *http.Request) {
	e := readError(r)
	w.WriteHeader(http.StatusAccepted)
	f.state.mu.Lock()
	defer f.state.mu.Unlock()
	if f.state.initErr == nil {
		f.state.initErr = e
		close(f.initFailed)
	}
}

func readError(r *http.Request) *FunctionError {
	var e struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxPayload)).Decode(&e); err != nil {
		return &FunctionError{"Runtime.Unknown", "the function reported an error that can't be read"}
	}
	return &FunctionError{e.Type, e.Message}
}

func refuse(w http.ResponseWriter, status int, errorType string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errorType":%q,"errorMessage":""}`, errorType)
}
