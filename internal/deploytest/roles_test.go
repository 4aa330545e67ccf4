package deploytest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
)

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
	for _, parameters := range append(modes(), everything()) {
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
		if parameters["Canary"] != "" {
			// CodeDeploy moves the aliases that APIs call, and reads whether an alarm rings.
			want["CanaryRole"] = []string{"cloudwatch:DescribeAlarms *"}
			for _, name := range aliased {
				for _, action := range []string{"GetAlias", "GetProvisionedConcurrencyConfig", "UpdateAlias"} {
					add("Canary", "lambda:"+action+" ${"+name+"Function.Arn}")
					add("Canary", "lambda:"+action+" ${"+name+"Function.Arn}:live")
				}
			}
		}
		got := make(map[string][]string)
		for _, id := range ofType(t, stack.Resources, "AWS::IAM::Role") {
			slices.Sort(want[id])
			got[id] = grants(t, stack.Resources[id])
			service := "lambda"
			if id == "CanaryRole" {
				service = "codedeploy"
			}
			check(t, stack, id, `[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":"`+service+`.amazonaws.com"}}]`,
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
