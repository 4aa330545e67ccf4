package testenv

import (
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// CountingProxy stands in front of an AWS endpoint and counts the calls that reach it. It passes requests on as they came, the
// Host that was signed included. It can be stopped, as an endpoint that fails, and started again, or fail single calls.
type CountingProxy struct {
	Endpoint string // http://127.0.0.1:port, the same for as long as the test runs

	listener *faultyListener
	fault    atomic.Pointer[fault]
	mu       sync.Mutex
	counts   map[string]int
}

// Proxy returns a running proxy in front of the endpoint target. It ends with the test.
func Proxy(tb testing.TB, target string) *CountingProxy {
	tb.Helper()
	to, err := url.Parse(target)
	if err != nil {
		tb.Fatalf("testenv: proxy to %s: %v", target, err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("testenv: proxy: %v", err)
	}
	p := &CountingProxy{
		Endpoint: "http://" + inner.Addr().String(),
		listener: &faultyListener{Listener: inner, conns: map[*droppableConn]struct{}{}},
		counts:   map[string]int{},
	}

	transport := &http.Transport{
		// Answers carry checksums of the bytes that were sent.
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
		// Shorter than the servers' own patience: a POST on a connection that the server is closing is lost.
		IdleConnTimeout: time.Second,
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // a client that went away is no news; an endpoint that did is a 502
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.count(r)
			if f := p.fault.Load(); f != nil {
				f.serve(w, r, forward)
				return
			}
			forward.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(p.listener) // until it is closed
	}()
	tb.Cleanup(func() {
		_ = server.Close()
		<-done
		transport.CloseIdleConnections()
	})
	return p
}

// services names the services by the prefix of their X-Amz-Target header.
var services = map[string]string{
	"DynamoDB_20120810": "DynamoDB",
	"secretsmanager":    "SecretsManager",
	"TrentService":      "KMS",
}

// Counts returns how many requests of each operation arrived since the start or the last Reset, by names such as
// "DynamoDB.GetItem", "SecretsManager.GetSecretValue" and "KMS.Sign"; "other" is anything else. A retry is a request.
func (p *CountingProxy) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// Reset forgets what was counted.
func (p *CountingProxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.counts)
}

// Stop closes every connection, answered or not, and each new one at once, until Start. The port stays taken, so that
// nobody else can answer on it meanwhile.
func (p *CountingProxy) Stop() { p.listener.setDown(true) }

// Start ends what Stop began. A proxy is started when it is made.
func (p *CountingProxy) Start() { p.listener.setDown(false) }

// serviceOf names the service that is asked; empty for anything else.
func serviceOf(r *http.Request) string {
	prefix, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return services[prefix]
}

func (p *CountingProxy) count(r *http.Request) {
	name := "other"
	if _, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok && serviceOf(r) != "" {
		name = serviceOf(r) + "." + operation
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[name]++
}

// faultyListener is a listener that can drop its connections and keep its port.
type faultyListener struct {
	net.Listener

	mu    sync.Mutex
	down  bool
	conns map[*droppableConn]struct{}
}

func (l *faultyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := &droppableConn{Conn: c, listener: l}
		if l.add(conn) {
			return conn, nil
		}
		conn.drop()
	}
}

func (l *faultyListener) add(c *droppableConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *faultyListener) setDown(down bool) {
	l.mu.Lock()
	l.down = down
	var dropped map[*droppableConn]struct{}
	if down {
		dropped, l.conns = l.conns, map[*droppableConn]struct{}{}
	}
	l.mu.Unlock()
	for c := range dropped {
		c.drop()
	}
}

type droppableConn struct {
	net.Conn
	listener *faultyListener
}

func (c *droppableConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// drop resets the connection, so that its other end learns of it at once and no half of an answer is taken for whole.
func (c *droppableConn) drop() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // at worst the other end sees an ordinary close
	}
	_ = c.Conn.Close() // the server that reads from it closes it too
}
