package deploytest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
)

// edge is what stands between the internet and the APIs, none of which is there by default.
var edge = []string{
	"CustomDomain", "CustomDomainMapping", "CustomDomainRecord", "DiscoveryCachePolicy", "DiscoveryDistribution", "WebAcl", "WebAclAssociation",
}

func TestNoEdgeByDefault(t *testing.T) {
	stack := deploy(t, nil)
	for _, id := range edge {
		if _, ok := stack.Resources[id]; ok {
			t.Errorf("%s is there by default", id)
		}
		if _, ok := deploy(t, everything()).Resources[id]; !ok {
			t.Errorf("%s is not there with everything turned on", id)
		}
	}
	check(t, stack, "HttpApi", "false", "DisableExecuteApiEndpoint")
}

func TestCustomDomain(t *testing.T) {
	all := everything()
	stack := deploy(t, map[string]string{"DomainName": all["DomainName"], "DomainCertificateArn": all["DomainCertificateArn"]})
	check(t, stack, "CustomDomain", all["DomainName"], "DomainName")
	check(t, stack, "CustomDomain", `[{"CertificateArn":"`+all["DomainCertificateArn"]+`","EndpointType":"REGIONAL","SecurityPolicy":"TLS_1_2"}]`, "DomainNameConfigurations")
	check(t, stack, "CustomDomainMapping", "${HttpApi}", "ApiId")
	check(t, stack, "CustomDomainMapping", "${CustomDomain}", "DomainName")
	check(t, stack, "CustomDomainMapping", "${HttpStage}", "Stage")
	// The issuer is a URL without a path.
	check(t, stack, "CustomDomainMapping", "null", "ApiMappingKey")
	if _, ok := stack.Resources["CustomDomainRecord"]; ok {
		t.Error("a record in no zone")
	}
	check(t, stack, "HttpApi", "false", "DisableExecuteApiEndpoint")

	stack = deploy(t, all)
	check(t, stack, "CustomDomainRecord", all["HostedZoneId"], "HostedZoneId")
	check(t, stack, "CustomDomainRecord", all["DomainName"], "Name")
	check(t, stack, "CustomDomainRecord", "${CustomDomain.RegionalDomainName}", "AliasTarget", "DNSName")
	check(t, stack, "HttpApi", "true", "DisableExecuteApiEndpoint")
	// The domain that is moved away from goes on answering.
	for _, id := range []string{"CustomDomain", "CustomDomainMapping", "CustomDomainRecord"} {
		if r := stack.Resources[id]; r.UpdateReplacePolicy != "Retain" || r.DeletionPolicy != "Delete" {
			t.Errorf("%s: %s when it is replaced, %s with the stack", id, r.UpdateReplacePolicy, r.DeletionPolicy)
		}
	}
	if got := deploytest.Render(stack.Outputs["DomainTarget"].Value); got != "${CustomDomain.RegionalDomainName}" {
		t.Errorf("DomainTarget is %s", got)
	}
}

// CloudFront keeps what answers say may be kept, told apart by what the feed is asked with, and no error.
func TestDiscoveryCache(t *testing.T) {
	stack := deploy(t, map[string]string{"DiscoveryCache": "true"})
	for property, want := range map[string]string{
		"MinTTL": "0", "DefaultTTL": "0", "MaxTTL": "31536000",
		"ParametersInCacheKeyAndForwardedToOrigin.QueryStringsConfig": `{"QueryStringBehavior":"whitelist","QueryStrings":["since","after"]}`,
		"ParametersInCacheKeyAndForwardedToOrigin.HeadersConfig":      `{"HeaderBehavior":"none"}`,
		"ParametersInCacheKeyAndForwardedToOrigin.CookiesConfig":      `{"CookieBehavior":"none"}`,
	} {
		check(t, stack, "DiscoveryCachePolicy", want, append([]string{"CachePolicyConfig"}, strings.Split(property, ".")...)...)
	}
	config, _ := at(stack.Resources["DiscoveryDistribution"].Properties, "DistributionConfig").(map[string]any)
	origins, _ := config["Origins"].([]any)
	if len(origins) != 1 || deploytest.Render(at(origins[0], "DomainName")) != "${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}" ||
		at(origins[0], "CustomOriginConfig", "OriginProtocolPolicy") != "https-only" {
		t.Errorf("origins %s", deploytest.Render(origins))
	}
	for property, want := range map[string]string{
		"AllowedMethods": `["GET","HEAD"]`, "ViewerProtocolPolicy": "https-only", "CachePolicyId": "${DiscoveryCachePolicy}", "OriginRequestPolicyId": "null",
	} {
		check(t, stack, "DiscoveryDistribution", want, "DistributionConfig", "DefaultCacheBehavior", property)
	}
	if config["CacheBehaviors"] != nil {
		t.Error("paths that are cached otherwise")
	}
	var codes []float64
	errors, _ := config["CustomErrorResponses"].([]any)
	for _, e := range errors {
		code, _ := at(e, "ErrorCode").(float64)
		codes = append(codes, code)
		if at(e, "ErrorCachingMinTTL") != 0.0 || at(e, "ResponsePagePath") != nil {
			t.Errorf("%v is kept or answered otherwise: %s", code, deploytest.Render(e))
		}
	}
	for _, code := range []float64{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout} {
		if !slices.Contains(codes, code) {
			t.Errorf("an answer of %v is kept for as long as CloudFront likes", code)
		}
	}

	all := everything()
	config, _ = at(deploy(t, all).Resources["DiscoveryDistribution"].Properties, "DistributionConfig").(map[string]any)
	origins, _ = config["Origins"].([]any)
	if got := at(origins[0], "DomainName"); got != all["DomainName"] {
		t.Errorf("without API Gateway's own address the origin is %v", got)
	}
}

func TestWAF(t *testing.T) {
	stack := deploy(t, map[string]string{"Waf": "true", "WafRateLimit": "500"})
	check(t, stack, "WebAcl", "REGIONAL", "Scope")
	check(t, stack, "WebAclAssociation", "${WebAcl.Arn}", "WebACLArn")
	check(t, stack, "WebAclAssociation", "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${RestApi}/stages/${RestStage}", "ResourceArn")
	text, err := json.Marshal(stack.Resources["WebAcl"].Properties)
	if err != nil {
		t.Fatal(err)
	}
	// Samples would show tokens.
	if n := strings.Count(string(text), `"SampledRequestsEnabled":false`); n != 4 || strings.Contains(string(text), `"SampledRequestsEnabled":true`) {
		t.Errorf("requests are sampled: %s", text)
	}
	rules, _ := stack.Resources["WebAcl"].Properties["Rules"].([]any)
	if len(rules) != 3 || deploytest.Render(at(rules[0], "Statement", "RateBasedStatement")) != `{"AggregateKeyType":"IP","Limit":"500"}` ||
		deploytest.Render(at(rules[0], "Action")) != `{"Block":{"CustomResponse":{"ResponseCode":429}}}` {
		t.Errorf("rules %s", deploytest.Render(rules))
	}
}
