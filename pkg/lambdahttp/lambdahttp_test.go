package lambdahttp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
)

// answer is what API Gateway reads.
type answer struct {
	StatusCode        int               `json:"statusCode"`
	Headers           map[string]string `json:"headers"`
	MultiValueHeaders http.Header       `json:"multiValueHeaders"`
	Cookies           []string          `json:"cookies"`
	Body              string            `json:"body"`
	IsBase64Encoded   bool              `json:"isBase64Encoded"`
}

func invoke(t *testing.T, h http.HandlerFunc, payload string) answer {
	t.Helper()
	out, err := lambdahttp.Handler(h).Invoke(t.Context(), []byte(payload))
	if err != nil {
		t.Fatalf("Invoke: %v", err)
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("the answer %s: %v", out, err)
	}
	return a
}

// request is the request that a handler gets for an event.
func request(t *testing.T, payload string) *http.Request {
	t.Helper()
	var got *http.Request
	invoke(t, func(_ http.ResponseWriter, r *http.Request) { got = r }, payload)
	if got == nil {
		t.Fatal("the handler was not called")
	}
	return got
}

const (
	// Smallest events of each kind, for a GET of /x.
	v2   = `{"version":"2.0","routeKey":"GET /x","rawPath":"/x","requestContext":{"stage":"$default","http":{"method":"GET"}}}`
	rest = `{"resource":"/x","path":"/x","httpMethod":"GET","requestContext":{"stage":"prod"}}`
)

func TestPath(t *testing.T) {
	httpAPI := func(routeKey, rawPath, stage string) string {
		return `{"version":"2.0","routeKey":"` + routeKey + `","rawPath":"` + rawPath +
			`","requestContext":{"stage":"` + stage + `","http":{"method":"GET"}}}`
	}
	functionURL := func(rawPath string) string {
		return `{"version":"2.0","routeKey":"$default","rawPath":"` + rawPath +
			`","requestContext":{"stage":"$default","domainName":"abc.lambda-url.eu-central-1.on.aws","http":{"method":"GET"}}}`
	}
	restAPI := func(resource, path, stage string) string {
		return `{"resource":"` + resource + `","path":"` + path +
			`","httpMethod":"GET","requestContext":{"stage":"` + stage + `"}}`
	}
	httpAPI10 := func(resource, path, stage string) string {
		return `{"version":"1.0","resource":"` + resource + `","path":"` + path +
			`","httpMethod":"GET","requestContext":{"stage":"` + stage + `"}}`
	}
	tests := []struct {
		name, payload, path, uri string
	}{
		{"the route", httpAPI("GET /whoami", "/whoami", "$default"), "/whoami", "/whoami"},
		{"the route, any method", httpAPI("ANY /whoami", "/whoami", "$default"), "/whoami", "/whoami"},
		{"the route, whatever stage", httpAPI("GET /whoami", "/dev/whoami", "dev"), "/whoami", "/whoami"},
		{"the route, not the slash sent", httpAPI("GET /whoami", "/whoami/", "$default"), "/whoami", "/whoami"},
		{"the route, not a base path", httpAPI("GET /whoami", "/auth/whoami", "dev"), "/whoami", "/whoami"},
		{"a variable", httpAPI("GET /o/{id}", "/o/7", "$default"), "/o/7", "/o/7"},
		{"a greedy variable", httpAPI("GET /{proxy+}", "/o/7", "$default"), "/o/7", "/o/7"},
		{"$default", httpAPI("$default", "/o/7", "$default"), "/o/7", "/o/7"},
		{"a stage", httpAPI("$default", "/dev/o/7", "dev"), "/o/7", "/o/7"},
		{"a stage alone", httpAPI("$default", "/dev", "dev"), "/", "/"},
		{"a stage, once only", httpAPI("$default", "/dev/dev/o", "dev"), "/dev/o", "/dev/o"},
		{"not a stage, a name that begins so", httpAPI("$default", "/device", "dev"), "/device", "/device"},
		{"decoded once only", httpAPI("$default", "/a%2Fb", "$default"), "/a%2Fb", "/a%252Fb"},

		{"a function URL", functionURL("/o/7"), "/o/7", "/o/7"},
		{"a function URL, encoded", functionURL("/a%2Fb%20c"), "/a/b c", "/a%2Fb%20c"},
		{"a function URL, badly encoded", functionURL("/a%zz"), "/a%zz", "/a%25zz"},

		{"the resource", restAPI("/whoami", "/whoami", "prod"), "/whoami", "/whoami"},
		{"the resource, not a base path", restAPI("/whoami", "/v1/whoami", "prod"), "/whoami", "/whoami"},
		{"a variable of a resource", restAPI("/o/{id}", "/o/7", "prod"), "/o/7", "/o/7"},
		{"a greedy resource", restAPI("/{proxy+}", "/o/a%2Fb", "prod"), "/o/a/b", "/o/a%2Fb"},
		{"a REST path has no stage", restAPI("/{proxy+}", "/prod/o", "prod"), "/prod/o", "/prod/o"},

		{"an HTTP API's 1.0", httpAPI10("/whoami", "/dev/whoami", "dev"), "/whoami", "/whoami"},
		{"an HTTP API's 1.0, $default", httpAPI10("$default", "/dev/o", "dev"), "/o", "/o"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, test.payload)
			if r.URL.Path != test.path {
				t.Errorf("path = %q, want %q", r.URL.Path, test.path)
			}
			if r.RequestURI != test.uri {
				t.Errorf("request URI = %q, want %q", r.RequestURI, test.uri)
			}
		})
	}
}

