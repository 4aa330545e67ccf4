package deploytest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
)

// aliased are the functions that APIs call: all but rotate, which the deployment itself calls.
var aliased = []string{"Authorizer", "Discovery", "Introspect", "Refresh", "Revoke", "Token", "Whoami"}

// The alias that is called moves to a new version whenever code or settings change.
func TestVersions(t *testing.T) {
	d := deploytest.Load(t)
	var want []string
	for _, name := range aliased {
		id := name + "FunctionAliaslive"
		want = append(want, id)
		if got, err := d.Aliased(id); err != nil || got != name+"Function" {
			t.Errorf("%s is of %s, %v", id, got, err)
		}
		version, _, _ := strings.Cut(strings.Trim(deploytest.Render(d.Resources[id].Properties["FunctionVersion"]), "${}"), ".")
		r := d.Resources[version]
		if r.Type != "AWS::Lambda::Version" || r.DeletionPolicy != "Retain" ||
			deploytest.Render(r.Properties["FunctionName"]) != "${"+name+"Function}" ||
			deploytest.Render(r.Properties["Description"]) != "${FirstKeys.Digest}" {
			t.Errorf("%s is at %s, %+v", id, version, r)
		}
		// A version is not made of a function that is what it was.
		if text := deploytest.Render(d.Resources[name+"Function"].Properties["Description"]); !strings.Contains(text, "${FirstKeys.Digest}") {
			t.Errorf("%sFunction is described without the digest: %s", name, text)
		}
		if d.Source[name+"Function"].Properties["AutoPublishAliasAllProperties"] != true {
			t.Errorf("%sFunction's time-out may change without a version", name)
		}
	}
	if diff := cmp.Diff(want, ofType(t, d.Resources, "AWS::Lambda::Alias")); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
	check(t, deploy(t, nil), "FirstKeys", "${RotateFunction.Arn}", "ServiceToken")
}

// The digest is of every parameter that a version depends on, and of no other: those would publish versions for nothing.
func TestSettings(t *testing.T) {
	d := deploytest.Load(t)
	depends := make(map[string]bool)
	var add func(v any)
	add = func(v any) {
		for _, name := range deploytest.References(v) {
			if _, ok := d.Parameters[name]; ok {
				depends[name] = true
			}
		}
		for _, name := range deploytest.Conditions(v) {
			add(d.Conditions[name])
		}
	}
	for _, name := range aliased {
		for property, value := range d.Resources[name+"Function"].Properties {
			if property != "ReservedConcurrentExecutions" { // a function's, not a version's
				add(value)
			}
		}
	}
	settings, _ := d.Resources["FirstKeys"].Properties["Settings"].([]any)
	var got []string
	for _, s := range settings {
		got = append(got, strings.Trim(deploytest.Render(s), "${}"))
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(depends)), got); diff != "" {
		t.Errorf("Settings of FirstKeys (-want +got):\n%s", diff)
	}
}

func TestCanary(t *testing.T) {
	for canary, parameters := range map[string]map[string]string{
		"false": {"Canary": "false"}, "Canary10Percent5Minutes": {"Canary": "true"},
		"Linear10PercentEvery1Minute": {"Canary": "true", "CanaryShift": "Linear10PercentEvery1Minute"},
	} {
		stack := deploy(t, parameters)
		for _, name := range aliased {
			alias := stack.Resources[name+"FunctionAliaslive"]
			group, shifted := stack.Resources[name+"FunctionDeploymentGroup"]
			if shifted != (canary != "false") || (alias.UpdatePolicy != nil) != shifted {
				t.Errorf("%s: %s is shifted: %v, %v", canary, name, shifted, alias.UpdatePolicy)
			}
			if !shifted {
				continue
			}
			if got := deploytest.Render(at(alias.UpdatePolicy, "CodeDeployLambdaAliasUpdate")); !strings.Contains(got, `{"Ref":"`+name+`FunctionDeploymentGroup"}`) {
				t.Errorf("%s: %s is updated by %s", canary, name, got)
			}
			check(t, stack, name+"FunctionDeploymentGroup", "CodeDeployDefault.Lambda"+canary, "DeploymentConfigName")
			check(t, stack, name+"FunctionDeploymentGroup", "${CanaryRole.Arn}", "ServiceRoleArn")
			check(t, stack, name+"FunctionDeploymentGroup", "true", "AutoRollbackConfiguration", "Enabled")
			var alarms []string
			list, _ := at(group.Properties, "AlarmConfiguration", "Alarms").([]any)
			for _, a := range list {
				alarms = append(alarms, strings.Trim(deploytest.Render(at(a, "Name")), "${}"))
			}
			if want := []string{"HttpErrorsAlarm", "RestErrorsAlarm", "AuthorizerFailedAlarm"}; !slices.Equal(alarms, want) {
				t.Errorf("%s: %s is taken back by %v, want %v", canary, name, alarms, want)
			}
			for _, id := range alarms {
				// There without a topic as well, and then tells nobody.
				if r, ok := stack.Resources[id]; !ok || r.Properties["AlarmActions"] != nil {
					t.Errorf("%s: %s is there: %v, and tells %v", canary, id, ok, r.Properties["AlarmActions"])
				}
			}
		}
		for id, r := range stack.Resources {
			if strings.HasPrefix(r.Type, "AWS::CodeDeploy::") && canary == "false" || id == "CodeDeployServiceRole" || id == "RotateFunctionDeploymentGroup" {
				t.Errorf("%s: there is %s", canary, id)
			}
		}
		if _, ok := stack.Resources["CanaryRole"]; ok != (canary != "false") {
			t.Errorf("%s: there is CanaryRole: %v", canary, ok)
		}
	}
}
