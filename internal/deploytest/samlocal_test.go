package deploytest_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
)

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
