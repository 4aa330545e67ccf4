package grant_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/collector"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// A benchmark of an endpoint runs it as a server in a process of its own, over loopback HTTP and with the log line written to
// a file, and stands beside the limit: a hello of net/http's in the same process, with the same settings, and one bare ES256 signature. What counts is
// the server's CPU time; ns/op says nothing.

func BenchmarkRefresh(b *testing.B) { benchmarkEndpoint(b, oauth.PathRefresh) }
func BenchmarkIssue(b *testing.B)   { benchmarkEndpoint(b, oauth.PathToken) }

func benchmarkEndpoint(b *testing.B, path string) {
	s := startServer(b)
	const connections, rounds = 8, 6
	var hello, signature, request, ratio []float64
	s.load(path, connections, 500)
	before := s.memory()
	s.load(path, connections, 500)
	after := s.memory()
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/(connections*500), "allocs/request")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(connections*500), "B/request")
	for range rounds {
		h := s.cpu(func() { s.load("/hello", connections, 1000) }) / (connections * 1000)
		g := s.cpu(func() { s.load("/sign", 1, 1) }) / signatures
		r := s.cpu(func() { s.load(path, connections, 500) }) / (connections * 500)
		hello, signature, request, ratio = append(hello, h), append(signature, g), append(request, r), append(ratio, r/(h+g))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(hello), "hello-µs")
	b.ReportMetric(median(signature), "signature-µs")
	b.ReportMetric(median(request), "request-µs")
	b.ReportMetric(median(ratio), "x-limit")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

const (
	serverEnv  = "LATCHKEY_BENCH_SERVER" // set for the process that is to be the server; LATCHKEY_BENCH_PROFILE: a file for its CPU profile
	signatures = 500                     // for each request of /sign
)

// server is one that runs, as those who load it see it.
type server struct {
	b       testing.TB
	Address string
	Bodies  map[string]string // of requests, by path
}

func startServer(b testing.TB) *server {
	c := exec.Command(os.Args[0], "-test.run=^TestBenchServer$", "-test.timeout=10m")
	c.Env = append(os.Environ(), serverEnv+"=1")
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		if err := c.Wait(); err != nil {
			b.Error(err)
		}
	})
	s := &server{b: b}
	if err := json.NewDecoder(stdout).Decode(s); err != nil {
		b.Fatal(err)
	}
	go io.Copy(io.Discard, stdout)
	return s
}

// load sends that many requests over each of that many connections.
func (s *server) load(path string, connections, requests int) {
	var all sync.WaitGroup
	for range connections {
		all.Go(func() { s.get(path, requests) })
	}
	all.Wait()
}

// get returns the last answer's body.
func (s *server) get(path string, requests int) string {
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		s.b.Error(err)
		return ""
	}
	defer conn.Close()
	request := "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"
	if body := s.Bodies[path]; body != "" {
		request = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	in, body := bufio.NewReader(conn), []byte(nil)
	for range requests {
		if _, err := io.WriteString(conn, request); err != nil {
			s.b.Error(err)
			return ""
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			s.b.Error(err)
			return ""
		}
		if body, err = io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			s.b.Errorf("%s: %d %s %v", path, answer.StatusCode, body, err)
			return ""
		}
	}
	return string(body)
}

// cpu returns the microseconds of CPU time that the server spends while do runs.
func (s *server) cpu(do func()) float64 {
	spent := func() (us float64) {
		fmt.Sscan(s.get("/cpu", 1), &us)
		return us
	}
	before := spent()
	do()
	return spent() - before
}

// memory returns what the server has used.
func (s *server) memory() (m runtime.MemStats) {
	if err := json.Unmarshal([]byte(s.get("/memory", 1)), &m); err != nil {
		s.b.Error(err)
	}
	return m
}

// TestBenchServer is the server, where a benchmark has started this binary for it. It ends with its standard input.
func TestBenchServer(t *testing.T) {
	if os.Getenv(serverEnv) == "" {
		return // not a test of its own
	}
	if name := os.Getenv("LATCHKEY_BENCH_PROFILE"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	collector.Function(func(name string) (string, bool) { return "256", name == "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" }) // the template's
	mux, bodies := benchHandlers(t)
	go http.Serve(listener, mux)
	json.NewEncoder(os.Stdout).Encode(server{Address: listener.Addr().String(), Bodies: bodies})
	io.Copy(io.Discard, os.Stdin)
	listener.Close()
}

// benchHandlers are the endpoints as the functions make them, over a store and a feed in memory or a file, with what to send.
func benchHandlers(t *testing.T) (http.Handler, map[string]string) {
	w := newWary(t)
	w.runs = time.Now()
	view := w.minter.Revocations.(*revocation.View)
	verifier, err := token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: w.keys, Revocations: view, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	log := jsonlog.New(out)
	clients := client.NewAuthenticator(w.registry.Store, w.now)
	mux := http.NewServeMux()
	mux.Handle(oauth.PathToken, grant.Endpoint{Name: "token", Log: log, Now: w.now, Proofs: w.proofs, Types: map[string]grant.Type{
		oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: w.minter},
		oauth.GrantRefreshToken:      &refresh.Type{Tokens: verifier, Minter: w.minter, Clients: clients},
	}}.Handler())
	mux.Handle(oauth.PathRefresh, grant.Endpoint{Name: "refresh", Log: log, Now: w.now, Proofs: w.proofs, NoCredentials: true, Types: map[string]grant.Type{
		oauth.GrantRefreshToken: &refresh.Type{Tokens: verifier, Minter: w.minter},
	}}.Handler())
	mux.HandleFunc("/hello", func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "hello") })
	mux.HandleFunc("/cpu", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, processCPU().Microseconds()) })
	mux.HandleFunc("/memory", func(rw http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		json.NewEncoder(rw).Encode(m)
	})
	mux.HandleFunc("/sign", func(http.ResponseWriter, *http.Request) { signBare(t) })

	secret := w.register(client.Spec{ID: "shop"})
	form := func(pairs ...string) string {
		body, _ := io.ReadAll(post(oauth.PathToken, pairs...).Body)
		return string(body)
	}
	held := w.signIn("shop", secret).field("refresh_token")
	return mux, map[string]string{
		oauth.PathToken:   form("grant_type", "client_credentials", "client_id", "shop", "client_secret", secret),
		oauth.PathRefresh: form("grant_type", "refresh_token", "client_id", "shop", "refresh_token", held),
	}
}

func signBare(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	for range signatures {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			t.Error(err)
		}
	}
}

func processCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