// TestClientCertificate: it is what the gateway says, in the place where each kind of event has it, and nothing else.
func TestClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	der := server.Certificate().Raw
	quoted, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if err != nil {
		t.Fatal(err)
	}
	certificate := `"clientCert":{"clientCertPem":` + string(quoted) + `,"subjectDN":"CN=x"}`
	in := func(event, member string) string { return strings.Replace(event, `"stage":`, member+`,"stage":`, 1) }
	headers := func(event string) string {
		return strings.Replace(event, `"requestContext":`, `"headers":{"X-Amzn-Mtls-Clientcert":`+string(quoted)+`,"Client-Cert":`+string(quoted)+`},"requestContext":`, 1)
	}
	for _, row := range []struct {
		what, event string
		shown       bool
	}{
		{"HTTP API", in(v2, `"authentication":{`+certificate+`}`), true},
		{"REST API", in(rest, `"identity":{`+certificate+`}`), true},
		{"HTTP API 1.0", in(`{"version":"1.0",`+rest[1:], `"identity":{`+certificate+`}`), true},
		{"HTTP API, none", in(v2, `"authentication":null`), false},
		{"REST API, none", in(rest, `"identity":{"clientCert":null}`), false},
		{"HTTP API, in REST's place", in(v2, `"identity":{`+certificate+`}`), false},
		{"REST API, in HTTP's place", in(rest, `"authentication":{`+certificate+`}`), false},
		{"HTTP API, headers", headers(v2), false},
		{"REST API, headers", headers(rest), false},
	} {
		r := request(t, row.event)
		switch {
		case r.TLS == nil && row.shown:
			t.Errorf("%s: there is no certificate", row.what)
		case r.TLS != nil && (!row.shown || len(r.TLS.PeerCertificates) != 1 || !bytes.Equal(r.TLS.PeerCertificates[0].Raw, der)):
			t.Errorf("%s: %+v", row.what, r.TLS.PeerCertificates)
		}
	}
	for _, text := range []string{"x", "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n", strings.ReplaceAll(strings.Trim(string(quoted), `"`), "CERTIFICATE", "PUBLIC KEY")} {
		a := invoke(t, func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }, in(v2, `"authentication":{"clientCert":{"clientCertPem":"`+text+`"}}`))
		if a.StatusCode != 400 || !strings.Contains(a.Body, "certificate") {
			t.Errorf("%q: %d %s", text, a.StatusCode, a.Body)
		}
	}
}

