package awsenv

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

var base = map[string]string{"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hunter2"}

func lookup(extra map[string]string) func(string) (string, bool) {
	all := maps.Clone(base)
	maps.Copy(all, extra)
	return func(name string) (string, bool) {
		value, ok := all[name]
		return value, ok
	}
}

// server counts the requests that reach it and fails each.
func server(t *testing.T) (endpoint string, calls func() map[string]int64) {
	var counts [3]atomic.Int64
	names := []string{"DynamoDB_", "secretsmanager", "TrentService"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, name := range names {
			if strings.HasPrefix(r.Header.Get("X-Amz-Target"), name) {
				counts[i].Add(1)
			}
		}
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKID/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/") {
			t.Errorf("signed %q", r.Header.Get("Authorization"))
		}
		if got := r.Header.Get("X-Amz-Security-Token"); got != "session" {
			t.Errorf("session token %q", got)
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"AccessDeniedException"}`))
	}))
	t.Cleanup(s.Close)
	return s.URL, func() map[string]int64 {
		got := map[string]int64{}
		for i, name := range names {
			if n := counts[i].Load(); n > 0 {
				got[name] = n
			}
		}
		return got
	}
}

// callAll makes one call to each service; they fail.
func callAll(t *testing.T, cfg aws.Config) {
	t.Helper()
	ctx := t.Context()
	_, _ = dynamodb.NewFromConfig(cfg).DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("table")})
	_, _ = secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
	_, _ = kms.NewFromConfig(cfg).GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String("k")})
}

func TestEndpoints(t *testing.T) {
	all, atAll := server(t)
	one, atOne := server(t)
	for _, name := range []string{"DYNAMODB", "SECRETS_MANAGER", "KMS"} {
		cfg, err := Config(lookup(map[string]string{
			"AWS_SESSION_TOKEN": "session", "AWS_ENDPOINT_URL": all, "AWS_ENDPOINT_URL_" + name: one,
			"AWS_ENDPOINT_URL_OTHER": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-central-1",
		}))
		if err != nil {
			t.Fatal(err)
		}
		callAll(t, cfg)
	}
	want := map[string]int64{"DynamoDB_": 2, "secretsmanager": 2, "TrentService": 2}
	if got := atAll(); !maps.Equal(got, want) {
		t.Errorf("calls at AWS_ENDPOINT_URL: %v, want %v", got, want)
	}
	want = map[string]int64{"DynamoDB_": 1, "secretsmanager": 1, "TrentService": 1}
	if got := atOne(); !maps.Equal(got, want) {
		t.Errorf("calls at the services' endpoints: %v, want %v", got, want)
	}
}

func TestEmptyEndpointsAreAWSsOwn(t *testing.T) {
	cfg, err := Config(lookup(map[string]string{"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_KMS": ""}))
	if err != nil {
		t.Fatal(err)
	}
	if got := kms.NewFromConfig(cfg).Options().BaseEndpoint; cfg.BaseEndpoint != nil || got != nil {
		t.Errorf("endpoint %v", got)
	}
}

// On AWS Lambda keys never cross a network in the clear, whoever set the variable.
func TestPlainHTTPOnLambda(t *testing.T) {
	for _, c := range []struct {
		name, endpoint, function, local string
		ok                              bool
	}{
		{"AWS_ENDPOINT_URL", "http://10.0.0.1:5000", "token", "", false},
		{"AWS_ENDPOINT_URL_KMS", "http://kms.example.com", "token", "false", false},
		{"AWS_ENDPOINT_URL", "http://127.0.0.1.example.com", "token", "", false},
		{"AWS_ENDPOINT_URL", "https://10.0.0.1:5000", "token", "", true},
		{"AWS_ENDPOINT_URL", "http://127.0.0.1:5000", "token", "", true},
		{"AWS_ENDPOINT_URL", "http://host.docker.internal:5000", "token", "true", true},
		{"AWS_ENDPOINT_URL", "http://10.0.0.1:5000", "", "", true},
	} {
		_, err := Config(lookup(map[string]string{c.name: c.endpoint, "AWS_LAMBDA_FUNCTION_NAME": c.function, "AWS_SAM_LOCAL": c.local}))
		if (err == nil) != c.ok {
			t.Errorf("%+v: got %v", c, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.name) || strings.Contains(err.Error(), c.endpoint)) {
			t.Errorf("%+v: %v: the error must name the variable and not its value", c, err)
		}
	}
}

func TestErrorsNameTheVariables(t *testing.T) {
	none := func(string) (string, bool) { return "", true }
	_, err := Config(none)
	const want = "AWS_REGION is not set: it must be an AWS Region, such as eu-central-1\n" +
		"AWS_ACCESS_KEY_ID is not set: it is required\nAWS_SECRET_ACCESS_KEY is not set: it is required"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER"} {
		for _, value := range []string{"127.0.0.1:5000", "ftp://a", "http://", "http://user:hunter2@a", "http://a b"} {
			_, err := Config(lookup(map[string]string{name: value}))
			if want := name + " is not valid: it must be an http or https URL, such as http://127.0.0.1:5000"; err == nil || err.Error() != want {
				t.Errorf("%s=%s: got %v, want %s", name, value, err, want)
			}
		}
	}
}

// TestDeadEndpoint holds a call to an endpoint that takes connections and never answers to three tries.
func TestDeadEndpoint(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var tries atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tries.Add(1)
			defer conn.Close()
		}
	}()
	const short = 100 * time.Millisecond
	cfg, err := config(lookup(map[string]string{"AWS_ENDPOINT_URL": "http://" + listener.Addr().String()}), short)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = kms.NewFromConfig(cfg).GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: aws.String("k")})
	if took := time.Since(start); err == nil || took > 20*short {
		t.Errorf("the call took %v and returned %v", took, err)
	}
	if n := tries.Load(); n != attempts {
		t.Errorf("%d tries, want %d", n, attempts)
	}
}

func TestLinksNoMoreThanItNeeds(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := map[string]bool{}
	for _, p := range strings.Fields(string(out)) {
		deps[p] = true
	}
	const sdk = "github.com/aws/aws-sdk-go-v2/"
	if !deps[sdk+"aws"] {
		t.Error("go list did not list what is known to be there")
	}
	for _, p := range []string{"config", "credentials", "feature/ec2/imds", "service/sso", "service/ssooidc", "service/sts"} {
		if deps[sdk+p] {
			t.Errorf("%s is linked", p)
		}
	}
}
