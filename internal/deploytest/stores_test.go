package deploytest_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
)

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
