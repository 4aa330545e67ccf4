// Package rig runs token endpoints to be measured: each server a process on one processor, who makes its load another
// process on another. All of it ends with the Rig, and with the process that made it.
package rig

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/internal/measure"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// The processors, as taskset(1) counts them.
const (
	serverCPU    = "0"
	generatorCPU = "1"
)

// startTime is how long a server may take to announce itself: one with 100,000 clients takes seconds.
const startTime = 2 * time.Minute

// Rig is where servers run. Make one with New.
type Rig struct {
	dir     string // of the binaries, and of what servers write
	bench   string // the module
	log     io.Writer
	servers []*Server
}

// New builds the servers and the generator.
func New(ctx context.Context, o report.Options) (*Rig, error) {
	if runtime.NumCPU() < 2 {
		return nil, errors.New("the server and its load need a processor each: this machine has one")
	}
	dir, err := os.MkdirTemp("", "latchkey-bench-")
	if err != nil {
		return nil, err
	}
	r := &Rig{dir: dir, bench: filepath.Join(o.Root, "bench"), log: o.Log}
	build := exec.CommandContext(ctx, "go", "build", "-C", r.bench, "-trimpath", "-o", dir+"/", "./endpoint/...", "./load/attack")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("building the servers: %w\n%s", err, out), r.Close())
	}
	return r, nil
}

func (r *Rig) path(name string) string { return filepath.Join(r.dir, name) }

// Close ends all servers.
func (r *Rig) Close() error {
	for _, s := range r.servers {
		s.Close()
	}
	return os.RemoveAll(r.dir)
}

// Spec says which server to start.
type Spec struct {
	Name      string // in tables
	Generator string // whose load it gets; empty: generator
	command   []string
	env       []string
}

// The servers. seats is how many connections may refresh side by side.

// Latchkey is ours.
func Latchkey(seats int) Spec {
	return Spec{Name: "latchkey", command: []string{"latchkey", "-seats", strconv.Itoa(seats)}}
}

// LatchkeyOf is ours with that many clients, each of which has a seat.
func LatchkeyOf(clients int) Spec {
	return Spec{Name: fmt.Sprintf("latchkey, %d clients", clients), command: []string{"latchkey", "-clients", strconv.Itoa(clients)}}
}

// Hello is net/http and no more.
func Hello() Spec { return Spec{Name: "net/http hello", command: []string{"limit"}} }

// Limit is net/http and one bare signature.
func Limit() Spec {
	return Spec{Name: "hello + bare ES256", command: []string{"limit", "-sign"}}
}

// GoOAuth2 is go-oauth2/oauth2.
func GoOAuth2(seats int) Spec { return peer("go-oauth2", "gooauth2", seats) }

// Zitadel is zitadel/oidc.
func Zitadel(seats int) Spec { return peer("zitadel/oidc", "zitadel", seats) }

// Fosite is ory/fosite.
func Fosite(seats int) Spec { return peer("ory/fosite", "fosite", seats) }

// OIDCProvider is panva's, on Node.js.
func OIDCProvider(seats int) Spec {
	return Spec{
		Name:    "oidc-provider",
		command: []string{"node", "endpoint/servers/oidcprovider/server.mjs", "--seats", strconv.Itoa(seats)},
		env:     []string{"NODE_ENV=production"},
	}
}

// Peers are all of them.
func Peers(seats int) []Spec {
	return []Spec{GoOAuth2(seats), Zitadel(seats), Fosite(seats), OIDCProvider(seats)}
}

func peer(name, binary string, seats int) Spec {
	return Spec{Name: name, command: []string{binary, "-seats", strconv.Itoa(seats)}}
}

// Server is a server that runs, with its generator.
type Server struct {
	Name         string
	announcement generate.Announcement
	server       *process
	generator    *process
}

