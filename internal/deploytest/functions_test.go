package deploytest_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
)

func TestFunctions(t *testing.T) {
	stack := deploy(t, nil)
	var want []string
	for _, name := range functions {
		id := name + "Function"
		want = append(want, id)
		check(t, stack, id, "${"+name+"Role.Arn}", "Role")
		check(t, stack, id, "provided.al2023", "Runtime")
		check(t, stack, id, "bootstrap", "Handler")
		check(t, stack, id, `["arm64"]`, "Architectures")
		check(t, stack, id, `{"LogFormat":"JSON","LogGroup":{"Ref":"`+name+`Logs"}}`, "LoggingConfig")
		if text := deploytest.Render(stack.Resources[id].Properties["Description"]); text == "" || len(text) > 256 {
			t.Errorf("%s: the description is %q", id, text)
		}
		for _, property := range []string{"Timeout", "MemorySize"} {
			if n, _ := at(stack.Resources[id].Properties, property).(float64); n <= 0 {
				t.Errorf("%s: no %s", id, property)
			}
		}
		check(t, deploy(t, map[string]string{"Architecture": "x86_64"}), id, `["x86_64"]`, "Architectures")
	}
	if diff := cmp.Diff(want, ofType(t, stack.Resources, "AWS::Lambda::Function")); diff != "" {
		t.Errorf("functions (-want +got):\n%s", diff)
	}
}

