package deploytest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
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

// everything is all that is off by default.
func everything() map[string]string {
	return map[string]string{
		"DomainName": "id.example.com", "DomainCertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1a2b3c4d-0000-4000-8000-1a2b3c4d5e6f",
		"HostedZoneId": "Z0123456789ABCDEFGHIJ", "DisableExecuteApi": "true", "DiscoveryCache": "true", "Waf": "true", "Dashboard": "true",
		"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms", "Canary": "true", "RestAccessLogs": "true",
		"AccessKeyMode": "kms", "RefreshKeyMode": "kms", "DiscoveryConcurrency": "50", "ApiOrigins": "execute-api",
		"AuthorizerSourceArns": strings.Repeat("arn:aws:execute-api:eu-west-1:111122223333:*/authorizers/*,", 3) + "arn:aws:execute-api:eu-west-1:111122223333:*/authorizers/*",
		"TokenRate":            "1000", "TokenBurst": "1000", "RefreshRate": "1000", "RefreshBurst": "1000", "RevokeRate": "1000", "IntrospectRate": "1000", "DiscoveryRate": "1000",
	}
}

// variants are the modes, and each that is off by default turned on, by itself and all together.
func variants() []map[string]string {
	all := append(modes(), nil, everything())
	for name, value := range everything() {
		one := map[string]string{name: value}
		switch name {
		case "DomainName", "DomainCertificateArn", "HostedZoneId", "DisableExecuteApi": // these need each other
			for _, other := range []string{"DomainName", "DomainCertificateArn"} {
				one[other] = everything()[other]
			}
		}
		all = append(all, one)
	}
	return all
}

// alias is how a reference to a function's alias is rendered.
func alias(function string) string { return "${" + function + "FunctionAliaslive}" }

func deploy(t *testing.T, parameters map[string]string) *deploytest.Stack {
	t.Helper()
	d := deploytest.Load(t)
	if parameters["Canary"] == "true" {
		d = deploytest.LoadCanary(t, cmp.Or(parameters["CanaryShift"], fmt.Sprint(d.Parameters["CanaryShift"].Default)))
	}
	stack, err := d.Deploy(parameters)
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

// The templates, and what the SAM transform makes of ours with everything turned on, which cfn-lint does not see by itself.
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
	var document map[string]any
	if err := json.Unmarshal(deploytest.Translated(t, "Canary10Percent5Minutes"), &document); err != nil {
		t.Fatal(err)
	}
	// It does not know that Canary is on in this one: that CanaryShift was used up, and that these have a role in any case.
	ignore := func(check string) any {
		return map[string]any{"cfn-lint": map[string]any{"config": map[string]any{"ignore_checks": []string{check}}}}
	}
	document["Metadata"] = ignore("W2001")
	resources, _ := document["Resources"].(map[string]any)
	for _, r := range resources {
		if r, ok := r.(map[string]any); ok && r["Type"] == "AWS::CodeDeploy::DeploymentGroup" {
			r["Metadata"] = ignore("E3003")
		}
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	canary := filepath.Join(t.TempDir(), "canary.json")
	if err := os.WriteFile(canary, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Script(t, "cfn-lint"), append(args, canary)...)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, said)
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

// What resources refer to is there, whatever is turned on, and no resource waits for itself by way of others.
func TestReferences(t *testing.T) {
	d := deploytest.Load(t)
	for _, parameters := range variants() {
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

	// On the document, so that both sides of each Fn::If count, and with what is made for Canary.
	d = deploytest.LoadCanary(t, "Canary10Percent5Minutes")
	waits := make(map[string]map[string]bool)
	for id, r := range d.Resources {
		waits[id] = make(map[string]bool)
		for _, other := range append(deploytest.References([]any{r.Properties, r.UpdatePolicy}), r.DependsOn...) {
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
	if !waits["TokenFunction"]["HttpApi"] || !waits["TokenRoute"]["FirstKeys"] || !waits["TokenFunctionAliaslive"]["TokenFunctionDeploymentGroup"] {
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