func TestQuery(t *testing.T) {
	tests := []struct{ name, members, query string }{
		{"none", `"rawQueryString":""`, ""},
		{"2.0 as it was sent", `"version":"2.0","rawPath":"/x","rawQueryString":"b=%20&a=1&a=2"`, "b=%20&a=1&a=2"},
		{"1.0 encoded again",
			`"queryStringParameters":{"a":"2"},"multiValueQueryStringParameters":{"b":["x&y=z"],"a":["1","2"]}`,
			"a=1&a=2&b=x%26y%3Dz"},
		{"1.0 with single values only", `"queryStringParameters":{"a":"1 2"}`, "a=1+2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, `{"path":"/x","httpMethod":"GET","requestContext":{"http":{"method":"GET"}},`+test.members+`}`)
			if r.URL.RawQuery != test.query {
				t.Errorf("query = %q, want %q", r.URL.RawQuery, test.query)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Run("1.0 keeps two of one name two", func(t *testing.T) {
		r := request(t, `{"path":"/x","httpMethod":"GET","requestContext":{},
			"headers":{"Authorization":"Bearer b"},
			"multiValueHeaders":{"Authorization":["Basic a","Bearer b"],"host":["example.com"]}}`)
		want := http.Header{"Authorization": {"Basic a", "Bearer b"}}
		if diff := cmp.Diff(want, r.Header); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		if r.Host != "example.com" {
			t.Errorf("host = %q", r.Host)
		}
	})
	t.Run("1.0 with single values only", func(t *testing.T) {
		r := request(t, `{"path":"/x","httpMethod":"GET","requestContext":{"domainName":"d.example.com"},
			"headers":{"accept":"a, b"},"multiValueHeaders":null}`)
		if diff := cmp.Diff(http.Header{"Accept": {"a, b"}}, r.Header); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		if r.Host != "d.example.com" {
			t.Errorf("host = %q, want the gateway's where the client's is not told", r.Host)
		}
	})
	t.Run("2.0 is not split at commas", func(t *testing.T) {
		r := request(t, `{"version":"2.0","rawPath":"/x","requestContext":{"http":{"method":"GET","sourceIp":"2001:db8::1","protocol":"HTTP/2.0"}},
			"headers":{"authorization":"Digest a=\"1, 2\",Bearer b"},"cookies":["a=1","b=2"]}`)
		want := http.Header{"Authorization": {`Digest a="1, 2",Bearer b`}, "Cookie": {"a=1; b=2"}}
		if diff := cmp.Diff(want, r.Header); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		if c, err := r.Cookie("b"); err != nil || c.Value != "2" {
			t.Errorf("cookie b = %v, %v", c, err)
		}
		if r.RemoteAddr != "[2001:db8::1]:0" {
			t.Errorf("remote address = %q", r.RemoteAddr)
		}
		if r.Proto != "HTTP/2.0" || r.ProtoMajor != 2 || r.ProtoMinor != 0 {
			t.Errorf("protocol = %q, %d, %d", r.Proto, r.ProtoMajor, r.ProtoMinor)
		}
	})
	t.Run("sensible without", func(t *testing.T) {
		r := request(t, rest)
		if r.Proto != "HTTP/1.1" || r.RemoteAddr != "" || r.ContentLength != 0 || r.Body != http.NoBody {
			t.Errorf("proto %q, remote %q, length %d, body %v", r.Proto, r.RemoteAddr, r.ContentLength, r.Body)
		}
	})
}

func TestRequestBody(t *testing.T) {
	for _, test := range []struct{ name, members, want string }{
		{"plain", `"body":"a=1"`, "a=1"},
		{"plain that looks encoded", `"body":"YT0x","isBase64Encoded":false`, "YT0x"},
		{"encoded", `"body":"YT0x","isBase64Encoded":true`, "a=1"},
		{"encoded, of a type that could be plain", `"headers":{"content-type":"application/json"},"body":"e30=","isBase64Encoded":true`, "{}"},
		{"null", `"body":null`, ""},
		{"encoded and empty", `"body":"","isBase64Encoded":true`, ""},
	} {
		for kind, event := range map[string]string{"2.0": v2, "1.0": rest} {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				r := request(t, strings.TrimSuffix(event, "}")+","+test.members+"}")
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != test.want {
					t.Errorf("body = %q, %v, want %q", body, err, test.want)
				}
				if r.ContentLength != int64(len(test.want)) {
					t.Errorf("content length = %d", r.ContentLength)
				}
			})
		}
	}
}

func TestBadBase64(t *testing.T) {
	for kind, event := range map[string]string{"2.0": v2, "1.0": rest} {
		t.Run(kind, func(t *testing.T) {
			called := false
			a := invoke(t, func(http.ResponseWriter, *http.Request) { called = true },
				strings.TrimSuffix(event, "}")+`,"body":"%%%","isBase64Encoded":true}`)
			if called {
				t.Error("the handler was asked")
			}
			if a.StatusCode != 400 || a.IsBase64Encoded ||
				a.Body != `{"error":"invalid_request","error_description":"the event's body is not valid base64"}` {
				t.Errorf("answer = %+v", a)
			}
			if cc := header(a, "Cache-Control"); cc != "no-store" {
				t.Errorf("Cache-Control = %q", cc)
			}
			if (kind == "2.0") != (a.MultiValueHeaders == nil) {
				t.Errorf("answer is not in the event's form: %+v", a)
			}
		})
	}
}

func header(a answer, name string) string {
	if a.MultiValueHeaders != nil {
		return a.MultiValueHeaders.Get(name)
	}
	return a.Headers[name]
}

func TestUnknownEvents(t *testing.T) {
	for name, payload := range map[string]string{
		"empty":                 "",
		"broken JSON":           `{"version":"2.0"`,
		"null":                  `null`,
		"a list":                `[]`,
		"an empty object":       `{}`,
		"a wrong type":          `{"version":2.0}`,
		"another version":       strings.Replace(v2, "2.0", "3.0", 1),
		"2.0 without a method":  `{"version":"2.0","rawPath":"/x","requestContext":{}}`,
		"2.0 without a path":    `{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`,
		"1.0 without a method":  `{"path":"/x","requestContext":{}}`,
		"1.0 without a path":    `{"httpMethod":"GET","requestContext":{}}`,
		"a load balancer":       `{"httpMethod":"GET","path":"/x","requestContext":{"elb":{"targetGroupArn":"arn"}}}`,
		"a REST authorizer":     `{"type":"REQUEST","methodArn":"arn","httpMethod":"GET","path":"/x","requestContext":{}}`,
		"an HTTP authorizer":    `{"version":"2.0","type":"REQUEST","routeArn":"arn","rawPath":"/x","requestContext":{"http":{"method":"GET"}}}`,
		"a token authorizer":    `{"type":"TOKEN","methodArn":"arn","authorizationToken":"Bearer example"}`,
		"a queue":               `{"Records":[{"eventSource":"aws:sqs","body":"x"}]}`,
		"a WebSocket's connect": `{"requestContext":{"routeKey":"$connect","eventType":"CONNECT","connectionId":"x","stage":"prod"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := lambdahttp.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				t.Error("the handler was asked")
			}))
			out, err := h.Invoke(t.Context(), []byte(payload))
			if !errors.Is(err, lambdahttp.ErrUnknownEvent) || out != nil {
				t.Errorf("Invoke = %s, %v, want ErrUnknownEvent", out, err)
			}
		})
	}
}

func TestContext(t *testing.T) {
	with := func(event, authorizer string) string {
		return strings.Replace(event, `"requestContext":{`, `"requestContext":{"requestId":"r-1","authorizer":`+authorizer+`,`, 1)
	}
	for _, test := range []struct {
		name, payload string
		want          map[string]string // nil: there is none
	}{
		{"1.0", with(rest, `{"principalId":"p","n":1788258630,"f":1.50,"yes":true,"no":false}`),
			map[string]string{"principalId": "p", "n": "1788258630", "f": "1.50", "yes": "true", "no": "false"}},
		{"1.0, what no Lambda authorizer says", with(rest, `{"claims":{"sub":"x"},"list":["x"],"null":null}`), map[string]string{}},
		{"1.0 null", with(rest, `null`), nil},
		{"1.0 a string", with(rest, `"x"`), nil},
		{"2.0", with(v2, `{"lambda":{"sub":"s","exp":1788258630}}`), map[string]string{"sub": "s", "exp": "1788258630"}},
		{"2.0 empty", with(v2, `{"lambda":{}}`), map[string]string{}},
		{"2.0 null", with(v2, `{"lambda":null}`), nil},
		{"2.0 without lambda", with(v2, `{"jwt":{"claims":{"sub":"x"}},"sub":"x"}`), nil},
		{"2.0 a list", with(v2, `[]`), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := request(t, test.payload).Context()
			if id := gatewayctx.RequestID(ctx); id != "r-1" {
				t.Errorf("request id = %q", id)
			}
			got, ok := gatewayctx.Authorizer(ctx)
			if ok != (test.want != nil) {
				t.Errorf("ok = %v", ok)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("authorizer (-want +got):\n%s", diff)
			}
		})
	}
	if _, ok := gatewayctx.Authorizer(request(t, rest).Context()); ok {
		t.Error("an authorizer where the event has none")
	}
}

func TestInvokeContextReachesHandler(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "here")
	h := lambdahttp.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Context().Value(key{}) != "here" {
			t.Error("the invocation's context is lost")
		}
	}))
	if _, err := h.Invoke(ctx, []byte(v2)); err != nil {
		t.Fatal(err)
	}
}

// What a handler waits for ends in time for its answer; without a deadline there is none.
func TestDeadline(t *testing.T) {
	for _, lasts := range []time.Duration{0, time.Hour} {
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if lasts > 0 {
			ctx, cancel = context.WithTimeout(ctx, lasts)
		}
		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ends, ok := r.Context().Deadline()
			its, _ := ctx.Deadline()
			if left := its.Sub(ends); ok != (lasts > 0) || ok && (left < lasts/21 || left > lasts/20) {
				t.Errorf("an invocation of %v: deadline %v, %v before its end", lasts, ok, left)
			}
		})
		if _, err := lambdahttp.Handler(h).Invoke(ctx, []byte(v2)); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

func TestResponseForms(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Add("WWW-Authenticate", `Basic realm="a"`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="b"`)
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
		w.WriteHeader(http.StatusUnauthorized)
		w.Header().Set("Late", "too late")
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, "no")
	}
	want := answer{
		StatusCode: 401, Body: "no", Cookies: []string{"a=1", "b=2"},
		Headers: map[string]string{"Content-Type": "text/plain", "Www-Authenticate": `Basic realm="a", Bearer realm="b"`},
	}
	if diff := cmp.Diff(want, invoke(t, h, v2)); diff != "" {
		t.Errorf("2.0 (-want +got):\n%s", diff)
	}
	want = answer{
		StatusCode: 401, Body: "no",
		MultiValueHeaders: http.Header{
			"Content-Type": {"text/plain"}, "Www-Authenticate": {`Basic realm="a"`, `Bearer realm="b"`},
			"Set-Cookie": {"a=1", "b=2"},
		},
	}
	if diff := cmp.Diff(want, invoke(t, h, rest)); diff != "" {
		t.Errorf("1.0 (-want +got):\n%s", diff)
	}
}

func TestResponseBody(t *testing.T) {
	write := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			io.WriteString(w, body)
		}
	}
	for _, test := range []struct {
		contentType, body string
		encoded           bool
	}{
		{"application/json", "{}", false},
		{"application/json;charset=UTF-8", `{"ü":1}`, false},
		{"application/jwk-set+json", "{}", false},
		{"image/svg+xml", "<svg/>", false},
		{"text/html; charset=utf-8", "<p>", false},
		{"application/x-www-form-urlencoded", "a=1", false},
		{"", "guessed to be text", false},
		{"application/octet-stream", "abc", true},
		{"image/png", "abc", true},
		{"not a type", "abc", true},
		{"text/plain; charset=latin1", "\xfc", true},
		{"application/octet-stream", "", false},
	} {
		t.Run(test.contentType, func(t *testing.T) {
			a := invoke(t, write(test.contentType, test.body), v2)
			body := a.Body
			if a.IsBase64Encoded {
				raw, err := base64.StdEncoding.DecodeString(body)
				if err != nil {
					t.Fatal(err)
				}
				body = string(raw)
			}
			if a.IsBase64Encoded != test.encoded || body != test.body {
				t.Errorf("encoded %v, body %q, want %v, %q", a.IsBase64Encoded, body, test.encoded, test.body)
			}
		})
	}
	if a := invoke(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "zstd")
		write("text/plain", "abc")(w, r)
	}, v2); !a.IsBase64Encoded {
		t.Error("an encoded body went out as text")
	}
}

