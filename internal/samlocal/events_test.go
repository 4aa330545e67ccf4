//go:build unix

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// expected is what is answered to a sample as it is, and with true credentials in it. Each is a member's path and its value as
// fmt prints it.
type expected struct {
	asIs, filled map[string]string
}

func says(pairs ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

var (
	// What the authorizer says to a bad token, by the kind of API; and to a good one.
	unauthorized = says("errorMessage", "Unauthorized")
	denied       = says("policyDocument Statement Effect", "Deny")
	allowed      = says("policyDocument Statement Effect", "Allow", "context client_id", clientID, "context scope", scope)

	ok            = says("statusCode", "200")
	invalidClient = says("statusCode", "401", "body error", "invalid_client")
	signedIn      = says("statusCode", "200", "body token_type", "Bearer", "body scope", scope)
	answered      = says("status", "SUCCESS")
	ended         = says("statusCode", "401", "body error", "invalid_token")
	called        = says("statusCode", "200", "body client_id", clientID)
)

var samples = map[string]expected{
	"authorizer-http-v1.json":            {denied, allowed},
	"authorizer-http-v2.json":            {denied, allowed},
	"authorizer-rest-request.json":       {unauthorized, allowed},
	"authorizer-rest-token.json":         {unauthorized, allowed},
	"authorizer-websocket.json":          {unauthorized, allowed},
	"discovery-jwks-http-v2.json":        {asIs: says("statusCode", "200", "body keys kty", "EC")},
	"discovery-metadata-http-v2.json":    {asIs: ok},
	"discovery-openapi-http-v2.json":     {asIs: says("statusCode", "200", "body openapi", "3.1.1")},
	"discovery-revocations-http-v2.json": {asIs: ok},
	"introspect-http-v2.json":            {invalidClient, says("statusCode", "200", "body active", "true")},
	"refresh-http-v2.json": {says("statusCode", "400", "body error", "invalid_grant"),
		says("statusCode", "200", "body scope", "orders:read")},
	"revoke-http-v2.json":                {invalidClient, ok},
	"rotate-custom-resource-create.json": {asIs: answered},
	"rotate-custom-resource-update.json": {asIs: answered},
	"rotate-custom-resource-delete.json": {asIs: answered},
	"rotate-scheduled.json":              {asIs: says("access published", "false", "refresh published", "false")},
	"rotate-step-create-secret.json":     {asIs: says("errorMessage", "<nil>")},
	"token-function-url.json":            {invalidClient, signedIn},
	"token-http-v2.json":                 {invalidClient, signedIn},
	"token-rest-v1.json":                 {invalidClient, signedIn},
	"whoami-http-v2.json":                {ended, called},
	"whoami-rest-v1.json":                {ended, called},
	"rotate-emergency.json":              {}, // the last thing that is done
}

// testEvents invokes the function of each sample with it: as it is by `sam local invoke`, filled by `sam local start-lambda`,
// which does not start anew each time.
func testEvents(t *testing.T, b *bench) {
	files, err := filepath.Glob(filepath.Join(testenv.Root(t), "events", "*.json"))
	if err != nil || len(files) != len(samples) {
		t.Errorf("%d samples in events/, %d are known here (%v)", len(files), len(samples), err)
	}
	access, refresh := b.signIn(t, scope)
	_, spare := b.signIn(t, scope)
	replacements := map[string]string{
		"Basic ZGVtbzpleGFtcGxlLXNlY3JldA==":         b.basic(),
		"Basic b3JkZXJzLWFwaTpleGFtcGxlLXNlY3JldA==": b.basic(),
		"example-access-token":                       access,
		"example-refresh-token":                      refresh,
		"1788258630":                                 strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10),
	}
	port, err := free(t.Context(), b.host, 0)
	if err != nil {
		t.Fatal(err)
	}
	lambda := origin(b.host.String(), port)
	b.start(t, lambda, "start-lambda", "--template", b.template(), "--port", strconv.Itoa(port))
	for _, file := range files {
		name := filepath.Base(file)
		function, _, _ := strings.Cut(name, "-")
		function = strings.ToUpper(function[:1]) + function[1:] + "Function"
		want, known := samples[name]
		if !known {
			t.Errorf("%s: say in samples what is to be answered to it", name)
		}
		if want.filled != nil {
			t.Run(name+" filled", func(t *testing.T) {
				mine := replacements
				if function == "RevokeFunction" { // not what others use
					mine = map[string]string{"Basic ZGVtbzpleGFtcGxlLXNlY3JldA==": b.basic(), "example-refresh-token": spare}
				}
				compare(t, invokeAt(t, lambda, function, b.event(t, name, mine)), want.filled)
			})
		}
		if want.asIs != nil {
			t.Run(name, func(t *testing.T) {
				t.Parallel()    // most of the time it waits for a container
				var text string // as the file is, but for moto's port
				if strings.Contains(name, "custom-resource") {
					text = b.event(t, name, nil)
				}
				compare(t, b.invoke(t, function, file, text), want.asIs)
			})
		}
	}
}

// invokeAt invokes a function as the SDKs do.
func invokeAt(t *testing.T, lambda, function, event string) map[string]any {
	t.Helper()
	resp, err := http.Post(lambda+"/2015-03-31/functions/"+function+"/invocations", "application/json", strings.NewReader(event))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %s: %v", function, resp.Status, err)
	}
	return answer
}

// compare sees that the answer has the members. A body is JSON, and of a list its first is meant.
func compare(t *testing.T, answer map[string]any, want map[string]string) {
	t.Helper()
	for path, value := range want {
		var v any = answer
		for name := range strings.FieldsSeq(path) {
			v = field(v, name)
			if text, ok := v.(string); ok && name == "body" {
				if err := json.Unmarshal([]byte(text), &v); err != nil {
					t.Errorf("%v in the body %s", err, text)
				}
			}
			if list, ok := v.([]any); ok && len(list) > 0 {
				v = list[0]
			}
		}
		if got := fmt.Sprint(v); got != value {
			t.Errorf("%s is %s, want %s, in %v", path, got, value, answer)
		}
	}
}

// fill replaces texts in an event, and in its body, which may be base64.
func fill(t *testing.T, event string, replacements map[string]string) string {
	t.Helper()
	var pairs []string
	for old, replacement := range replacements {
		pairs = append(pairs, old, replacement)
	}
	replacer := strings.NewReplacer(pairs...)
	var parsed struct {
		Body            string `json:"body"`
		IsBase64Encoded bool   `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal([]byte(event), &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.IsBase64Encoded && parsed.Body != "" {
		body, err := base64.StdEncoding.DecodeString(parsed.Body)
		if err != nil {
			t.Fatal(err)
		}
		filled := base64.StdEncoding.EncodeToString([]byte(replacer.Replace(string(body))))
		event = strings.Replace(event, parsed.Body, filled, 1)
	}
	return replacer.Replace(event)
}
