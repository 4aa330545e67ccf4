package deploytest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
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

var functions = []string{"Authorizer", "Discovery", "Introspect", "Refresh", "Revoke", "Rotate", "Token", "Whoami"}

// modes are all the ways in which keys can be kept, and the parameters that say so.
func modes() []map[string]string {
	var all []map[string]string
	for _, access := range []string{"secretsmanager", "kms"} {
		for _, refresh := range []string{"secretsmanager", "kms"} {
			for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
				for _, logs := range []string{"false", "true"} {
					if access == "kms" && algorithm == "EdDSA" {
						continue
					}
					all = append(all, map[string]string{
						"AccessKeyMode": access, "RefreshKeyMode": refresh, "AccessKeyAlgorithm": algorithm,
						"RestAccessLogs": logs,
					})
				}
			}
		}
	}
	return all
}

func deploy(t *testing.T, parameters map[string]string) *deploytest.Stack {
	t.Helper()
	stack, err := deploytest.Load(t).Deploy(parameters)
	if err != nil {
		t.Fatal(err)
	}
	return stack
}

// ofType returns the logical ids of resources of a type, of which there must be some.
func ofType(t *testing.T, resources map[string]deploytest.Resource, kind string) []string {
	t.Helper()
	var ids []string
	for id, r := range resources {
		if r.Type == kind {
			ids = append(ids, id)
		}
	}
	if ids == nil {
		t.Fatalf("no %s", kind)
	}
	slices.Sort(ids)
	return ids
}

// at follows keys into nested objects.
func at(v any, keys ...string) any {
	for _, key := range keys {
		object, _ := v.(map[string]any)
		v = object[key]
	}
	return v
}

// check compares a property, rendered, with what it has to be.
func check(t *testing.T, stack *deploytest.Stack, id, want string, keys ...string) {
	t.Helper()
	r, ok := stack.Resources[id]
	if !ok {
		t.Errorf("no resource %s", id)
		return
	}
	if got := deploytest.Render(at(r.Properties, keys...)); got != want {
		t.Errorf("%s: %s is %s, want %s", id, strings.Join(keys, "."), got, want)
	}
}

func TestLint(t *testing.T) {
	args := []string{"--include-checks", "I", "--"}
	for _, pattern := range []string{"template.yaml", "examples/*/template.yaml"} {
		paths, err := filepath.Glob(filepath.Join(testenv.Root(t), filepath.FromSlash(pattern)))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s (%v)", pattern, err)
		}
		for _, path := range paths {
			// Not for its text: so that Go's test cache knows that the outcome depends on it.
			if _, err := os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, paths...)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Script(t, "cfn-lint"), args...)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, said)
	}
}

func TestRoutes(t *testing.T) {
	got, err := deploytest.Load(t).Routes()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ANY /oauth2/token":                           "TokenFunction",
		"ANY /oauth2/refresh":                         "RefreshFunction",
		"ANY /oauth2/revoke":                          "RevokeFunction",
		"ANY /oauth2/introspect":                      "IntrospectFunction",
		"ANY /.well-known/oauth-authorization-server": "DiscoveryFunction",
		"ANY /.well-known/openid-configuration":       "DiscoveryFunction",
		"ANY /.well-known/jwks.json":                  "DiscoveryFunction",
		"ANY /.well-known/latchkey-revocations":       "DiscoveryFunction",
		"ANY /openapi.json":                           "DiscoveryFunction",
		"GET /whoami":                                 "WhoamiFunction",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), deploytest.Routes(t)); diff != "" {
		t.Errorf("Routes (-want +got):\n%s", diff)
	}
}

