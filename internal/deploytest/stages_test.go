package deploytest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
)

// named says which properties of a resource are a name that an account has once in a Region, by type; those of types in global an
// account has once. What is a name within its own API or function alone, or given by a parameter, is none.
var (
	named = map[string][]string{
		"AWS::ApiGateway::Authorizer":      nil,
		"AWS::ApiGateway::Deployment":      nil,
		"AWS::ApiGateway::GatewayResponse": nil,
		"AWS::ApiGateway::Method":          nil,
		"AWS::ApiGateway::Resource":        nil,
		"AWS::ApiGateway::RestApi":         {"Name"}, // by which CloudWatch keeps its metrics
		"AWS::ApiGateway::Stage":           nil,
		"AWS::ApiGatewayV2::Api":           {"Name"}, // in the console
		"AWS::ApiGatewayV2::ApiMapping":    nil,
		"AWS::ApiGatewayV2::DomainName":    nil,
		"AWS::ApiGatewayV2::Integration":   nil,
		"AWS::ApiGatewayV2::Route":         nil,
		"AWS::ApiGatewayV2::Stage":         nil,
		"AWS::CloudFront::CachePolicy":     {"CachePolicyConfig.Name"},
		"AWS::CloudFront::Distribution":    {"DistributionConfig.Aliases"},
		"AWS::CloudWatch::Alarm":           {"AlarmName"},
		"AWS::CloudWatch::Dashboard":       {"DashboardName"},
		"AWS::CodeDeploy::Application":     {"ApplicationName"},
		"AWS::CodeDeploy::DeploymentGroup": {"DeploymentGroupName"},
		"AWS::DynamoDB::Table":             {"TableName"},
		"AWS::Events::Rule":                {"Name"},
		"AWS::IAM::Role":                   {"RoleName"},
		"AWS::Lambda::Alias":               nil,
		"AWS::Lambda::Function":            {"FunctionName"},
		"AWS::Lambda::Permission":          nil,
		"AWS::Lambda::Version":             nil,
		"AWS::Logs::LogGroup":              {"LogGroupName"},
		"AWS::Logs::MetricFilter":          {"FilterName"},
		"AWS::Route53::RecordSet":          nil,
		"AWS::SecretsManager::Secret":      {"Name"},
		"AWS::WAFv2::WebACL":               {"Name"},
		"AWS::WAFv2::WebACLAssociation":    nil,
		"Custom::LatchkeyFirstKeys":        nil,
	}
	global = []string{"AWS::CloudFront::CachePolicy", "AWS::CloudWatch::Dashboard"}
)

// Two stages stand side by side in one account: nothing that they make has a name that the other's has too, in one Region or, of
// what has no Region, in two.
func TestTwoStages(t *testing.T) {
	stack := deploy(t, everything())
	// names of a stage, of resources, metrics and exports.
	names := func(name, region string) []string {
		var all []string
		add := func(kind string, value any) {
			if value != nil {
				all = append(all, kind+" "+strings.NewReplacer("${AWS::StackName}", name, "${AWS::Region}", region).Replace(deploytest.Render(value)))
			}
		}
		for id, r := range stack.Resources {
			properties, known := named[r.Type]
			if !known {
				t.Errorf("%s is a %s: say in this test which of its properties are names", id, r.Type)
			}
			for _, property := range properties {
				add(r.Type, at(r.Properties, strings.Split(property, ".")...))
			}
			if transformations, _ := r.Properties["MetricTransformations"].([]any); r.Type == "AWS::Logs::MetricFilter" {
				add("metrics", at(transformations[0], "MetricNamespace"))
			}
		}
		for _, output := range stack.Outputs {
			add("export", output.Export.Name)
		}
		return all
	}
	collide := func(what string, these, those []string) {
		t.Helper()
		if len(these) < 3 {
			t.Fatalf("%s: names %q", what, these)
		}
		for _, name := range these {
			if slices.Contains(those, name) {
				t.Errorf("%s: both have %s", what, name)
			}
		}
	}
	collide("two stages", names("staging", "eu-west-1"), names("production", "eu-west-1"))

	for id, r := range stack.Resources {
		if slices.Contains(global, r.Type) {
			name := deploytest.Render(at(r.Properties, strings.Split(named[r.Type][0], ".")...))
			if !strings.Contains(name, "${AWS::StackName}") || !strings.Contains(name, "${AWS::Region}") {
				t.Errorf("%s is called %s, which a stage in another Region is too", id, name)
			}
		}
	}
}