func TestEnvironment(t *testing.T) {
	const base = "https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"
	type variables map[string]string
	with := func(sets ...variables) variables {
		all := make(variables)
		for _, s := range sets {
			maps.Copy(all, s)
		}
		return all
	}
	var (
		issuer = variables{"ISSUER": base, "ALLOW_HTTP": "false"}
		// Empty means absent. Declared, because `sam local --env-vars` sets only what the template declares.
		aws  = variables{"AWS_ENDPOINT_URL": ""}
		keys = variables{
			"ACCESS_KEYS_SECRET": "${AccessKeysSecret}", "REFRESH_KEYS_SECRET": "${RefreshKeysSecret}",
			"ACCESS_KEY_MODE": "secretsmanager", "REFRESH_KEY_MODE": "secretsmanager",
		}
		caps = variables{
			"MAX_ACCESS_TOKEN_LIFETIME": "1h", "MAX_GRANT_LIFETIME": "720h", "MAX_BEARER_GRANT_LIFETIME": "24h",
		}
	)
	mtls := variables{"MTLS_ORIGIN": ""}
	counted := variables{"METRICS": "on"}
	other := variables{"ACCEPTED_ISSUERS": ""} // of all that take tokens
	feed := variables{
		"REVOCATIONS_URL": base + "/.well-known/latchkey-revocations", "REVOCATIONS_POLL_INTERVAL": "15s", "MAX_STALENESS": "60s",
	}
	want := map[string]variables{
		"Token": with(issuer, other, mtls, counted, aws, keys, caps, feed, variables{
			"CLIENTS_TABLE": "${ClientsTable}", "GRANTS_TABLE": "${GrantsTable}", "REVOCATIONS_TABLE": "${RevocationsTable}",
			"USERS_TABLE": "${UsersTable}", "SIGNINS_TABLE": "${SignInsTable}", "SIGNIN_KEY_SECRET": "${SignInKeySecret}",
			"ISSUERS_TABLE": "${IssuersTable}", "ASSERTIONS_TABLE": "${AssertionsTable}",
		}),
		"Refresh": with(issuer, other, mtls, counted, aws, keys, caps, feed),
		"Revoke": with(issuer, other, counted, aws, variables{
			"CLIENTS_TABLE": "${ClientsTable}", "KEYS_TABLE": "${KeysTable}", "REVOCATIONS_TABLE": "${RevocationsTable}",
			"REFRESH_KEYS_SECRET": "${RefreshKeysSecret}", "REFRESH_KEY_MODE": "secretsmanager", "CLIENT_REVOCATIONS_PER_DAY": "40000",
		}),
		"Introspect": with(issuer, other, counted, aws, feed, variables{
			"CLIENTS_TABLE": "${ClientsTable}", "KEYS_TABLE": "${KeysTable}", "MAX_ACCESS_TOKEN_LIFETIME": "1h",
		}),
		"Authorizer": with(issuer, other, counted, feed, variables{
			"MAX_ACCESS_TOKEN_LIFETIME": "1h", "STALE_REVOCATIONS": "deny",
			"AUDIENCE": "https://${RestApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/prod",
			"JWKS_URL": base + "/.well-known/jwks.json", "JWKS": "", "SIMPLE_RESPONSES": "false",
			"ROUTES_FILE": "", "CONTEXT_CLAIMS": "", "WEBSOCKET_TOKEN": "header", "API_ORIGINS": "",
		}),
		"Discovery": with(issuer, mtls, counted, aws, variables{
			"KEYS_TABLE": "${KeysTable}", "REVOCATIONS_TABLE": "${RevocationsTable}", "MAX_GRANT_LIFETIME": "720h", "MAX_BEARER_GRANT_LIFETIME": "24h",
		}),
		"Rotate": with(counted, aws, keys, caps, variables{
			"KEYS_TABLE": "${KeysTable}", "REVOCATIONS_TABLE": "${RevocationsTable}", "ACCESS_KEY_ALGORITHM": "ES256",
			"KMS_KEY_NAME": "${AWS::StackName}", "KEY_PUBLISH_LEAD": "3h", "KEY_ROTATION_PERIOD": "2160h", "MAX_STALENESS": "60s",
			"ALLOW_HTTP": "false",
		}),
		"Whoami": {"CORS_ORIGIN": "*"},
	}
	environment := func(parameters map[string]string) map[string]variables {
		stack := deploy(t, parameters)
		got := make(map[string]variables)
		for _, name := range functions {
			got[name] = make(variables)
			all, _ := at(stack.Resources[name+"Function"].Properties, "Environment", "Variables").(map[string]any)
			for variable, value := range all {
				got[name][variable] = deploytest.Render(value)
			}
		}
		return got
	}
	if diff := cmp.Diff(want, environment(nil)); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}

	for _, name := range functions {
		for variable := range want[name] {
			switch variable {
			case "ISSUER":
				want[name][variable] = "https://id.example.com"
			case "ACCEPTED_ISSUERS":
				want[name][variable] = "https://old.example.com"
			case "METRICS":
				want[name][variable] = "off"
			case "AUDIENCE":
				want[name][variable] = "https://api.example.com"
			case "JWKS_URL":
				want[name][variable] = "https://keys.example.com/jwks.json"
			case "REVOCATIONS_URL":
				want[name][variable] = "https://keys.example.com/feed"
			case "REVOCATIONS_POLL_INTERVAL":
				want[name][variable] = "30s"
			case "MAX_STALENESS":
				want[name][variable] = "5m"
			case "STALE_REVOCATIONS":
				want[name][variable] = "allow"
			case "JWKS":
				want[name][variable] = `{"keys":[]}`
			case "SIMPLE_RESPONSES":
				want[name][variable] = "true"
			case "ROUTES_FILE":
				want[name][variable] = "routes.json"
			case "CONTEXT_CLAIMS":
				want[name][variable] = "auth_time,iss"
			case "API_ORIGINS":
				want[name][variable] = "execute-api,a1b2=https://api.example.com"
			case "MTLS_ORIGIN":
				want[name][variable] = "https://mtls.example.com"
			case "WEBSOCKET_TOKEN":
				want[name][variable] = "query:access_token"
			case "ACCESS_KEY_MODE", "REFRESH_KEY_MODE":
				want[name][variable] = "kms"
			case "ACCESS_KEY_ALGORITHM":
				want[name][variable] = "RS256"
			case "KEY_PUBLISH_LEAD":
				want[name][variable] = "4h"
			case "KEY_ROTATION_PERIOD":
				want[name][variable] = "720h"
			case "MAX_ACCESS_TOKEN_LIFETIME":
				want[name][variable] = "600"
			case "MAX_GRANT_LIFETIME":
				want[name][variable] = "48h"
			case "MAX_BEARER_GRANT_LIFETIME":
				want[name][variable] = "90m"
			}
		}
	}
	got := environment(map[string]string{
		"Issuer": "https://id.example.com", "AcceptedIssuers": "https://old.example.com", "Audience": "https://api.example.com",
		"JwksUrl": "https://keys.example.com/jwks.json", "Jwks": `{"keys":[]}`, "AccessKeyMode": "kms",
		"AccessKeyAlgorithm": "RS256", "RefreshKeyMode": "kms", "MaxAccessTokenLifetime": "600", "MaxGrantLifetime": "48h",
		"MaxBearerGrantLifetime": "90m", "KeyPublishLead": "4h", "KeyRotationPeriod": "720h", "RevocationsUrl": "https://keys.example.com/feed", "RevocationsPollInterval": "30s",
		"MaxStaleness": "5m", "StaleRevocations": "allow", "SimpleResponses": "true",
		"RoutesFile": "routes.json", "ContextClaims": "auth_time,iss", "WebSocketToken": "query:access_token",
		"ApiOrigins": "execute-api,a1b2=https://api.example.com", "MtlsOrigin": "https://mtls.example.com", "Metrics": "off",
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("everything set (-want +got):\n%s", diff)
	}
}

