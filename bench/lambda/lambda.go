// Package lambda measures built functions, ours and others, as Lambda runs them: their own binaries over an emulation of the
// Runtime API, frozen between invocations. What counts is the CPU time of the process.
package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/bench/internal/fixture"
	"github.com/latchkey-auth/latchkey/bench/internal/gotool"
	"github.com/latchkey-auth/latchkey/bench/internal/measure"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

const (
	starts  = 5   // of each function in a round
	passes  = 6   // of a round; each counts as a value of its own
	invokes = 100 // of each function in a pass
	warmup  = 400 // invocations before that; V8 has compiled by then
)

// The rows that targets are about.
const (
	empty      = "empty, Go"
	authorizer = "Latchkey authorizer"
	refresh    = "Latchkey refresh"
)

// The columns.
const (
	cpu      = "CPU"
	wall     = "elapsed"
	newToken = "new token"
	known    = "known token"
)

// Run measures starts, then invocations.
func Run(ctx context.Context, r *report.Report, o report.Options) error {
	b := bench{
		init: r.Table("lambda-init", empty, report.Column{Name: cpu, Unit: "ms", Digits: 2, Ratio: true},
			report.Column{Name: wall, Unit: "ms", Digits: 2, Ratio: true}),
		invoke: r.Table("lambda-invoke", empty, report.Column{Name: newToken, Unit: "µs", Ratio: true},
			report.Column{Name: known, Unit: "µs", Ratio: true}),
		sizes: r.Table("lambda-size", "", report.Column{Name: "amd64", Unit: "MiB", Digits: 2}, report.Column{Name: "arm64", Unit: "MiB", Digits: 2}),
	}
	var err error
	if b.host, err = newHost(); err != nil {
		return err
	}
	defer b.host.close()
	if b.signer, err = fixture.NewSigner(keyring.ES256); err != nil {
		return err
	}
	feed, err := b.serveFeed()
	if err != nil {
		return err
	}
	defer feed.Close()
	if err := b.build(ctx, o.Root, feed.URL); err != nil {
		return err
	}
	if b.event, err = os.ReadFile(filepath.Join(o.Root, "events", "authorizer-rest-request.json")); err != nil {
		return err
	}
	for round := range o.Rounds {
		fmt.Fprintf(o.Log, "lambda: round %d of %d\n", round+1, o.Rounds)
		if err := b.starts(ctx, round); err != nil {
			return err
		}
		if err := b.invocations(ctx, round); err != nil {
			return err
		}
	}
	b.targets(r)
	return nil
}

type bench struct {
	init, invoke, sizes *report.Table
	host                *host
	signer              *fixture.Signer
	certificate         string // file
	event               []byte // with a placeholder where the token goes
	functions           []function
	compared            string // the row of Node.js with aws-jwt-verify
}

// serveFeed serves a feed of a thousand revocations.
func (b *bench) serveFeed() (*httptest.Server, error) {
	page := func(w http.ResponseWriter, r *http.Request) {
		p, err := fixture.Feed{N: 1000}.Page(r.Context(), r.URL.Query().Get("after"), time.Time{})
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p)
	}
	s := httptest.NewTLSServer(http.HandlerFunc(page))
	b.certificate = filepath.Join(b.host.dir, "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return s, os.WriteFile(b.certificate, data, 0o600)
}

// build fills b.functions. All that judges tokens has the keys in its environment.
func (b *bench) build(ctx context.Context, root, feed string) error {
	make := builder{root, b.host.dir, b.sizes}
	versions, err := gotool.Versions(ctx, root, "github.com/golang-jwt/jwt/v5")
	if err != nil {
		return err
	}
	npm, err := gotool.NPMVersions(root)
	if err != nil {
		return err
	}
	b.compared = "Node.js, aws-jwt-verify " + npm["aws-jwt-verify"]
	judge := map[string]string{"ISSUER": fixture.Issuer, "AUDIENCE": fixture.Audience, "JWKS": string(b.signer.JWKS)}
	latchkey := map[string]string{"REVOCATIONS_URL": feed + revocation.PathFeed, "SSL_CERT_FILE": b.certificate}
	authorizerEnv := maps.Clone(judge)
	maps.Copy(authorizerEnv, latchkey)
	issuer := maps.Clone(latchkey)
	maps.Copy(issuer, map[string]string{"ISSUER": fixture.Issuer, "ACCESS_KEYS_SECRET": "access", "REFRESH_KEYS_SECRET": "refresh"})
	for _, name := range []string{"CLIENTS", "USERS", "SIGNINS", "ISSUERS", "ASSERTIONS", "GRANTS", "REVOCATIONS"} {
		issuer[name+"_TABLE"] = name
	}
	issuer["SIGNIN_KEY_SECRET"] = "signin"

	for _, f := range []struct {
		build func(ctx context.Context, name, what string) (string, error)
		what  string
		function
	}{
		{make.peer, "./lambda/empty", function{name: empty}},
		{make.ours, "Authorizer", function{name: authorizer, env: authorizerEnv, judges: true}},
		{make.peer, "./lambda/golangjwt", function{name: "authorizer, golang-jwt " + versions["github.com/golang-jwt/jwt/v5"], env: judge, judges: true}},
		{make.ours, "Refresh", function{name: refresh, env: issuer, issues: true}},
		{make.ours, "Token", function{name: "Latchkey token", env: issuer, issues: true}},
		{make.node, "empty.mjs", function{name: "empty, Node.js"}},
		{make.node, "aws-jwt-verify.mjs", function{name: b.compared, env: judge, judges: true}},
		{make.node, "jose.mjs", function{name: "Node.js, jose " + npm["jose"], env: judge, judges: true}},
	} {
		var err error
		if f.binary, err = f.build(ctx, f.name, f.what); err != nil {
			return err
		}
		b.functions = append(b.functions, f.function)
	}
	return nil
}

