// Command attack is the load's other end: it takes the same lines as bench/endpoint/generator, and has vegeta, which many
// know, make the requests and measure them.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
)

const (
	workers = 256 // at most; a slower server has as many requests wait
	timeout = 5 * time.Second
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var a generate.Announcement
	if err := in.Decode(&a); err != nil {
		return err
	}
	g, err := generate.New(a)
	if err != nil {
		return err
	}
	t := &target{Announcement: a, client: &http.Client{
		Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: workers, DisableCompression: true},
	}}
	for {
		var j generate.Job
		if err := in.Decode(&j); errors.Is(err, io.EOF) {
			return nil // whoever started it is done
		} else if err != nil {
			return err
		}
		var r generate.Result
		if j.Kind == generate.Prime {
			r = g.Run(context.Background(), j)
			t.hold(g.RefreshTokens())
		} else {
			r = t.attack(j)
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

// target is a server and the refresh tokens that are in nobody's hands.
type target struct {
	generate.Announcement
	client *http.Client
	tokens chan string
}

func (t *target) hold(tokens []string) {
	t.tokens = make(chan string, len(tokens))
	for _, token := range tokens {
		t.tokens <- token
	}
}

// attack asks at a rate for a while. Answers but 200 are no errors here: beyond what a server can do, there are some.
func (t *target) attack(j generate.Job) generate.Result {
	attacker := vegeta.NewAttacker(vegeta.Client(t.client), vegeta.Workers(workers/4), vegeta.MaxWorkers(workers), vegeta.MaxBody(64<<10))
	var m vegeta.Metrics
	var failed error
	for r := range attacker.Attack(t.next(j.Kind), vegeta.ConstantPacer{Freq: int(j.Rate), Per: time.Second}, j.Duration, string(j.Kind)) {
		m.Add(r)
		if r.Code != 0 && r.Code != http.StatusOK {
			failed = fmt.Errorf("%d: %.300s", r.Code, r.Body)
		}
		t.takeBack(r.Body)
	}
	m.Close()
	if failed != nil {
		return generate.Result{Error: failed.Error()}
	}
	return generate.Result{
		Requests: int(m.Success * float64(m.Requests)), Elapsed: m.Duration + m.Wait,
		Latency: generate.Quantiles{P50: m.Latencies.P50, P99: m.Latencies.P99, Max: m.Latencies.Max},
	}
}

// takeBack holds the refresh token of an answer, if it has one.
func (t *target) takeBack(body []byte) {
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.RefreshToken == "" {
		return
	}
	select {
	case t.tokens <- answer.RefreshToken:
	default: // of a sign-in
	}
}

// next makes the requests.
func (t *target) next(k generate.Kind) vegeta.Targeter {
	path := t.TokenPath
	if k == generate.Refresh {
		path = t.RefreshPath
	}
	c := t.Credentials[0]
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	if k != generate.Refresh || !t.Bare {
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID)+":"+url.QueryEscape(c.Secret))))
	}
	signIn := []byte(url.Values{"grant_type": {"client_credentials"}, "scope": {t.Scope}}.Encode())
	return func(to *vegeta.Target) error {
		to.Method, to.URL, to.Header, to.Body = http.MethodPost, t.URL+path, header, signIn
		if k != generate.Refresh {
			return nil
		}
		select {
		case token := <-t.tokens:
			to.Body = []byte("grant_type=refresh_token&refresh_token=" + token)
			if t.Bare { // works again and again
				to.Body = append(append(to.Body, "&client_id="...), c.ID...)
				t.tokens <- token
			}
			return nil
		default:
			return errors.New("no refresh token is left")
		}
	}
}
