package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
)

// deployment is what a template makes before it makes the first keys.
type deployment struct {
	cfg aws.Config
	env map[string]string
	log bytes.Buffer

	front  *front
	offset time.Duration // of the function's clock
}

func (d *deployment) now() time.Time { return time.Now().Add(d.offset) }

func deploy(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{front: newFront(t, testenv.Moto(t).Endpoint)}
	endpoint := d.front.URL
	d.cfg = testenv.AWSConfig(endpoint)
	ctx := t.Context()
	secrets, keys := secretsmanager.NewFromConfig(d.cfg), kms.NewFromConfig(d.cfg)
	arn := func(name string) string {
		out, err := secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		return *out.ARN
	}
	kmsKey := func(spec types.KeySpec) string {
		out, err := keys.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeSignVerify})
		if err != nil {
			t.Fatal(err)
		}
		return *out.KeyMetadata.Arn
	}
	tables := dynamostore.Tables{Clients: "clients", Keys: "keys", Revocations: "revocations"}
	if err := dynamostore.CreateTables(ctx, dynamodb.NewFromConfig(d.cfg), tables); err != nil {
		t.Fatal(err)
	}
	d.env = map[string]string{
		"AWS_REGION": testenv.Region, "AWS_ACCESS_KEY_ID": testenv.AccessKeyID, "AWS_SECRET_ACCESS_KEY": testenv.SecretAccessKey,
		"AWS_ENDPOINT_URL": endpoint, "ALLOW_HTTP": "true",
		"ACCESS_KEYS_SECRET": arn("access"), "REFRESH_KEYS_SECRET": arn("refresh"), "KEYS_TABLE": tables.Keys, "REVOCATIONS_TABLE": tables.Revocations,
		"ACCESS_KMS_KEY": kmsKey(types.KeySpecEccNistP256), "REFRESH_KMS_KEY": kmsKey(types.KeySpecEccNistP256),
		"RSA_KEY": kmsKey(types.KeySpecRsa2048),
	}
	return d
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func (d *deployment) handler(t *testing.T, changes map[string]string) lambda.Handler {
	t.Helper()
	env := maps.Clone(d.env)
	maps.Copy(env, changes)
	h, err := newHandler(lookup(env), d.now, jsonlog.New(&d.log), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// quiet is a handler whose log is not looked at, for use by several at once.
func (d *deployment) quiet(t *testing.T, changes map[string]string) lambda.Handler {
	t.Helper()
	env := maps.Clone(d.env)
	maps.Copy(env, changes)
	h, err := newHandler(lookup(env), d.now, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (d *deployment) documents(t *testing.T) (access, refresh *keyring.Document, public *keyring.PublicDocument) {
	t.Helper()
	secrets := secretsmanager.NewFromConfig(d.cfg)
	access, err := secretkeys.New(secrets, d.env["ACCESS_KEYS_SECRET"], keyring.UseAccess).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refresh, err = secretkeys.New(secrets, d.env["REFRESH_KEYS_SECRET"], keyring.UseRefresh).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store, err := dynamostore.NewKeys(dynamodb.NewFromConfig(d.cfg), d.env["KEYS_TABLE"])
	if err != nil {
		t.Fatal(err)
	}
	if public, _, err = store.PublicKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	return access, refresh, public
}

// signs has a ring sign, and verify by what is published of it or, for a refresh ring, by itself.
func (d *deployment) signs(t *testing.T, ring *keyring.Document, public *keyring.PublicDocument, want keyring.Algorithm) {
	t.Helper()
	source := keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return ring, nil },
		KMS:  kmssigner.Signers(kms.NewFromConfig(d.cfg), nil),
	})
	key, err := source.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if key.Algorithm != want {
		t.Errorf("the %s keys are for %s, want %s", ring.Use, key.Algorithm, want)
	}
	signature, err := key.Sign(t.Context(), []byte("a.b"))
	if err != nil {
		t.Fatal(err)
	}
	verification, err := source.VerificationKey(t.Context(), key.ID)
	if ring.Use == keyring.UseAccess {
		var jwks []byte
		if jwks, err = json.Marshal(public.JWKS(time.Now())); err != nil {
			t.Fatal(err)
		}
		set, parseErr := keyring.ParseJWKS(jwks)
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		verification, err = set.Key(key.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := verification.Verify("a.b", signature); err != nil {
		t.Errorf("%s: %v", ring.Use, err)
	}
}

func TestModes(t *testing.T) {
	for name, test := range map[string]struct {
		changes         map[string]string
		access, refresh keyring.Algorithm
	}{
		"defaults":        {nil, keyring.ES256, keyring.HS256},
		"secrets manager": {map[string]string{"ACCESS_KEY_MODE": "secretsmanager", "ACCESS_KEY_ALGORITHM": "EdDSA"}, keyring.EdDSA, keyring.HS256},
		"rsa":             {map[string]string{"ACCESS_KEY_ALGORITHM": "RS256"}, keyring.RS256, keyring.HS256},
		"kms":             {map[string]string{"ACCESS_KEY_MODE": "kms", "REFRESH_KEY_MODE": "kms"}, keyring.ES256, keyring.ES256},
		"kms rsa":         {map[string]string{"ACCESS_KEY_MODE": "kms", "ACCESS_KEY_ALGORITHM": "RS256", "ACCESS_KMS_KEY": "RSA_KEY"}, keyring.RS256, keyring.HS256},
		"mixed":           {map[string]string{"REFRESH_KEY_MODE": "kms"}, keyring.ES256, keyring.ES256},
	} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t)
			if test.changes["ACCESS_KMS_KEY"] != "" {
				test.changes["ACCESS_KMS_KEY"] = d.env["RSA_KEY"]
			}
			h := d.handler(t, test.changes)
			out, err := h.Invoke(t.Context(), []byte(`{}`))
			if want := `{"access_keys_made":true,"refresh_keys_made":true,"public_keys_written":true}`; err != nil || string(out) != want {
				t.Fatalf("got %s, %v, want %s", out, err, want)
			}
			access, refresh, public := d.documents(t)
			d.signs(t, access, public, test.access)
			d.signs(t, refresh, nil, test.refresh)
			for _, k := range access.Keys {
				if inKMS := test.changes["ACCESS_KEY_MODE"] == "kms"; (k.KMSKey != "") != inKMS || (k.Private == nil) != inKMS {
					t.Errorf("%v: in KMS: %v", k, k.KMSKey)
				}
			}

			out, err = h.Invoke(t.Context(), []byte(`{}`))
			if want := `{"access_keys_made":false,"refresh_keys_made":false,"public_keys_written":false}`; err != nil || string(out) != want {
				t.Errorf("the second time: got %s, %v, want %s", out, err, want)
			}
			if again, _, _ := d.documents(t); again.Keys[0].ID != access.Keys[0].ID {
				t.Error("the second time made other keys")
			}
			for _, secret := range append(privates(access), privates(refresh)...) {
				if strings.Contains(d.log.String(), secret) {
					t.Error("a private key was logged")
				}
			}
			if n := strings.Count(d.log.String(), `"event":"keys.init"`); n != 2 {
				t.Errorf("logged %s", d.log.String())
			}
		})
	}
}