// starts measures from exec to the first poll.
func (b *bench) starts(ctx context.Context, round int) error {
	for pass := range starts {
		for _, f := range b.functions {
			begin := time.Now()
			running, err := b.host.start(lambdatest.Config{Binary: f.binary, Env: f.env})
			if err != nil {
				return err
			}
			if err := running.Ready(ctx); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			elapsed := time.Since(begin)
			used, err := settled(ctx, running)
			if err != nil {
				return err
			}
			b.host.stop()
			b.init.Add(round*starts+pass, f.name, cpu, milliseconds(used))
			b.init.Add(round*starts+pass, f.name, wall, milliseconds(elapsed))
		}
	}
	return nil
}

// settled waits until a function has nothing to do, and so is frozen, and returns its CPU time.
func settled(ctx context.Context, f *lambdatest.Function) (time.Duration, error) {
	for !f.Frozen() {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		time.Sleep(100 * time.Microsecond)
	}
	return measure.Process(f.PID())
}

// instance is a function that runs.
type instance struct {
	function
	running *lambdatest.Function
}

// invocations measures those functions that answer an authorizer's event, and the empty ones beside them.
func (b *bench) invocations(ctx context.Context, round int) error {
	defer b.host.stop()
	var instances []instance
	for _, f := range b.functions {
		if f.issues {
			continue
		}
		running, err := b.host.start(lambdatest.Config{Binary: f.binary, Env: f.env})
		if err != nil {
			return err
		}
		instances = append(instances, instance{f, running})
	}
	first, err := b.payloads(warmup)
	if err != nil {
		return err
	}
	bad, err := b.signer.Bad()
	if err != nil {
		return err
	}
	for _, i := range instances {
		for why, t := range bad {
			if out, err := i.running.Invoke(ctx, b.payload(t)); i.judges && err == nil && bytes.Contains(out, []byte(`"Allow"`)) {
				return fmt.Errorf("%s takes a token that is %s", i.name, why)
			}
		}
		if _, err := i.batch(ctx, first); err != nil {
			return err
		}
	}
	for pass := range passes {
		fresh, err := b.payloads(invokes)
		if err != nil {
			return err
		}
		// The last one was asked about a moment ago.
		again := slices.Repeat(fresh[len(fresh)-1:], len(fresh))
		for _, batch := range []struct {
			column   string
			payloads [][]byte
		}{{newToken, fresh}, {known, again}} {
			for _, i := range instances {
				used, err := i.batch(ctx, batch.payloads)
				if err != nil {
					return err
				}
				b.invoke.Add(round*passes+pass, i.name, batch.column, used)
			}
		}
	}
	return nil
}

// payloads are events of API Gateway's, each with a token of its own.
func (b *bench) payloads(n int) ([][]byte, error) {
	tokens, err := b.signer.Tokens(n)
	if err != nil {
		return nil, err
	}
	payloads := make([][]byte, n)
	for i, t := range tokens {
		payloads[i] = b.payload(t)
	}
	return payloads, nil
}

func (b *bench) payload(token string) []byte {
	return bytes.ReplaceAll(b.event, []byte("example-access-token"), []byte(token))
}

// batch returns the microseconds of CPU time that an event takes.
func (i instance) batch(ctx context.Context, payloads [][]byte) (float64, error) {
	if err := i.running.Ready(ctx); err != nil {
		return 0, fmt.Errorf("%s: %w", i.name, err)
	}
	before, err := settled(ctx, i.running)
	if err != nil {
		return 0, err
	}
	for _, payload := range payloads {
		out, err := i.running.Invoke(ctx, payload)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", i.name, err)
		}
		if i.judges && !bytes.Contains(out, []byte(`"Allow"`)) {
			return 0, fmt.Errorf("%s answers %s\n%s", i.name, out, i.running.Logs())
		}
	}
	after, err := settled(ctx, i.running)
	return float64((after - before).Nanoseconds()) / 1000 / float64(len(payloads)), err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (b *bench) targets(r *report.Report) {
	r.AtMost("authorizer.new", b.invoke.Series(authorizer, newToken).Over(b.invoke.Series(b.compared, newToken)).Median(), 0.60)
	r.AtMost("authorizer.known", b.invoke.Ratio(authorizer, known), 1.25)
	r.AtMost("authorizer.init", b.init.Ratio(authorizer, cpu), 1.15)
	for _, goarch := range []string{"amd64", "arm64"} {
		r.AtMost("authorizer.mib."+goarch, b.sizes.Series(authorizer, goarch).Median(), 6.5)
	}
	r.AtMost("refresh.init", b.init.Ratio(refresh, cpu), 1.6)
}