func TestStatus(t *testing.T) {
	if a := invoke(t, func(http.ResponseWriter, *http.Request) {}, v2); a.StatusCode != 200 || a.Body != "" {
		t.Errorf("a silent handler: %+v", a)
	}
	if a := invoke(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNotFound)
	}, v2); a.StatusCode != 404 {
		t.Errorf("after an informational status: %+v", a)
	}
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		if a := invoke(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("%d: Write = %v", status, err)
			}
		}, v2); a.StatusCode != status || a.Body != "" {
			t.Errorf("%d: %+v", status, a)
		}
	}
}

func TestHead(t *testing.T) {
	for _, event := range []string{v2, rest} {
		a := invoke(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodHead {
				t.Errorf("method = %s", r.Method)
			}
			w.Header().Set("ETag", `"1"`)
			io.WriteString(w, `hello`)
		}, strings.Replace(event, `:"GET"`, `:"HEAD"`, 1))
		if a.StatusCode != 200 || a.Body != "" || a.IsBase64Encoded {
			t.Errorf("answer = %+v", a)
		}
		if header(a, "Etag") != `"1"` || header(a, "Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("headers = %v %v", a.Headers, a.MultiValueHeaders)
		}
	}
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })

	for name, h := range map[string]http.HandlerFunc{
		"a value": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Half", "done")
			io.WriteString(w, "half an answer")
			panic("the cause")
		},
		"a bad status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(42) },
		"an abort":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			a := invoke(t, h, strings.TrimSuffix(v2, "}")+`,"body":"client_secret=example-secret"}`)
			want := answer{
				StatusCode: 500, Body: `{"error":"server_error"}`,
				Headers: map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"},
			}
			if diff := cmp.Diff(want, a); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			var line struct{ Level, Msg, Panic, Stack string }
			if err := json.Unmarshal(log.Bytes(), &line); err != nil {
				t.Fatalf("the log %q: %v", log.String(), err)
			}
			if line.Level != "ERROR" || line.Msg != "http.panic" || line.Panic == "" ||
				!strings.Contains(line.Stack, "lambdahttp_test.go") {
				t.Errorf("log line = %+v", line)
			}
			if strings.Contains(log.String(), "example-secret") {
				t.Error("the request is in the log")
			}
		})
	}
}

