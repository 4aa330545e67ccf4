package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/doctor"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
)

// TestStackResources: the template has what `doctor --stack` looks for, under these names.
func TestStackResources(t *testing.T) {
	template, err := os.ReadFile(filepath.Join(testenv.Root(t), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for id, flag := range stackResources {
		kind := "AWS::DynamoDB::Table"
		if strings.HasSuffix(flag, "-secret") {
			kind = "AWS::SecretsManager::Secret"
		}
		if !regexp.MustCompile(`(?m)^  ` + id + `:\n    Type: ` + kind + `$`).Match(template) {
			t.Errorf("the template has no %s of type %s", id, kind)
		}
	}
	_, outputs, _ := strings.Cut(string(template), "\nOutputs:\n")
	for id := range stackOutputs {
		if !strings.Contains(outputs, "\n  "+id+":\n") && !strings.HasPrefix(outputs, "  "+id+":\n") {
			t.Errorf("the template has no output %s", id)
		}
	}
	if want := len(doctor.Concepts) + 2; len(stackResources) != want {
		t.Errorf("%d resources are looked for, and %d flags name some", len(stackResources), want)
	}
	if !bytes.Contains(template, []byte("\n  KeyRotationPeriod:\n")) {
		t.Error("the template has no parameter KeyRotationPeriod")
	}
}

// stackTemplate is the template's tables, and its outputs for a deployment at an address.
func stackTemplate(address string) string {
	type object = map[string]any
	resources := object{}
	for id, flag := range stackResources {
		concept, table := strings.CutSuffix(flag, "-table")
		if !table {
			continue // moto's stacks have no secrets
		}
		key := map[string]string{
			"clients": "client_id", "users": "username", "signins": "id", "issuers": "issuer", "assertions": "id", "grants": "grant_id", "keys": "id", "revocations": "day",
		}[concept]
		attributes, schema := []object{{"AttributeName": key, "AttributeType": "S"}}, []object{{"AttributeName": key, "KeyType": "HASH"}}
		if concept == "revocations" {
			attributes, schema = append(attributes, object{"AttributeName": "at", "AttributeType": "S"}), append(schema, object{"AttributeName": "at", "KeyType": "RANGE"})
		}
		resources[id] = object{"Type": "AWS::DynamoDB::Table", "Properties": object{
			"BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes, "KeySchema": schema,
		}}
	}
	body, err := json.Marshal(object{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Parameters":               object{"KeyRotationPeriod": object{"Type": "String", "Default": "2160h"}},
		"Resources":                resources,
		"Outputs": object{
			"Issuer": object{"Value": address}, "WhoamiUrl": object{"Value": address + pathWhoami}, "Audience": object{"Value": devAudience + ",urn:another"},
		},
	})
	if err != nil {
		panic(err) // of strings and maps
	}
	return string(body)
}

// deployed is a stack in moto, and the handlers serving on its tables and secrets.
func deployed(t *testing.T) (endpoint string) {
	t.Helper()
	endpoint = testenv.Moto(t).Endpoint
	cfg := testenv.AWSConfig(endpoint)
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	cfn := cloudformation.NewFromConfig(cfg)
	if _, err := cfn.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("latchkey"), TemplateBody: aws.String(stackTemplate(server.URL))}); err != nil {
		t.Fatal(err)
	}
	f := doctorFlags{stack: "latchkey", named: map[string]string{}}
	if err := f.readStack(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if f.period != keyring.DefaultPeriod || f.named["audience"] != devAudience {
		t.Errorf("it reads %+v", f)
	}
	db, secrets := dynamodb.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"access", "refresh"} {
		_, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name})
		must(err)
		f.named[name+"-secret"] = name
	}
	store, err := dynamostore.New(db, dynamostore.Tables{Clients: f.named["clients-table"], Keys: f.named["keys-table"], Revocations: f.named["revocations-table"]})
	must(err)
	users, err := dynamostore.NewUsers(db, f.named["users-table"])
	must(err)
	signIns, err := dynamostore.NewSignIns(db, f.named["signins-table"])
	must(err)
	issuers, err := dynamostore.NewIssuers(db, f.named["issuers-table"])
	must(err)
	assertions, err := dynamostore.NewAssertions(db, f.named["assertions-table"])
	must(err)
	grants, err := dynamostore.NewGrants(db, f.named["grants-table"])
	must(err)
	keys := laptopKeys{
		access:  secretkeys.New(secrets, f.named["access-secret"], keyring.UseAccess),
		refresh: secretkeys.New(secrets, f.named["refresh-secret"], keyring.UseRefresh),
	}
	_, err = (&app{now: time.Now}).first(t.Context(), keys, store, keyring.ES256)
	must(err)
	handler, err = devHandler(devConfig{
		Issuer: server.URL, Clients: store, Users: users, SignIns: signIns, Issuers: issuers, Assertions: assertions,
		SignInKey: func(context.Context) ([]byte, error) { return make([]byte, 32), nil },
		Public:    store, Grants: grants, Revocations: store, Keys: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	must(err)
	return endpoint
}

// onEmulator has the SDK call an emulator as somebody.
func onEmulator(t *testing.T, endpoint, id, secret string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": testenv.Region, "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret,
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
}

// TestDoctorStack: by a stack's name, the doctor finds all of it but the secrets, which moto has in no stack, and nothing failed. The same stack, looked at by somebody
// who may see next to nothing of it: what may not be seen is skipped, and no fault of the stack's.
func TestDoctorStack(t *testing.T) {
	endpoint := deployed(t)
	args := []string{"doctor", "--stack", "latchkey", "--wait", "0", "--access-secret", "access", "--refresh-secret", "refresh"}
	onEmulator(t, endpoint, testenv.AccessKeyID, testenv.SecretAccessKey)
	out := ending(t, 0, append(args, "--json")...)
	var all doctorJSON
	if err := json.Unmarshal([]byte(out), &all); err != nil || !all.OK {
		t.Fatalf("%v: %s", err, out)
	}
	skipped := map[string]bool{"flow.refused": true}
	warned := map[string]bool{"issuer": true} // plain http, on this machine
	for _, concept := range doctor.Concepts {
		warned["tables."+concept] = true // moto leaves out of its stacks what protects a table
	}
	for _, f := range all.Checks {
		if f.Status != doctor.OK && !(f.Status == doctor.Skipped && skipped[f.Check]) && !(f.Status == doctor.Warning && warned[f.Check]) {
			t.Errorf("%+v", f)
		}
	}
	if len(all.Checks) != 25 {
		t.Errorf("%d checks: %s", len(all.Checks), out)
	}

	endpoint = sayingItAsAWS(t, endpoint)
	id, secret := motoUser(t, endpoint, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudformation:*","dynamodb:DescribeTable"],"Resource":"*"}]}`)
	onEmulator(t, endpoint, id, secret)
	out = ending(t, 0, args...)
	for _, want := range []string{
		`(?m)^skipped  keys.access +not allowed to whoever runs this: it takes secretsmanager:GetSecretValue on the secret$`,
		`(?m)^skipped  keys.public +not allowed to whoever runs this: it takes dynamodb:GetItem on the keys table$`,
		`(?m)^warning +tables.clients +it is not protected from deletion; not to be seen: backups → turn deletion protection on$`,
		`(?m)^ok       jwks +1 served`,
		`(?m)^skipped  flow.client +not allowed to whoever runs this: it takes dynamodb:PutItem`,
		`, 0 failed, `,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

// motoUser makes a user with that policy, and has moto enforce policies from then on.
func motoUser(t *testing.T, endpoint, policy string) (id, secret string) {
	t.Helper()
	post := func(path, body, contentType string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		// moto tells services by what a request is signed for.
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s (%v)", body, res.Status, answer, err)
		}
		return string(answer)
	}
	iam := func(values ...string) string {
		form := url.Values{"Version": {"2010-05-08"}, "UserName": {"looker"}}
		for i := 0; i < len(values); i += 2 {
			form.Set(values[i], values[i+1])
		}
		return post("/", form.Encode(), "application/x-www-form-urlencoded")
	}
	iam("Action", "CreateUser")
	iam("Action", "PutUserPolicy", "PolicyName", "p", "PolicyDocument", policy)
	made := iam("Action", "CreateAccessKey")
	field := func(name string) string {
		value, err := submatch(fmt.Sprintf("<%s>([^<]+)</%s>", name, name), made)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	post("/moto-api/reset-auth", "0", "text/plain")
	return field("AccessKeyId"), field("SecretAccessKey")
}

// sayingItAsAWS stands in front of moto, which says in XML that a call is denied, to JSON services too.
func sayingItAsAWS(t *testing.T, endpoint string) string {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode == http.StatusForbidden && r.Request.Header.Get("X-Amz-Target") != "" {
			const denied = `{"__type":"AccessDeniedException","message":"denied"}`
			r.Body.Close()
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(denied)), int64(len(denied))
			r.Header.Set("Content-Length", fmt.Sprint(len(denied)))
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}