// privates returns the private halves as they are written in JSON.
func privates(d *keyring.Document) (list []string) {
	for _, k := range d.Keys {
		for _, secret := range [][]byte{k.Private, k.Secret} {
			if secret != nil {
				text, _ := json.Marshal(secret)
				list = append(list, strings.Trim(string(text), `"`))
			}
		}
	}
	return list
}

// TestStack goes through a stack's life: the first keys are made, then updates and the deletion leave them.
func TestStack(t *testing.T) {
	type answer struct {
		Status, Reason, PhysicalResourceId string
		Data                               map[string]string
	}
	var answers []answer
	bucket := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var a answer
		if err := json.Unmarshal(body, &a); err != nil || r.Method != http.MethodPut {
			t.Errorf("%s %s", r.Method, body)
		}
		answers = append(answers, a)
	}))
	defer bucket.Close()
	d := deploy(t)
	h := d.handler(t, nil)
	kid := ""
	for i, name := range []string{"create", "create", "update", "delete"} {
		sample, err := os.ReadFile(filepath.Join(testenv.Root(t), "events", "rotate-custom-resource-"+name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(sample, &members); err != nil {
			t.Fatal(err)
		}
		members["ResponseURL"] = bucket.URL
		event, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Invoke(t.Context(), event); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a := answers[i]; len(answers) != i+1 || a.Status != "SUCCESS" || a.PhysicalResourceId != "latchkey-first-keys" {
			t.Errorf("%s: answered %v", name, answers)
		}
		// The samples have the same settings, whose digest the functions' versions carry.
		if a := answers[i]; (a.Data["Digest"] == "") != (name == "delete") || name == "update" && a.Data["Digest"] != answers[0].Data["Digest"] {
			t.Errorf("%s: the digest is %q", name, a.Data["Digest"])
		}
		access, _, _ := d.documents(t)
		if kid == "" {
			kid = access.Keys[0].ID
		}
		if len(access.Keys) != 1 || access.Keys[0].ID != kid {
			t.Errorf("%s: the keys changed", name)
		}
	}

	// A failure is answered too, and shows no names.
	h = d.handler(t, map[string]string{"ACCESS_KEYS_SECRET": "arn:aws:secretsmanager:us-east-1:123456789012:secret:missing"})
	event := `{"RequestType":"Create","ResponseURL":"` + bucket.URL + `","StackId":"s","RequestId":"r","LogicalResourceId":"l"}`
	if _, err := h.Invoke(t.Context(), []byte(event)); err != nil {
		t.Fatal(err)
	}
	a := answers[len(answers)-1]
	if want := "access keys: there is no such secret in this account and Region"; a.Status != "FAILED" || a.Reason != want {
		t.Errorf("answered %v, want the reason %q", a, want)
	}
	if !strings.Contains(d.log.String(), `"event":"keys.init_failed"`) {
		t.Errorf("logged %s", d.log.String())
	}
}

// TestInterrupted has keys made where an earlier run left off.
func TestInterrupted(t *testing.T) {
	d := deploy(t)
	if out, err := d.handler(t, map[string]string{"REFRESH_KEYS_SECRET": "missing"}).Invoke(t.Context(), []byte(`{}`)); err == nil {
		t.Fatalf("got %s", out)
	}
	out, err := d.handler(t, nil).Invoke(t.Context(), []byte(`{}`))
	if want := `{"access_keys_made":false,"refresh_keys_made":true,"public_keys_written":true}`; err != nil || string(out) != want {
		t.Errorf("got %s, %v, want %s", out, err, want)
	}
}

func TestConfigErrors(t *testing.T) {
	good := map[string]string{"ACCESS_KEYS_SECRET": "a", "REFRESH_KEYS_SECRET": "r", "KEYS_TABLE": "k", "REVOCATIONS_TABLE": "v"}
	for want, changes := range map[string]map[string]string{
		"": {},
		"KEYS_TABLE is not set: it is required\nREVOCATIONS_TABLE is not set: it is required\nACCESS_KEYS_SECRET is not set: it is required\nREFRESH_KEYS_SECRET is not set: it is required": {"ACCESS_KEYS_SECRET": "", "REFRESH_KEYS_SECRET": "", "KEYS_TABLE": "", "REVOCATIONS_TABLE": ""},
		`KEY_PUBLISH_LEAD is "2h": it must be a duration from 2h25m to 720h, such as 90s, 15m or 12h, or a number of seconds`:                                                                {"KEY_PUBLISH_LEAD": "2h"},
		`KEY_ROTATION_PERIOD is "23h": it must be a duration from 24h to 43800h, such as 90s, 15m or 12h, or a number of seconds`:                                                            {"KEY_ROTATION_PERIOD": "23h"},
		"REFRESH_KEYS_SECRET is not valid: it must be another secret than ACCESS_KEYS_SECRET":                                                                                                {"REFRESH_KEYS_SECRET": "a"},
		`ACCESS_KEY_MODE is "foo": it must be secretsmanager or kms`:                                                                                                                         {"ACCESS_KEY_MODE": "foo"},
		`REFRESH_KEY_MODE is "hmac": it must be secretsmanager or kms`:                                                                                                                       {"REFRESH_KEY_MODE": "hmac"},
		`ACCESS_KEY_ALGORITHM is "HS256": it must be ES256, RS256 or EdDSA`:                                                                                                                  {"ACCESS_KEY_ALGORITHM": "HS256"},
		`ACCESS_KEY_ALGORITHM is "EdDSA": with ACCESS_KEY_MODE kms it must be ES256 or RS256`:                                                                                                {"ACCESS_KEY_MODE": "kms", "ACCESS_KMS_KEY": "k", "ACCESS_KEY_ALGORITHM": "EdDSA"},
		`ALLOW_HTTP is "true": it must be false on AWS Lambda`:                                                                                                                               {"ALLOW_HTTP": "true", "AWS_LAMBDA_FUNCTION_NAME": "f"},
		"AWS_REGION is not set: it must be an AWS Region, such as eu-central-1\nAWS_ACCESS_KEY_ID is not set: it is required\nAWS_SECRET_ACCESS_KEY is not set: it is required":              {"AWS_REGION": "none"},
	} {
		env := maps.Clone(good)
		maps.Copy(env, map[string]string{"AWS_REGION": "r", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"})
		maps.Copy(env, changes)
		if env["AWS_REGION"] == "none" {
			env = good
		}
		_, err := newHandler(lookup(env), nil, slog.New(slog.DiscardHandler), nil)
		if got := text(err); got != want {
			t.Errorf("%v: got\n%s\nwant\n%s", changes, got, want)
		}
	}
}

func TestCapsAreTheSameEverywhere(t *testing.T) {
	if defaultAccessCap != grant.DefaultAccessCap || defaultGrantCap != grant.DefaultGrantCap || defaultBearerGrantCap != grant.DefaultBearerGrantCap {
		t.Error("the default caps are not those of pkg/grant: keys would end before tokens")
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestSamples: the events in events/ are what the function takes them for.
func TestSamples(t *testing.T) {
	d := deploy(t)
	h := d.handler(t, nil)
	invoke := func(name string, old, new string) (map[string]map[string]any, error) {
		t.Helper()
		event, err := os.ReadFile(filepath.Join(testenv.Root(t), "events", name))
		if err != nil {
			t.Fatal(err)
		}
		out, err := h.Invoke(t.Context(), bytes.Replace(event, []byte(old), []byte(new), 1))
		var answer map[string]map[string]any
		if err == nil && len(out) > 0 {
			if err := json.Unmarshal(out, &answer); err != nil {
				t.Fatalf("%s: answered %s", name, out)
			}
		}
		return answer, err
	}
	// The schedule's first run makes the first keys, and the next ones when they are due.
	if answer, err := invoke("rotate-scheduled.json", "", ""); err != nil || answer["access"]["made"] != nil || answer["refresh"]["made"] != nil {
		t.Errorf("scheduled: %v %v", answer, err)
	}
	access, refresh, _ := d.documents(t)
	if len(access.Keys) != 1 || len(refresh.Keys) != 1 {
		t.Fatalf("scheduled: %v, %v", access, refresh)
	}
	answer, err := invoke("rotate-emergency.json", "", "")
	if err != nil || answer["access"]["made"] == nil || answer["refresh"]["made"] == nil {
		t.Errorf("emergency: %v %v", answer, err)
	}
	const secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AccessKeysSecret-AbCdEf"
	if _, err := invoke("rotate-step-create-secret.json", "", ""); err == nil {
		t.Error("a step for another secret was taken")
	}
	if _, err := invoke("rotate-step-create-secret.json", secret, d.env["ACCESS_KEYS_SECRET"]); err != nil {
		t.Errorf("createSecret: %v", err)
	}
}