func FuzzInvoke(f *testing.F) {
	f.Add([]byte(v2))
	f.Add([]byte(rest))
	f.Add([]byte(strings.TrimSuffix(rest, "}") + `,"body":"YT0x","isBase64Encoded":true}`))
	f.Add([]byte(`{"version":"2.0","routeKey":"$default","rawPath":"/dev/a%2Fb","rawQueryString":"a=%zz;","cookies":["a=1"],"requestContext":{"stage":"dev","http":{"method":"POST","sourceIp":"::1"}}}`))
	f.Add([]byte(`{"resource":"/{proxy+}","path":"/%zz","httpMethod":"HEAD","multiValueHeaders":{"A":["1","2"],"a":null},"requestContext":{"authorizer":{"n":1e400}}}`))
	f.Add([]byte(`{"version":"2.0","rawPath":"//x?y#z","headers":{"":"","host":"\u0000"},"requestContext":{"http":{"method":"\n"}},"body":"%","isBase64Encoded":true}`))
	samples, err := filepath.Glob("../../events/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, sample := range samples {
		payload, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}

	// The mux is there for what it makes of strange paths and methods.
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength {
			panic("body and its length differ")
		}
		if !strings.HasPrefix(r.URL.Path, "/") {
			panic("path " + r.URL.Path)
		}
		_ = r.ParseForm()
		gatewayctx.Authorizer(r.Context())
		w.Header().Set("X-Path", r.URL.Path)
		w.Write(body)
	})
	h := lambdahttp.Handler(mux)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, err := h.Invoke(t.Context(), payload)
		if err != nil {
			if !errors.Is(err, lambdahttp.ErrUnknownEvent) {
				t.Fatalf("Invoke: %v", err)
			}
			return
		}
		var a answer
		if err := json.Unmarshal(out, &a); err != nil {
			t.Fatalf("the answer %s: %v", out, err)
		}
		if a.StatusCode < 200 || a.StatusCode >= 500 {
			t.Fatalf("status %d", a.StatusCode)
		}
		if _, err := base64.StdEncoding.DecodeString(a.Body); a.IsBase64Encoded && err != nil {
			t.Fatalf("body: %v", err)
		}
	})
}