// No route answers before the keys are there.
func TestFirstKeysComeFirst(t *testing.T) {
	stack := deploy(t, nil)
	for _, kind := range []string{
		"AWS::ApiGatewayV2::Route", "AWS::ApiGatewayV2::Stage", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage",
	} {
		for _, id := range ofType(t, stack.Resources, kind) {
			if !slices.Contains(stack.Resources[id].DependsOn, "FirstKeys") {
				t.Errorf("%s does not depend on FirstKeys", id)
			}
		}
	}
	if got := stack.Resources["FirstKeys"].Type; got != "Custom::LatchkeyFirstKeys" {
		t.Errorf("FirstKeys is a %s", got)
	}
	check(t, stack, "FirstKeys", "${RotateFunction.Arn}", "ServiceToken")
	// Both rings may have to wait until KMS lets a key be used.
	timeout, _ := at(stack.Resources["RotateFunction"].Properties, "Timeout").(float64)
	answered, _ := at(stack.Resources["FirstKeys"].Properties, "ServiceTimeout").(float64)
	if timeout < 2*kmssigner.Patience.Seconds() || timeout > 900 || answered <= timeout {
		t.Errorf("rotate has %v s, and CloudFormation waits for %v s", timeout, answered)
	}

	// A stage's settings for a route are refused while the route is not there.
	for _, id := range ofType(t, stack.Resources, "AWS::ApiGatewayV2::Route") {
		if !slices.Contains(stack.Resources["HttpStage"].DependsOn, id) {
			t.Errorf("HttpStage does not depend on %s", id)
		}
	}
}

// New keys are made by a schedule, and by Secrets Manager for who asks it to.
func TestSchedule(t *testing.T) {
	stack := deploy(t, nil)
	check(t, stack, "RotateSchedule", "rate(1 hour)", "ScheduleExpression")
	targets, _ := stack.Resources["RotateSchedule"].Properties["Targets"].([]any)
	if len(targets) != 1 || deploytest.Render(at(targets[0], "Arn")) != "${RotateFunction.Arn}" || at(targets[0], "Input") != `{"rotate":"due"}` {
		t.Errorf("the schedule's targets are %s", deploytest.Render(targets))
	}
	check(t, stack, "RotateSchedulePermission", "events.amazonaws.com", "Principal")
	check(t, stack, "RotateSchedulePermission", "${RotateSchedule.Arn}", "SourceArn")
	check(t, stack, "RotateSecretPermission", "secretsmanager.amazonaws.com", "Principal")
	check(t, stack, "RotateSecretPermission", "${AWS::AccountId}", "SourceAccount")
	for _, id := range []string{"RotateSchedulePermission", "RotateSecretPermission"} {
		check(t, stack, id, "${RotateFunction}", "FunctionName")
		check(t, stack, id, "lambda:InvokeFunction", "Action")
	}
}