// Each route calls its function only if the function lets API Gateway in, from that route.
func TestPermissions(t *testing.T) {
	stack := deploy(t, nil)
	const arn = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:"
	want := map[string]string{
		"${TokenFunction}":      arn + "${HttpApi}/*/*/oauth2/token",
		"${RefreshFunction}":    arn + "${HttpApi}/*/*/oauth2/refresh",
		"${RevokeFunction}":     arn + "${HttpApi}/*/*/oauth2/revoke",
		"${IntrospectFunction}": arn + "${HttpApi}/*/*/oauth2/introspect",
		"${DiscoveryFunction}":  arn + "${HttpApi}/*/*/.well-known/* " + arn + "${HttpApi}/*/*/openapi.json",
		"${AuthorizerFunction}": arn + "${RestApi}/authorizers/${Authorizer}",
		"${WhoamiFunction}":     arn + "${RestApi}/*/GET/whoami",
	}
	got := make(map[string]string)
	for _, id := range ofType(t, stack.Resources, "AWS::Lambda::Permission") {
		if strings.HasPrefix(id, "Rotate") {
			continue // see TestSchedule
		}
		check(t, stack, id, "lambda:InvokeFunction", "Action")
		check(t, stack, id, "apigateway.amazonaws.com", "Principal")
		p := stack.Resources[id].Properties
		function := deploytest.Render(p["FunctionName"])
		got[function] = strings.TrimSpace(got[function] + " " + deploytest.Render(p["SourceArn"]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
}

// Text that looks like an intrinsic function but is none deploys as it stands: cfn-lint does not always notice.
func TestNothingIsLeftUnresolved(t *testing.T) {
	d := deploytest.Load(t)
	look := func(id string, v any) {
		for _, text := range deploytest.Literals(v) {
			for _, sign := range []string{"${", "!Sub", "!Ref", "!GetAtt", "!If", "Fn::"} {
				if strings.Contains(text, sign) {
					t.Errorf("%s: %q has a %s that nothing will resolve", id, text, sign)
				}
			}
		}
	}
	for id, r := range d.Resources {
		look(id, r.Properties)
	}
	for name, output := range d.Outputs {
		look(name, output.Value)
	}
}

// What resources refer to is there, in every mode, and no resource waits for itself by way of others.
func TestReferences(t *testing.T) {
	d := deploytest.Load(t)
	for _, parameters := range modes() {
		stack := deploy(t, parameters)
		refer := func(from string, v any) {
			for _, id := range deploytest.References(v) {
				_, parameter := d.Parameters[id]
				_, resource := stack.Resources[id]
				if !parameter && !resource && !strings.HasPrefix(id, "AWS::") {
					t.Errorf("%v: %s refers to %s, which is not there", parameters, from, id)
				}
			}
		}
		for id, r := range stack.Resources {
			refer(id, r.Properties)
		}
		for name, output := range stack.Outputs {
			refer(name, output.Value)
		}
	}

	// On the document, so that both sides of each Fn::If count.
	waits := make(map[string]map[string]bool)
	for id, r := range d.Resources {
		waits[id] = make(map[string]bool)
		for _, other := range append(deploytest.References(r.Properties), r.DependsOn...) {
			if _, ok := d.Resources[other]; ok {
				waits[id][other] = true
			}
		}
		for _, other := range r.DependsOn {
			if _, ok := d.Resources[other]; !ok {
				t.Errorf("%s depends on %s, which is not there", id, other)
			}
		}
	}
	if !waits["TokenFunction"]["HttpApi"] || !waits["TokenRoute"]["FirstKeys"] {
		t.Fatal("references are not seen")
	}
	for len(waits) > 0 {
		var ready []string
		for id, others := range waits {
			if len(others) == 0 {
				ready = append(ready, id)
			}
		}
		if ready == nil {
			t.Fatalf("a reference cycle among %v", slices.Sorted(maps.Keys(waits)))
		}
		for _, id := range ready {
			delete(waits, id)
		}
		for _, others := range waits {
			for _, id := range ready {
				delete(others, id)
			}
		}
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

// grants lists what a role allows, as "action resource", with its condition if it has one.
func grants(t *testing.T, role deploytest.Resource) []string {
	t.Helper()
	if role.Properties["ManagedPolicyArns"] != nil {
		t.Errorf("a managed policy: %v", role.Properties["ManagedPolicyArns"])
	}
	all := []string{}
	policies, _ := role.Properties["Policies"].([]any)
	for _, p := range policies {
		statements, _ := at(p, "PolicyDocument", "Statement").([]any)
		for _, s := range statements {
			if at(s, "Effect") != "Allow" || at(s, "NotAction") != nil || at(s, "NotResource") != nil {
				t.Errorf("a statement of an unexpected kind: %s", deploytest.Render(s))
			}
			condition := ""
			if c := at(s, "Condition"); c != nil {
				condition = " " + deploytest.Render(c)
			}
			actions, _ := at(s, "Action").([]any)
			resources, _ := at(s, "Resource").([]any)
			if len(actions) == 0 || len(resources) == 0 {
				t.Errorf("a statement without a list of actions and one of resources: %s", deploytest.Render(s))
			}
			for _, action := range actions {
				for _, resource := range resources {
					all = append(all, deploytest.Render(action)+" "+deploytest.Render(resource)+condition)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestRoles(t *testing.T) {
	// KMS keys come and go: what may be done with one, its tag says.
	const key = "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*"
	signs := func(ring, algorithm string) string {
		return ` {"StringEquals":{"aws:ResourceTag/latchkey":{"Fn::Sub":"${AWS::StackName}/` + ring + `"},"kms:SigningAlgorithm":"` + algorithm + `"}}`
	}
	readSecrets := []string{
		"secretsmanager:GetSecretValue ${AccessKeysSecret}",
		"secretsmanager:GetSecretValue ${RefreshKeysSecret}",
	}
	always := map[string][]string{
		"Token": append([]string{
			"dynamodb:GetItem ${ClientsTable.Arn}",
			"dynamodb:GetItem ${IssuersTable.Arn}", "dynamodb:PutItem ${AssertionsTable.Arn}",
			"dynamodb:GetItem ${UsersTable.Arn}", "dynamodb:PutItem ${UsersTable.Arn}",
			"dynamodb:GetItem ${SignInsTable.Arn}", "dynamodb:PutItem ${SignInsTable.Arn}",
			"dynamodb:UpdateItem ${SignInsTable.Arn}", "dynamodb:DeleteItem ${SignInsTable.Arn}",
			"secretsmanager:GetSecretValue ${SignInKeySecret}",
			"dynamodb:GetItem ${GrantsTable.Arn}", "dynamodb:PutItem ${GrantsTable.Arn}", "dynamodb:DeleteItem ${GrantsTable.Arn}",
			"dynamodb:PutItem ${RevocationsTable.Arn}",
		}, readSecrets...),
		"Refresh": readSecrets,
		"Revoke": {
			"dynamodb:GetItem ${ClientsTable.Arn}",
			"dynamodb:GetItem ${KeysTable.Arn}",
			"dynamodb:PutItem ${RevocationsTable.Arn}",
			`dynamodb:UpdateItem ${RevocationsTable.Arn} {"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["quota#*"]}}`,
			"secretsmanager:GetSecretValue ${RefreshKeysSecret}",
		},
		"Introspect": {"dynamodb:GetItem ${ClientsTable.Arn}", "dynamodb:GetItem ${KeysTable.Arn}"},
		"Authorizer": nil,
		"Discovery": {
			"dynamodb:DescribeTable ${RevocationsTable.Arn}",
			"dynamodb:GetItem ${KeysTable.Arn}",
			"dynamodb:Query ${RevocationsTable.Arn}",
		},
		"Rotate": {
			"dynamodb:GetItem ${KeysTable.Arn}",
			"dynamodb:PutItem ${KeysTable.Arn}",
			"dynamodb:PutItem ${RevocationsTable.Arn}",
			"dynamodb:Query ${RevocationsTable.Arn}",
			"secretsmanager:GetSecretValue ${AccessKeysSecret}",
			"secretsmanager:GetSecretValue ${RefreshKeysSecret}",
			"secretsmanager:PutSecretValue ${AccessKeysSecret}",
			"secretsmanager:PutSecretValue ${RefreshKeysSecret}",
			"secretsmanager:UpdateSecretVersionStage ${AccessKeysSecret}",
			"secretsmanager:UpdateSecretVersionStage ${RefreshKeysSecret}",
		},
		"Whoami": nil,
	}
	for _, parameters := range modes() {
		stack := deploy(t, parameters)
		want := make(map[string][]string)
		for name, some := range always {
			want[name+"Role"] = append([]string{
				"logs:CreateLogStream ${" + name + "Logs.Arn}",
				"logs:PutLogEvents ${" + name + "Logs.Arn}",
			}, some...)
		}
		add := func(name, grant string) { want[name+"Role"] = append(want[name+"Role"], grant) }
		rotates := func(ring string) {
			name := `{"Fn::Sub":"${AWS::StackName}/` + ring + `"}`
			for _, action := range []string{"CreateKey", "TagResource"} {
				add("Rotate", "kms:"+action+` * {"StringEquals":{"aws:RequestTag/latchkey":`+name+`}}`)
			}
			for _, action := range []string{"CreateAlias", "GetPublicKey", "ScheduleKeyDeletion", "Sign"} {
				add("Rotate", "kms:"+action+" "+key+` {"StringEquals":{"aws:ResourceTag/latchkey":`+name+`}}`)
			}
			add("Rotate", "kms:CreateAlias arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:alias/latchkey/${AWS::StackName}/"+ring+"/*")
		}
		if parameters["AccessKeyMode"] == "kms" {
			algorithm := "ECDSA_SHA_256"
			if parameters["AccessKeyAlgorithm"] == "RS256" {
				algorithm = "RSASSA_PKCS1_V1_5_SHA_256"
			}
			add("Token", "kms:Sign "+key+signs("access", algorithm))
			add("Refresh", "kms:Sign "+key+signs("access", algorithm))
			rotates("access")
		}
		if parameters["RefreshKeyMode"] == "kms" {
			add("Token", "kms:Sign "+key+signs("refresh", "ECDSA_SHA_256"))
			add("Refresh", "kms:Sign "+key+signs("refresh", "ECDSA_SHA_256"))
			rotates("refresh")
		}
		got := make(map[string][]string)
		for _, id := range ofType(t, stack.Resources, "AWS::IAM::Role") {
			slices.Sort(want[id])
			got[id] = grants(t, stack.Resources[id])
			check(t, stack, id, `[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"}}]`,
				"AssumeRolePolicyDocument", "Statement")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: roles (-want +got):\n%s", parameters, diff)
		}
		// Rights come from the roles alone.
		for id, r := range stack.Resources {
			if r.Type != "AWS::IAM::Role" && strings.HasPrefix(r.Type, "AWS::IAM::") || strings.HasSuffix(r.Type, "ResourcePolicy") {
				t.Errorf("%s is a %s", id, r.Type)
			}
		}
	}
}

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
	other := variables{"ACCEPTED_ISSUERS": ""} // of all that take tokens
	feed := variables{
		"REVOCATIONS_URL": base + "/.well-known/latchkey-revocations", "REVOCATIONS_POLL_INTERVAL": "15s", "MAX_STALENESS": "60s",
	}
	want := map[string]variables{
		"Token": with(issuer, other, mtls, aws, keys, caps, feed, variables{
			"CLIENTS_TABLE": "${ClientsTable}", "GRANTS_TABLE": "${GrantsTable}", "REVOCATIONS_TABLE": "${RevocationsTable}",
			"USERS_TABLE": "${UsersTable}", "SIGNINS_TABLE": "${SignInsTable}", "SIGNIN_KEY_SECRET": "${SignInKeySecret}",
			"ISSUERS_TABLE": "${IssuersTable}", "ASSERTIONS_TABLE": "${AssertionsTable}",
		}),
		"Refresh": with(issuer, other, mtls, aws, keys, caps, feed),
		"Revoke": with(issuer, other, aws, variables{
			"CLIENTS_TABLE": "${ClientsTable}", "KEYS_TABLE": "${KeysTable}", "REVOCATIONS_TABLE": "${RevocationsTable}",
			"REFRESH_KEYS_SECRET": "${RefreshKeysSecret}", "REFRESH_KEY_MODE": "secretsmanager", "CLIENT_REVOCATIONS_PER_DAY": "40000",
		}),
		"Introspect": with(issuer, other, aws, feed, variables{
			"CLIENTS_TABLE": "${ClientsTable}", "KEYS_TABLE": "${KeysTable}", "MAX_ACCESS_TOKEN_LIFETIME": "1h",
		}),
		"Authorizer": with(issuer, other, feed, variables{
			"MAX_ACCESS_TOKEN_LIFETIME": "1h", "STALE_REVOCATIONS": "deny",
			"AUDIENCE": "https://${RestApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/prod",
			"JWKS_URL": base + "/.well-known/jwks.json", "JWKS": "", "SIMPLE_RESPONSES": "false",
			"ROUTES_FILE": "", "CONTEXT_CLAIMS": "", "WEBSOCKET_TOKEN": "header", "API_ORIGINS": "",
		}),
		"Discovery": with(issuer, mtls, aws, variables{
			"KEYS_TABLE": "${KeysTable}", "REVOCATIONS_TABLE": "${RevocationsTable}", "MAX_GRANT_LIFETIME": "720h", "MAX_BEARER_GRANT_LIFETIME": "24h",
		}),
		"Rotate": with(aws, keys, caps, variables{
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
		"ApiOrigins": "execute-api,a1b2=https://api.example.com", "MtlsOrigin": "https://mtls.example.com",
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("everything set (-want +got):\n%s", diff)
	}
}

// Two stages share an account: what is made has no name of its own, save those that hold the stack's.
func TestNoPhysicalNames(t *testing.T) {
	stack := deploy(t, map[string]string{"AccessKeyMode": "kms", "RefreshKeyMode": "kms", "RestAccessLogs": "true"})
	names := map[string]string{
		"AWS::DynamoDB::Table": "TableName", "AWS::SecretsManager::Secret": "Name", "AWS::Lambda::Function": "FunctionName",
		"AWS::IAM::Role": "RoleName",
	}
	for kind, name := range names {
		for _, id := range ofType(t, stack.Resources, kind) {
			if got := stack.Resources[id].Properties[name]; got != nil {
				t.Errorf("%s has the name %s", id, deploytest.Render(got))
			}
		}
	}
	for _, id := range ofType(t, stack.Resources, "AWS::Logs::LogGroup") {
		if got := deploytest.Render(stack.Resources[id].Properties["LogGroupName"]); !strings.Contains(got, "${AWS::StackName}") {
			t.Errorf("%s has the name %s", id, got)
		}
	}
}

func TestStores(t *testing.T) {
	kept := func(stack *deploytest.Stack, id string) {
		t.Helper()
		if r := stack.Resources[id]; r.DeletionPolicy != "Retain" || r.UpdateReplacePolicy != "Retain" {
			t.Errorf("%s is not kept: %q, %q", id, r.DeletionPolicy, r.UpdateReplacePolicy)
		}
	}
	stack := deploy(t, nil)
	tables := map[string]string{
		"ClientsTable": "client_id", "GrantsTable": "grant_id", "KeysTable": "id", "RevocationsTable": "day",
		"AssertionsTable": "id", "IssuersTable": "issuer", "SignInsTable": "id", "UsersTable": "username",
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(tables)), ofType(t, stack.Resources, "AWS::DynamoDB::Table")); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	for id, key := range tables {
		kept(stack, id)
		schema, attributes := `{"AttributeName":"`+key+`","KeyType":"HASH"}`, `{"AttributeName":"`+key+`","AttributeType":"S"}`
		if id == "RevocationsTable" {
			schema += `,{"AttributeName":"at","KeyType":"RANGE"}`
			attributes += `,{"AttributeName":"at","AttributeType":"S"}`
		}
		check(t, stack, id, `[`+schema+`]`, "KeySchema")
		check(t, stack, id, `[`+attributes+`]`, "AttributeDefinitions")
		check(t, stack, id, "PAY_PER_REQUEST", "BillingMode")
		check(t, stack, id, "true", "DeletionProtectionEnabled")
		check(t, stack, id, "true", "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled")
		check(t, stack, id, "true", "SSESpecification", "SSEEnabled")
	}
	// What ends is deleted some time after.
	check(t, stack, "GrantsTable", `{"AttributeName":"expires_at","Enabled":true}`, "TimeToLiveSpecification")
	check(t, stack, "RevocationsTable", `{"AttributeName":"expires_at","Enabled":true}`, "TimeToLiveSpecification")
	check(t, stack, "AssertionsTable", `{"AttributeName":"expires_at","Enabled":true}`, "TimeToLiveSpecification")
	check(t, stack, "SignInsTable", `{"AttributeName":"expires_at","Enabled":true}`, "TimeToLiveSpecification")
	secrets := ofType(t, stack.Resources, "AWS::SecretsManager::Secret")
	if diff := cmp.Diff([]string{"AccessKeysSecret", "RefreshKeysSecret", "SignInKeySecret"}, secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	check(t, stack, "SignInKeySecret", `{"ExcludePunctuation":true,"PasswordLength":64}`, "GenerateSecretString")
	for _, id := range secrets {
		kept(stack, id)
		if id == "SignInKeySecret" {
			continue
		}
		for _, property := range []string{"SecretString", "GenerateSecretString"} {
			if stack.Resources[id].Properties[property] != nil {
				t.Errorf("%s has a %s: the first keys fill it", id, property)
			}
		}
	}

	// rotate makes KMS keys, the first ones too: what CloudFormation made, it would have to unmake.
	for _, parameters := range modes() {
		for id, r := range deploy(t, parameters).Resources {
			if r.Type == "AWS::KMS::Key" {
				t.Errorf("%v: %s is a KMS key", parameters, id)
			}
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

func TestLogs(t *testing.T) {
	stack := deploy(t, map[string]string{"RestAccessLogs": "true", "LogRetentionDays": "7"})
	groups := ofType(t, stack.Resources, "AWS::Logs::LogGroup")
	want := []string{"HttpAccessLogs", "RestAccessLogGroup"}
	for _, name := range functions {
		want = append(want, name+"Logs")
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	for _, id := range groups {
		check(t, stack, id, "7", "RetentionInDays")
	}

	check(t, stack, "HttpStage", "${HttpAccessLogs.Arn}", "AccessLogSettings", "DestinationArn")
	check(t, stack, "RestStage", "${RestAccessLogGroup.Arn}", "AccessLogSetting", "DestinationArn")
	// Not error.messageString: that brings quotes of its own.
	safe := strings.Fields(`authorizer.error authorizer.latency authorizer.reason authorizer.status error.message error.responseType
		httpMethod identity.sourceIp integrationErrorMessage integrationLatency integrationStatus protocol requestId
		requestTime resourcePath responseLatency responseLength routeKey status`)
	for stage, setting := range map[string]string{"HttpStage": "AccessLogSettings", "RestStage": "AccessLogSetting"} {
		format, _ := at(stack.Resources[stage].Properties, setting, "Format").(string)
		// Quoted fields: a value that is missing is "-".
		var line map[string]string
		if err := json.Unmarshal([]byte(format), &line); err != nil || strings.Contains(format, "\n") {
			t.Errorf("%s: the log format is not one line of JSON: %v", stage, err)
		}
		for _, value := range line {
			if !slices.Contains(safe, strings.TrimPrefix(value, "$context.")) {
				t.Errorf("%s: %q is not known to be safe in a log", stage, value)
			}
		}
		if len(line) == 0 {
			t.Errorf("%s: nothing is logged", stage)
		}
	}
	if deploy(t, nil).Resources["RestStage"].Properties["AccessLogSetting"] != nil {
		t.Error("access logs of the REST API are on by default, which fails in an account that has no role for them")
	}
}

func TestHTTPStage(t *testing.T) {
	stack := deploy(t, nil)
	check(t, stack, "HttpStage", "$default", "StageName")
	check(t, stack, "HttpStage", "true", "AutoDeploy")
	settings, _ := stack.Resources["HttpStage"].Properties["RouteSettings"].(map[string]any)
	routes := make(map[string]bool)
	for _, id := range ofType(t, stack.Resources, "AWS::ApiGatewayV2::Route") {
		key, _ := stack.Resources[id].Properties["RouteKey"].(string)
		routes[key] = true
		for _, limit := range []string{"ThrottlingRateLimit", "ThrottlingBurstLimit"} {
			if n, _ := at(settings, key, limit).(float64); n <= 0 {
				t.Errorf("%s: no %s", key, limit)
			}
		}
	}
	for key := range settings {
		if !routes[key] {
			t.Errorf("settings for %q, which is no route", key)
		}
	}
	for _, id := range ofType(t, stack.Resources, "AWS::ApiGatewayV2::Integration") {
		check(t, stack, id, "2.0", "PayloadFormatVersion")
		check(t, stack, id, "AWS_PROXY", "IntegrationType")
	}
}

// With access keys in KMS a flood at the token endpoints must not use up the account's signatures.
func TestThrottlesStayBelowTheKMSQuota(t *testing.T) {
	const quota = 1000 // kms:Sign a second, account and Region, for each of RSA and ECC
	settings, _ := deploy(t, map[string]string{"AccessKeyMode": "kms"}).Resources["HttpStage"].Properties["RouteSettings"].(map[string]any)
	sum := 0.0
	for _, key := range []string{"ANY /oauth2/token", "ANY /oauth2/refresh"} {
		n, _ := at(settings, key, "ThrottlingRateLimit").(float64)
		if n <= 0 {
			t.Errorf("%s: no limit", key)
		}
		sum += n
	}
	if sum >= quota {
		t.Errorf("%v requests a second can each ask for a signature, of %v", sum, quota)
	}
}

// A flood of feed reads can be kept from taking the account's concurrency, and others from taking the feed's.
func TestDiscoveryConcurrency(t *testing.T) {
	const property = "ReservedConcurrentExecutions"
	if got, found := deploy(t, nil).Resources["DiscoveryFunction"].Properties[property]; found {
		t.Errorf("by default %v are reserved", got)
	}
	if got := fmt.Sprint(deploy(t, map[string]string{"DiscoveryConcurrency": "50"}).Resources["DiscoveryFunction"].Properties[property]); got != "50" {
		t.Errorf("%s are reserved, want 50", got)
	}
}

func TestAuthorizer(t *testing.T) {
	d := deploytest.Load(t)
	stack := deploy(t, nil)
	for _, id := range ofType(t, stack.Resources, "AWS::ApiGateway::Method") {
		switch method := stack.Resources[id].Properties["HttpMethod"]; method {
		case "OPTIONS":
			check(t, stack, id, "NONE", "AuthorizationType")
			check(t, stack, id, "null", "AuthorizerId")
			check(t, stack, id, "MOCK", "Integration", "Type")
		default:
			check(t, stack, id, "CUSTOM", "AuthorizationType")
			check(t, stack, id, "${Authorizer}", "AuthorizerId")
			check(t, stack, id, "AWS_PROXY", "Integration", "Type")
			check(t, stack, id, "POST", "Integration", "IntegrationHttpMethod")
		}
	}
	check(t, stack, "Authorizer", "REQUEST", "Type")
	check(t, stack, "Authorizer", "method.request.header.Authorization, context.httpMethod, context.path", "IdentitySource")
	check(t, stack, "Authorizer", "10", "AuthorizerResultTtlInSeconds")
	check(t, deploy(t, map[string]string{"ApiOrigins": "execute-api"}), "Authorizer", "0", "AuthorizerResultTtlInSeconds")
	check(t, stack, "Authorizer", "${RestApi}", "RestApiId")
	if got, err := d.Invoked(stack.Resources["Authorizer"].Properties["AuthorizerUri"]); err != nil || got != "AuthorizerFunction" {
		t.Errorf("the authorizer calls %s, %v", got, err)
	}

	settings, _ := stack.Resources["RestStage"].Properties["MethodSettings"].([]any)
	if len(settings) != 1 || at(settings[0], "DataTraceEnabled") != false || at(settings[0], "LoggingLevel") != "OFF" ||
		at(settings[0], "ResourcePath") != "/*" || at(settings[0], "HttpMethod") != "*" {
		t.Errorf("execution logs would hold tokens: %s", deploytest.Render(settings))
	}
}

// What API Gateway answers by itself says in the standards' terms what is wrong, to a browser too.
func TestGatewayResponses(t *testing.T) {
	const bearer, dpop = `Bearer realm="latchkey"`, `, DPoP realm="latchkey", algs="ES256 Ed25519 EdDSA RS256"`
	want := map[string]struct{ id, status, code, challenge, retry string }{
		"UNAUTHORIZED":                   {"UnauthorizedResponse", "401", "invalid_token", bearer, ""},
		"ACCESS_DENIED":                  {"AccessDeniedResponse", "403", "insufficient_scope", bearer + `, error="insufficient_scope"`, ""},
		"AUTHORIZER_FAILURE":             {"AuthorizerFailureResponse", "503", "temporarily_unavailable", "", "2"},
		"AUTHORIZER_CONFIGURATION_ERROR": {"AuthorizerConfigurationResponse", "503", "temporarily_unavailable", "", "2"},
		"DEFAULT_4XX":                    {"Default4xxResponse", "", "", "", ""},
		"DEFAULT_5XX":                    {"Default5xxResponse", "", "", "", ""},
	}
	for _, parameters := range []map[string]string{nil, {"ApiOrigins": "execute-api", "CorsOrigin": "https://app.example.com"}} {
		stack := deploy(t, parameters)
		seen := 0
		for _, id := range ofType(t, stack.Resources, "AWS::ApiGateway::GatewayResponse") {
			p := stack.Resources[id].Properties
			w, ok := want[fmt.Sprint(p["ResponseType"])]
			if !ok || w.id != id {
				t.Errorf("%s is for %v", id, p["ResponseType"])
				continue
			}
			seen++
			headers, _ := p["ResponseParameters"].(map[string]any)
			got := make(map[string]string)
			for name, value := range headers {
				text := deploytest.Render(value)
				if len(text) < 3 || text[0] != '\'' || text[len(text)-1] != '\'' || strings.Count(text, "'") != 2 {
					t.Errorf("%s: %s is %s: a static value stands in quotes of its own", id, name, text)
				}
				got[strings.TrimPrefix(name, "gatewayresponse.header.")] = strings.Trim(text, "'")
			}
			expected := map[string]string{
				"Access-Control-Allow-Origin": "${CorsOrigin}", "Access-Control-Expose-Headers": "WWW-Authenticate,Retry-After",
				"Cache-Control": "no-store",
			}
			if w.challenge != "" {
				expected["WWW-Authenticate"] = w.challenge
				if w.status == "401" && parameters != nil {
					expected["WWW-Authenticate"] += dpop
				}
			}
			if w.retry != "" {
				expected["Retry-After"] = w.retry
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("%s: headers (-want +got):\n%s", id, diff)
			}
			if w.status == "" {
				continue
			}
			check(t, stack, id, w.status, "StatusCode")
			var body map[string]string
			text, _ := at(p, "ResponseTemplates", "application/json").(string)
			if err := json.Unmarshal([]byte(text), &body); err != nil || body["error"] != w.code || body["error_description"] == "" || len(body) != 2 {
				t.Errorf("%s: %v, the body is %s", id, err, text)
			}
		}
		if seen != len(want) {
			t.Errorf("%d gateway responses, want %d", seen, len(want))
		}
	}
	preflight := deploytest.Render(at(deploy(t, nil).Resources["WhoamiPreflight"].Properties, "Integration", "IntegrationResponses"))
	for _, header := range []string{`"'Authorization,DPoP'"`, `{"Fn::Sub":"'${CorsOrigin}'"}`} {
		if !strings.Contains(preflight, header) {
			t.Errorf("no %s in the preflight's answer %s", header, preflight)
		}
	}
}

// Up to four other APIs, or patterns of them, may ask the authorizer; by default none.
func TestForeignAPIs(t *testing.T) {
	const one, all = "arn:aws:execute-api:eu-west-1:111122223333:a1b2c3d4e5/authorizers/f6g7h8", "arn:aws:execute-api:eu-west-1:111122223333:*/authorizers/*"
	for _, given := range [][]string{nil, {one}, {one, all}, {one, all, one}, {one, all, one, all}} {
		stack := deploy(t, map[string]string{"AuthorizerSourceArns": strings.Join(given, ",")})
		var got []string
		for i := range 5 {
			id := fmt.Sprint("AuthorizerPermission", i)
			if r, ok := stack.Resources[id]; ok {
				got = append(got, deploytest.Render(r.Properties["SourceArn"]))
				check(t, stack, id, "${AuthorizerFunction}", "FunctionName")
				check(t, stack, id, "apigateway.amazonaws.com", "Principal")
				check(t, stack, id, "lambda:InvokeFunction", "Action")
			}
		}
		if !slices.Equal(got, given) {
			t.Errorf("%v may ask, want %v", got, given)
		}
	}
}

// A deployment of the REST API shows what was there when it was created; only a new one, by another name, shows more.
func TestRESTDeploymentIsRenewed(t *testing.T) {
	d := deploytest.Load(t)
	shown := make(map[string]any)
	for id, r := range d.Source {
		switch r.Type {
		case "AWS::ApiGateway::RestApi", "AWS::ApiGateway::Resource", "AWS::ApiGateway::Method",
			"AWS::ApiGateway::Authorizer", "AWS::ApiGateway::GatewayResponse":
			shown[id] = r.Properties
			if r.Type != "AWS::ApiGateway::RestApi" && r.Type != "AWS::ApiGateway::Resource" && r.Type != "AWS::ApiGateway::Authorizer" {
				for _, deployment := range ofType(t, d.Source, "AWS::ApiGateway::Deployment") {
					if !slices.Contains(d.Source[deployment].DependsOn, id) {
						t.Errorf("%s does not depend on %s, and may be made without it", deployment, id)
					}
				}
			}
		}
	}
	text, err := json.Marshal(shown) // sorts members
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(text)
	want := "RestDeployment" + hex.EncodeToString(hash[:4])
	if got := ofType(t, d.Source, "AWS::ApiGateway::Deployment"); !slices.Equal(got, []string{want}) {
		t.Errorf("the REST API changed: rename %v to %s in template.yaml", got, want)
	}
	check(t, deploy(t, nil), "RestStage", "${"+want+"}", "DeploymentId")
}

// What `sam local start-api` makes of the template depends on the order of its resources.
func TestSAMLocal(t *testing.T) {
	d := deploytest.Load(t)
	index := func(id string) int {
		i := slices.Index(d.Order, id)
		if i < 0 {
			t.Fatalf("no %s", id)
		}
		return i
	}
	for i, id := range d.Order {
		kind := d.Source[id].Type
		if strings.HasPrefix(kind, "AWS::Serverless::") && i < index("HttpApi") {
			t.Errorf("%s stands before HttpApi: the explicit APIs' routes would be missing", id)
		}
		if strings.HasPrefix(kind, "AWS::Serverless::") && kind != "AWS::Serverless::Function" {
			t.Errorf("%s is a %s: its routes would be missing", id, kind)
		}
		if kind == "AWS::Serverless::Function" && d.Source[id].Properties["Events"] != nil {
			t.Errorf("%s has Events: their routes would be missing", id)
		}
	}
	if index("RestStage") < index("HttpStage") {
		t.Error("RestStage stands before HttpStage: the authorizer would be given ARNs with the stage $default")
	}
	if d.Source["HttpApi"].Properties["CorsConfiguration"] != nil {
		t.Error("CORS of HttpApi would be given to every route, /whoami too")
	}
}

func TestRules(t *testing.T) {
	d := deploytest.Load(t)
	refused := map[string]map[string]string{
		"AccessKeyMode kms signs ES256 or RS256, not EdDSA.": {"AccessKeyMode": "kms", "AccessKeyAlgorithm": "EdDSA"},
		"AllowHttp is for sam local":                         {"AllowHttp": "true"},
		"LocalEndpoint is for sam local":                     {"LocalEndpoint": "http://127.0.0.1:5000"},
	}
	for words, parameters := range refused {
		if _, err := d.Deploy(parameters); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: %v, want %q", parameters, err, words)
		}
	}
	for _, parameters := range modes() {
		if _, err := d.Deploy(parameters); err != nil {
			t.Errorf("%v: %v", parameters, err)
		}
	}
}

func TestParameters(t *testing.T) {
	d := deploytest.Load(t)
	for name, p := range d.Parameters {
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
		if p.AllowedValues != nil && !slices.Contains(p.AllowedValues, p.Default) {
			t.Errorf("%s: the default %v is not allowed", name, p.Default)
		}
	}
	match := func(name, value string) bool {
		return regexp.MustCompile(d.Parameters[name].AllowedPattern).MatchString(value)
	}
	tests := []struct {
		name        string
		takes, bars string
	}{
		{"Issuer", "|https://id.example.com|https://id.example.com:8443",
			"http://id.example.com|https://ID.example.com|https://id.example.com/|https://id.example.com/path|id.example.com|https://a b|https://x?y"},
		{"AcceptedIssuers", "|https://old.example.com|https://a.example.com,https://b.example.com:8443" + "|https://a" + strings.Repeat(",https://b", 4),
			"http://old.example.com|https://OLD.example.com|https://old.example.com/|https://a, https://b|https://a,|,https://a|https://a" + strings.Repeat(",https://b", 5)},
		{"JwksUrl", "|https://id.example.com/.well-known/jwks.json", "http://id.example.com/jwks.json|https://"},
		{"Audience", "|https://api.example.com|https://a.example.com,https://b.example.com", "https://a.example.com, https://b.example.com"},
		{"DiscoveryConcurrency", "|1|50|1000", "0|00|01|-1|1.5|many"},
		{"AlarmTopicArn", "|arn:aws:sns:eu-west-1:123456789012:alarms", "alarms|arn:aws:sqs:eu-west-1:123456789012:alarms"},
		{"ContextClaims", "|auth_time|aud,auth_time,iat,iss", "tenant|aud, iss|,aud|aud,"},
		{"WebSocketToken", "header|protocol|query:access_token", "|query|query:|query:a&b|header,protocol"},
		{"ApiOrigins", "|execute-api|https://api.example.com|a1b2=execute-api,c3d4=https://api.example.com:8443",
			"http://api.example.com|https://api.example.com/|execute-api,|a1b2=|=execute-api|*=execute-api|execute-api, execute-api|https://api.example.com/v1"},
		{"MtlsOrigin", "|https://mtls.example.com", "http://mtls.example.com|https://mtls.example.com/"},
		{"CorsOrigin", "*|https://app.example.com|http://127.0.0.1:3000", "|'*'|https://a.example.com/|https://a.example.com,https://b.example.com|null"},
		{"AuthorizerSourceArns",
			"|arn:aws:execute-api:eu-west-1:111122223333:a1b2c3d4e5/authorizers/f6g7h8" +
				"|arn:aws-cn:execute-api:cn-north-1:111122223333:*/authorizers/*,arn:aws:execute-api:eu-west-1:111122223333:*/authorizers/*",
			"*|arn:aws:execute-api:eu-west-1:*:*/authorizers/*|arn:aws:execute-api:*:111122223333:*/authorizers/*" +
				"|arn:aws:execute-api:eu-west-1:111122223333:*|arn:aws:execute-api:eu-west-1:111122223333:a1b2/prod/GET/" +
				"|arn:aws:execute-api:eu-west-1:111122223333:*/authorizers/*,|" + strings.Repeat("arn:aws:execute-api:eu-west-1:111122223333:*/authorizers/*,", 4) +
				"arn:aws:execute-api:eu-west-1:111122223333:*/authorizers/*"},
		{"RevocationsUrl", "|https://feed.example.com/f?a=b", "http://feed.example.com|https://"},
		{"RevocationsPollInterval", "15s|30|1m", "|0|0s|1h|-1s|1.5s"},
		{"MaxStaleness", "60s|90|5m|1h", "|0|0s|1d|-1s"},
		{"MaxAccessTokenLifetime", "1h|15m|900|900s", "|0|0h|-1h|1d|1h30m|h|1.5h"},
		{"KeyPublishLead", "3h|10800", "|0|3d"},
		{"KeyRotationPeriod", "2160h|86400", "|0|90d"},
		{"MaxGrantLifetime", "720h|3600", "|0|30d"},
		{"MaxBearerGrantLifetime", "24h|3600", "|0|1d"},
	}
	for _, test := range tests {
		if d.Parameters[test.name].AllowedPattern == "" {
			t.Errorf("%s takes anything", test.name)
		}
		if value := fmt.Sprint(d.Parameters[test.name].Default); !match(test.name, value) {
			t.Errorf("%s bars its default %q", test.name, value)
		}
		for value := range strings.SplitSeq(test.takes, "|") {
			if !match(test.name, value) {
				t.Errorf("%s bars %q", test.name, value)
			}
		}
		for value := range strings.SplitSeq(test.bars, "|") {
			if match(test.name, value) {
				t.Errorf("%s takes %q", test.name, value)
			}
		}
	}
}

// Who verifies tokens tells the age of its copy of the revocations; an alarm listens to all of them.
func TestStalenessIsMeasured(t *testing.T) {
	stack := deploy(t, map[string]string{"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms", "StalenessAlarmAge": "90"})
	var measured []string
	for _, id := range ofType(t, stack.Resources, "AWS::Logs::MetricFilter") {
		measured = append(measured, deploytest.Render(stack.Resources[id].Properties["LogGroupName"]))
		check(t, stack, id, `{ $.event = "revocations.poll_failed" }`, "FilterPattern")
		check(t, stack, id, `[{"MetricName":"RevocationsAge","MetricNamespace":{"Fn::Sub":"Latchkey/${AWS::StackName}"},"MetricValue":"$.age_s","Unit":"Seconds"}]`, "MetricTransformations")
	}
	var polls []string
	for _, id := range ofType(t, stack.Resources, "AWS::Lambda::Function") {
		if at(stack.Resources[id].Properties, "Environment", "Variables", "REVOCATIONS_URL") != nil {
			polls = append(polls, "${"+strings.TrimSuffix(id, "Function")+"Logs}")
		}
	}
	slices.Sort(measured)
	if !slices.Equal(measured, polls) {
		t.Errorf("the age is measured in %v, functions that poll the feed log to %v", measured, polls)
	}
	check(t, stack, "StalenessAlarm", "Latchkey/${AWS::StackName}", "Namespace")
	check(t, stack, "StalenessAlarm", "RevocationsAge", "MetricName")
	check(t, stack, "StalenessAlarm", "90", "Threshold")
	check(t, stack, "StalenessAlarm", `["arn:aws:sns:eu-west-1:123456789012:alarms"]`, "AlarmActions")
	if _, ok := deploy(t, nil).Resources["StalenessAlarm"]; ok {
		t.Error("an alarm without anybody to tell")
	}
}

func TestOutputs(t *testing.T) {
	const base = "https://id.example.com"
	stack := deploy(t, map[string]string{"Issuer": base, "Audience": "https://api.example.com"})
	got := make(map[string]string)
	for name, output := range stack.Outputs {
		got[name] = deploytest.Render(output.Value)
		if output.Description == "" {
			t.Errorf("%s has no description", name)
		}
	}
	want := map[string]string{
		"Issuer": base, "TokenEndpoint": base + "/oauth2/token", "RefreshEndpoint": base + "/oauth2/refresh",
		"JwksUri": base + "/.well-known/jwks.json", "Audience": "https://api.example.com",
		"WhoamiUrl":             "https://${RestApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/prod/whoami",
		"ClientsTableName":      "${ClientsTable}",
		"UsersTableName":        "${UsersTable}",
		"IssuersTableName":      "${IssuersTable}",
		"RevocationsTableName":  "${RevocationsTable}",
		"AuthorizerFunctionArn": "${AuthorizerFunction.Arn}",
		"CreateClientCommand": "AWS_REGION=${AWS::Region} latchkey client create NAME --clients-table ${ClientsTable} " +
			"--audience https://api.example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
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

func TestEvents(t *testing.T) {
	d := deploytest.Load(t)
	for _, kind := range []string{"Create", "Update", "Delete"} {
		name := "rotate-custom-resource-" + strings.ToLower(kind) + ".json"
		text, err := os.ReadFile(filepath.Join(testenv.Root(t), "events", name))
		if err != nil {
			t.Fatal(err)
		}
		var event map[string]any
		if err := json.Unmarshal(text, &event); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if event["RequestType"] != kind {
			t.Errorf("%s is a %v", name, event["RequestType"])
		}
		id, _ := event["LogicalResourceId"].(string)
		r, ok := d.Resources[id]
		if !ok || r.Type != event["ResourceType"] {
			t.Errorf("%s is of %v, %v, which the template has not", name, id, event["ResourceType"])
		}
		if got, want := slices.Sorted(maps.Keys(r.Properties)), slices.Sorted(maps.Keys(at(event, "ResourceProperties").(map[string]any))); !slices.Equal(got, want) {
			t.Errorf("%s has properties %v, the template %v", name, want, got)
		}
		if _, ok := event["PhysicalResourceId"]; ok != (kind != "Create") {
			t.Errorf("%s: PhysicalResourceId is there: %v", name, ok)
		}
		for _, member := range []string{"RequestId", "ResponseURL", "ServiceToken", "StackId"} {
			if text, _ := event[member].(string); text == "" {
				t.Errorf("%s has no %s", name, member)
			}
		}
	}
}