// Start starts a server and its generator, and has each seat get a refresh token.
func (r *Rig) Start(ctx context.Context, spec Spec) (*Server, error) {
	s := &Server{Name: spec.Name}
	r.servers = append(r.servers, s)
	command := append([]string(nil), spec.command...)
	if command[0] != "node" {
		command[0] = r.path(command[0])
	}
	if spec.command[0] == "latchkey" {
		command = append(command, "-log", filepath.Join(r.dir, fmt.Sprintf("%d.log", len(r.servers))))
	}
	var err error
	// Latchkey's functions run at this GOGC (internal/collector); here all that is written in Go does.
	if s.server, err = r.run(ctx, serverCPU, command, append(spec.env, "GOMAXPROCS=1", "GOGC=400")...); err != nil {
		return nil, err
	}
	// The generator's collector has little to find and much to look through: 100,000 seats.
	if s.generator, err = r.run(ctx, generatorCPU, []string{r.path(cmp.Or(spec.Generator, "generator"))}, "GOMAXPROCS=1", "GOGC=800"); err != nil {
		return nil, err
	}
	var line json.RawMessage
	if err := s.server.read(ctx, startTime, &line); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	if err := json.Unmarshal(line, &s.announcement); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	if err := s.generator.write(line); err != nil {
		return nil, err
	}
	if _, err := s.Run(ctx, generate.Job{Kind: generate.Prime, Connections: 1}); err != nil {
		return nil, err
	}
	return s, nil
}

// Sample is what a job came to, or several of one server's.
type Sample struct {
	generate.Result               // its quantiles are the last job's
	CPU             time.Duration // of the server, in all
}

// Rate is in requests a second.
func (s Sample) Rate() float64 { return float64(s.Requests) / s.Elapsed.Seconds() }

// Micros is the server's CPU time a request, in µs.
func (s Sample) Micros() float64 {
	return float64(s.CPU) / float64(time.Microsecond) / float64(s.Requests)
}

// Share is how much of its processor the server had.
func (s Sample) Share() float64 { return float64(s.CPU) / float64(s.Elapsed) }

func (s Sample) plus(o Sample) Sample {
	o.Requests += s.Requests
	o.Elapsed += s.Elapsed
	o.TokenBytes += s.TokenBytes
	o.CPU += s.CPU
	return o
}

const (
	slice  = 500 * time.Millisecond
	passes = 3
)

// Turns measures servers in turn, a slice at a time and several times each, so that what else the machine does then falls on
// all alike; first says whose turn it is first. The samples are in the order of the servers.
func Turns(ctx context.Context, servers []*Server, k generate.Kind, connections, first int) ([]Sample, error) {
	sums := make([]Sample, len(servers))
	for range passes {
		for i := range servers {
			i = (i + first) % len(servers)
			s, err := servers[i].Run(ctx, generate.Job{Kind: k, Connections: connections, Duration: slice})
			if err != nil {
				return nil, err
			}
			sums[i] = sums[i].plus(s)
		}
	}
	return sums, nil
}

// jobTime is how long a job may take longer than it says, or than its count does at a thousand a second. Priming 100,000
// seats takes half of it.
const jobTime = time.Minute

// Run has the generator do a job and measures the server meanwhile.
func (s *Server) Run(ctx context.Context, j generate.Job) (Sample, error) {
	before, err := measure.Process(s.server.pid())
	if err != nil {
		return Sample{}, err
	}
	if err := s.generator.write(j); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", s.Name, err)
	}
	var r generate.Result
	if err := s.generator.read(ctx, jobTime+j.Duration+time.Duration(j.Count)*time.Millisecond, &r); err != nil {
		return Sample{}, fmt.Errorf("%s: the generator: %w", s.Name, err)
	}
	after, err := measure.Process(s.server.pid())
	if err != nil {
		return Sample{}, err
	}
	if r.Error != "" {
		return Sample{}, fmt.Errorf("%s, %s: %s", s.Name, j.Kind, r.Error)
	}
	return Sample{r, after - before}, nil
}

// Memory is what the server has in memory, in MB.
func (s *Server) Memory() (float64, error) {
	now, _, err := measure.Memory(s.server.pid())
	return float64(now) / 1e6, err
}

// Close ends the server and its generator.
func (s *Server) Close() {
	for _, p := range []*process{s.generator, s.server} {
		if p != nil {
			p.end()
		}
	}
}