// `sam build` compiles for the architecture that the parameter says: in a folder with its name, whose Makefile sets it.
func TestArchitecture(t *testing.T) {
	d := deploytest.Load(t)
	root := testenv.Root(t)
	const folder = "internal/arch/${Architecture}"
	if got := deploytest.Render(d.CodeURI); got != folder {
		t.Errorf("CodeUri is %s, want %s", got, folder)
	}
	for _, architecture := range d.Parameters["Architecture"].AllowedValues {
		name := filepath.Join(root, strings.ReplaceAll(folder, "${Architecture}", fmt.Sprint(architecture)), "Makefile")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(text), fmt.Sprintf("\nARCH := %v\n", architecture)) {
			t.Errorf("%s does not build for %v", name, architecture)
		}
	}
	for _, id := range ofType(t, d.Source, "AWS::Serverless::Function") {
		r := d.Source[id]
		if r.Properties["Architectures"] != nil || r.Properties["CodeUri"] != nil {
			t.Errorf("%s has an architecture or a folder of its own", id)
		}
		if r.Metadata["BuildMethod"] != "makefile" {
			t.Errorf("%s is not built by the Makefile", id)
		}
	}

	// samconfig.toml says it once for the build and once for the deployment.
	text, err := os.ReadFile(filepath.Join(root, "samconfig.toml"))
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`"Architecture=(\w+)"`).FindAllStringSubmatch(string(text), -1)
	if len(said) != 2 {
		t.Errorf("samconfig.toml says Architecture %d times, want 2", len(said))
	}
	for _, s := range said {
		if s[1] != said[0][1] || !slices.Contains(d.Parameters["Architecture"].AllowedValues, any(s[1])) {
			t.Errorf("samconfig.toml: Architecture=%s beside Architecture=%s", s[1], said[0][1])
		}
	}
}

// What the functions are told of where they are reached, and reach each other.
func TestAddresses(t *testing.T) {
	domain := map[string]string{"DomainName": everything()["DomainName"], "DomainCertificateArn": everything()["DomainCertificateArn"]}
	with := func(more ...string) map[string]string {
		all := maps.Clone(domain)
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	const own, custom, cache = "https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}", "https://${DomainName}", "https://${DiscoveryDistribution.DomainName}"
	for name, test := range map[string]struct {
		parameters      map[string]string
		issuer, fetched string // fetched: where keys and revocations are
	}{
		"by default":                    {nil, own, own},
		"a domain":                      {domain, custom, own},
		"a domain of the user's own":    {map[string]string{"Issuer": "https://a.example"}, "https://a.example", own},
		"both":                          {with("Issuer", "https://a.example"), "https://a.example", own},
		"a domain alone":                {with("DisableExecuteApi", "true"), custom, custom},
		"a cache":                       {map[string]string{"DiscoveryCache": "true"}, own, cache},
		"a cache and a domain":          {with("DiscoveryCache", "true"), custom, cache},
		"a cache before a domain alone": {with("DiscoveryCache", "true", "DisableExecuteApi", "true"), custom, cache},
	} {
		stack := deploy(t, test.parameters)
		for _, f := range functions {
			all, _ := at(stack.Resources[f+"Function"].Properties, "Environment", "Variables").(map[string]any)
			for variable, want := range map[string]string{
				"ISSUER": test.issuer, "JWKS_URL": test.fetched + "/.well-known/jwks.json",
				"REVOCATIONS_URL": test.fetched + "/.well-known/latchkey-revocations",
			} {
				if value, ok := all[variable]; ok && deploytest.Render(value) != want {
					t.Errorf("%s: %s has %s %s, want %s", name, f, variable, deploytest.Render(value), want)
				}
			}
		}
		for output, want := range map[string]string{
			"Issuer": test.issuer, "TokenEndpoint": test.issuer + "/oauth2/token", "JwksUri": test.issuer + "/.well-known/jwks.json",
			"RevocationsUri": test.fetched + "/.well-known/latchkey-revocations",
		} {
			if got := deploytest.Render(stack.Outputs[output].Value); got != want {
				t.Errorf("%s: the output %s is %s, want %s", name, output, got, want)
			}
		}
	}
}
