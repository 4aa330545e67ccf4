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
)

func TestRules(t *testing.T) {
	d := deploytest.Load(t)
	refused := map[string]map[string]string{
		"AccessKeyMode kms signs ES256 or RS256, not EdDSA.": {"AccessKeyMode": "kms", "AccessKeyAlgorithm": "EdDSA"},
		"AllowHttp is for sam local":                         {"AllowHttp": "true"},
		"LocalEndpoint is for sam local":                     {"LocalEndpoint": "http://127.0.0.1:5000"},
		"DomainName and DomainCertificateArn go together.":   {"DomainName": "id.example.com"},
		"HostedZoneId is for DomainName":                     {"HostedZoneId": "Z0123456789ABCDEFGHIJ"},
		"DisableExecuteApi leaves no address":                {"DisableExecuteApi": "true"},
		"Canary need Metrics":                                {"Canary": "true", "Metrics": "off"},
		"AlarmTopicArn, ":                                    {"AlarmTopicArn": topic, "Metrics": "off"},
		"Dashboard and ":                                     {"Dashboard": "true", "Metrics": "off"},
	}
	for words, parameters := range refused {
		if _, err := d.Deploy(parameters); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: %v, want %q", parameters, err, words)
		}
	}
	for _, parameters := range append(variants(), map[string]string{"Metrics": "off"}) {
		if _, err := d.Deploy(parameters); err != nil {
			t.Errorf("%v: %v", parameters, err)
		}
	}
}

func TestParameters(t *testing.T) {
	d := deploytest.Load(t)
	for name, p := range d.Parameters {
		if p.Description == "" || p.Default == nil {
			t.Errorf("%s has no description, or no default", name)
		}
		switch {
		case p.AllowedValues != nil:
		case p.Type == "Number":
			if n, ok := p.Default.(float64); !ok || p.MinValue == nil || p.MaxValue == nil || n < *p.MinValue || n > *p.MaxValue {
				t.Errorf("%s has no bounds, or %v is outside", name, p.Default)
			}
		case p.AllowedPattern == "" || p.ConstraintDescription == "":
			t.Errorf("%s takes anything, or does not say what it takes", name)
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
		{"DomainName", "|id.example.com|a-b.c1.example", "example|ID.example.com|https://id.example.com|id.example.com/|id.example.com.|-a.example|a..b|id.example.com:443"},
		{"DomainCertificateArn", "|arn:aws:acm:eu-west-1:123456789012:certificate/1a2b-3c4d|arn:aws-cn:acm:cn-north-1:123456789012:certificate/1", "a|arn:aws:iam::123456789012:server-certificate/a"},
		{"HostedZoneId", "|Z0123456789ABCDEFGHIJ", "z0|/hostedzone/Z0123456789|example.com"},
		{"TokenRate", "|1|500|999999", "0|-1|1.5|1000000|many"},
		{"RefreshBurst", "|2000", "0|2,000"},
		{"LocalEndpoint", "|http://127.0.0.1:5000", "127.0.0.1:5000"},
		{"Jwks", `|{"keys":[]}`, "https://a.example|[]"},
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

// The console shows each parameter once, under a heading, and the page on deploying goes by the same.
func TestParameterGroups(t *testing.T) {
	d := deploytest.Load(t)
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "deploy.md"))
	if err != nil {
		t.Fatal(err)
	}
	var grouped []string
	groups, _ := at(d.Metadata, "AWS::CloudFormation::Interface", "ParameterGroups").([]any)
	for _, g := range groups {
		if heading := fmt.Sprintf("\n### %v\n", at(g, "Label", "default")); !strings.Contains(string(page), heading) {
			t.Errorf("docs/deploy.md has no heading %q", heading)
		}
		names, _ := at(g, "Parameters").([]any)
		for _, name := range names {
			grouped = append(grouped, fmt.Sprint(name))
			if !strings.Contains(string(page), "`"+fmt.Sprint(name)+"`") {
				t.Errorf("docs/deploy.md says nothing of %v", name)
			}
		}
	}
	slices.Sort(grouped)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(d.Parameters)), grouped); diff != "" {
		t.Errorf("grouped (-want +got):\n%s", diff)
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
		if export := deploytest.Render(output.Export.Name); name != "CreateClientCommand" && export != "${AWS::StackName}-"+name {
			t.Errorf("%s is exported as %s", name, export)
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
		"AuthorizerFunctionArn": alias("Authorizer"),
		"HttpApiId":             "${HttpApi}",
		"RestApiId":             "${RestApi}",
		"RevocationsUri":        "https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/.well-known/latchkey-revocations",
		"CreateClientCommand": "AWS_REGION=${AWS::Region} latchkey client create NAME --clients-table ${ClientsTable} " +
			"--audience https://api.example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}
