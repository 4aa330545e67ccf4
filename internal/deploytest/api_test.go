package deploytest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
)

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

// Each route calls its function's alias, and only if that lets API Gateway in, from that route: a permission on the function
// is none on its alias.
func TestPermissions(t *testing.T) {
	stack := deploy(t, nil)
	const arn = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:"
	want := map[string]string{
		alias("Token"):      arn + "${HttpApi}/*/*/oauth2/token",
		alias("Refresh"):    arn + "${HttpApi}/*/*/oauth2/refresh",
		alias("Revoke"):     arn + "${HttpApi}/*/*/oauth2/revoke",
		alias("Introspect"): arn + "${HttpApi}/*/*/oauth2/introspect",
		alias("Discovery"):  arn + "${HttpApi}/*/*/.well-known/* " + arn + "${HttpApi}/*/*/openapi.json",
		alias("Authorizer"): arn + "${RestApi}/authorizers/${Authorizer}",
		alias("Whoami"):     arn + "${RestApi}/*/GET/whoami",
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

	// A URI has the alias by its name alone: that it is there, and lets the API in, is for the stage to wait for.
	waits := map[string][]string{"${HttpApi}": {"HttpStage"}, "${RestApi}": ofType(t, stack.Resources, "AWS::ApiGateway::Deployment")}
	for _, id := range ofType(t, stack.Resources, "AWS::Lambda::Permission") {
		for api, stages := range waits {
			for _, stage := range stages {
				if strings.Contains(deploytest.Render(stack.Resources[id].Properties["SourceArn"]), api) && !slices.Contains(stack.Resources[stage].DependsOn, id) {
					t.Errorf("%s does not depend on %s", stage, id)
				}
			}
		}
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

// Each route's limits are the parameters', where they are given.
func TestRates(t *testing.T) {
	settings := func(parameters map[string]string) map[string]any {
		all, _ := deploy(t, parameters).Resources["HttpStage"].Properties["RouteSettings"].(map[string]any)
		return all
	}
	given := settings(map[string]string{
		"TokenRate": "1", "TokenBurst": "2", "RefreshRate": "3", "RefreshBurst": "4", "RevokeRate": "5", "IntrospectRate": "6", "DiscoveryRate": "7",
		"AccessKeyMode": "kms",
	})
	for route, want := range map[string][6]string{ // by default, with access keys in KMS, and as given: rate, burst
		"ANY /oauth2/token":                           {"500", "500", "200", "200", "1", "2"},
		"ANY /oauth2/refresh":                         {"3000", "2000", "500", "500", "3", "4"},
		"ANY /oauth2/revoke":                          {"200", "200", "200", "200", "5", "5"},
		"ANY /oauth2/introspect":                      {"1000", "1000", "1000", "1000", "6", "6"},
		"ANY /.well-known/jwks.json":                  {"1000", "1000", "1000", "1000", "7", "7"},
		"ANY /.well-known/latchkey-revocations":       {"1000", "1000", "1000", "1000", "7", "7"},
		"ANY /.well-known/oauth-authorization-server": {"200", "200", "200", "200", "200", "200"},
		"ANY /.well-known/openid-configuration":       {"200", "200", "200", "200", "200", "200"},
	} {
		var got [6]string
		for i, all := range []map[string]any{settings(nil), settings(map[string]string{"AccessKeyMode": "kms"}), given} {
			got[2*i] = deploytest.Render(at(all, route, "ThrottlingRateLimit"))
			got[2*i+1] = deploytest.Render(at(all, route, "ThrottlingBurstLimit"))
		}
		if got != want {
			t.Errorf("%s: %v, want %v", route, got, want)
		}
		// Numbers by default: nothing says that AWS takes a text for one here.
		if _, ok := at(settings(nil), route, "ThrottlingRateLimit").(float64); !ok {
			t.Errorf("%s: the default rate is no number", route)
		}
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
				check(t, stack, id, alias("Authorizer"), "FunctionName")
				check(t, stack, id, "apigateway.amazonaws.com", "Principal")
				check(t, stack, id, "lambda:InvokeFunction", "Action")
			}
		}
		if !slices.Equal(got, given) {
			t.Errorf("%v may ask, want %v", got, given)
		}
	}
}

// A deployment of the REST API shows what was there when it was created; only a new one, by another name, shows more. A
// parameter can't rename one, so that each case of ApiOrigins has its own.
func TestRESTDeploymentIsRenewed(t *testing.T) {
	d := deploytest.Load(t)
	shown := make(map[string]any)
	deployments := ofType(t, d.Source, "AWS::ApiGateway::Deployment")
	for id, r := range d.Source {
		switch r.Type {
		case "AWS::ApiGateway::RestApi", "AWS::ApiGateway::Resource":
			shown[id] = r.Properties
		case "AWS::ApiGateway::Method", "AWS::ApiGateway::Authorizer", "AWS::ApiGateway::GatewayResponse":
			shown[id] = r.Properties
			for _, deployment := range deployments {
				if !slices.Contains(d.Source[deployment].DependsOn, id) {
					t.Errorf("%s does not depend on %s, and may be made without it", deployment, id)
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
	if !slices.Equal(deployments, []string{want, want + "Bound"}) {
		t.Errorf("the REST API changed: rename %v to %s and %[2]sBound in template.yaml", deployments, want)
	}
	for origins, id := range map[string]string{"": want, "execute-api": want + "Bound"} {
		stack := deploy(t, map[string]string{"ApiOrigins": origins})
		check(t, stack, "RestStage", "${"+id+"}", "DeploymentId")
		if got := ofType(t, stack.Resources, "AWS::ApiGateway::Deployment"); !slices.Equal(got, []string{id}) {
			t.Errorf("ApiOrigins %q: deployments %v, want %s", origins, got, id)
		}
	}

	// What else of a deployment follows parameters is known, and docs/deploy.md says what to do.
	follows := make(map[string]bool)
	for _, properties := range shown {
		for _, name := range append(deploytest.References(properties), deploytest.Conditions(properties)...) {
			_, parameter := d.Parameters[name]
			_, condition := d.Conditions[name]
			if parameter || condition {
				follows[name] = true
			}
		}
	}
	if got := slices.Sorted(maps.Keys(follows)); !slices.Equal(got, []string{"CorsOrigin", "TakesBoundTokens"}) {
		t.Errorf("the REST API follows %v, of which a deployment shows the old values", got)
	}
}
