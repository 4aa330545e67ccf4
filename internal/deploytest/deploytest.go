// Package deploytest reads template.yaml the way CloudFormation will: through the SAM transform, with parameters,
// conditions and rules worked out. Its tests hold the template to what it promises; other tests ask it for the routes:
//
//	want := deploytest.Routes(t) // "ANY /.well-known/jwks.json", …, "GET /whoami"
package deploytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// Document is the template as the SAM transform leaves it: plain CloudFormation, nothing resolved yet.
type Document struct {
	Metadata   map[string]any
	Parameters map[string]Parameter
	Conditions map[string]any
	Rules      map[string]Rule
	Resources  map[string]Resource
	Outputs    map[string]Output

	// Source holds the resources as the file has them, before the transform, and Order their logical ids in its order.
	Source map[string]Resource
	Order  []string
	// CodeURI is where `sam build` runs make for every function.
	CodeURI any
}

// Parameter is one of the template's parameters. Default is a string or a number.
type Parameter struct {
	Type                  string
	Default               any
	Description           string
	AllowedValues         []any
	AllowedPattern        string
	ConstraintDescription string
	MinValue, MaxValue    *float64
}

// Rule is what CloudFormation checks of the parameters before it touches a resource.
type Rule struct {
	RuleCondition any
	Assertions    []struct {
		Assert            any
		AssertDescription string
	}
}

// Resource is one resource of the template.
type Resource struct {
	Type                string
	Condition           string
	DependsOn           Names
	DeletionPolicy      string
	UpdateReplacePolicy string
	UpdatePolicy        map[string]any
	Metadata            map[string]any
	Properties          map[string]any
}

// Output is one output of the stack.
type Output struct {
	Condition   string
	Description string
	Value       any
	Export      struct{ Name any }
}

// Names is a list of logical ids; a single one may stand in the template without a list around it.
type Names []string

// UnmarshalJSON reads a string or a list of strings.
func (n *Names) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*n = Names{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(n))
}

var translated struct {
	sync.Mutex
	answers map[[2]string][]byte // by path and CanaryShift, "" where Canary is off
}

// Load translates template.yaml. The translation is made once a process; each call returns a Document of its own.
func Load(tb testing.TB) *Document {
	tb.Helper()
	return LoadFile(tb, "template.yaml")
}

// LoadFile does the same with another template, by its path from the repository's root.
func LoadFile(tb testing.TB, path string) *Document {
	tb.Helper()
	return load(tb, path, "")
}

// LoadCanary translates template.yaml with the parameter Canary on, and a value of CanaryShift: the two that the transform itself
// works out.
func LoadCanary(tb testing.TB, shift string) *Document {
	tb.Helper()
	return load(tb, "template.yaml", shift)
}

func load(tb testing.TB, path, shift string) *Document {
	tb.Helper()
	translated.Lock()
	defer translated.Unlock()
	if translated.answers == nil {
		translated.answers = make(map[[2]string][]byte)
	}
	key := [2]string{path, shift}
	if translated.answers[key] == nil {
		translated.answers[key] = translate(tb, path, shift)
	}
	var answer struct {
		Source struct {
			Globals   struct{ Function struct{ CodeUri any } }
			Resources map[string]Resource
		} `json:"source"`
		Translated *Document `json:"translated"`
		Order      []string  `json:"order"`
	}
	if err := json.Unmarshal(translated.answers[key], &answer); err != nil {
		tb.Fatalf("the translated %s: %v", path, err)
	}
	answer.Translated.Source = answer.Source.Resources
	answer.Translated.Order = answer.Order
	answer.Translated.CodeURI = answer.Source.Globals.Function.CodeUri
	return answer.Translated
}

// Translated returns the text of what the transform makes of template.yaml with Canary on: CloudFormation, in JSON.
func Translated(tb testing.TB, shift string) []byte {
	tb.Helper()
	LoadCanary(tb, shift)
	translated.Lock()
	defer translated.Unlock()
	var answer struct {
		Translated json.RawMessage `json:"translated"`
	}
	if err := json.Unmarshal(translated.answers[[2]string{"template.yaml", shift}], &answer); err != nil {
		tb.Fatal(err)
	}
	return answer.Translated
}

func translate(tb testing.TB, path, shift string) []byte {
	tb.Helper()
	root := testenv.Root(tb)
	script := filepath.Join(root, "internal", "deploytest", "translate.py")
	// Read here and not by the script alone, so that Go's test cache knows that the tests depend on both.
	template, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.ReadFile(script); err != nil {
		tb.Fatal(err)
	}
	var stderr bytes.Buffer
	parameters := "{}"
	if shift != "" {
		parameters = fmt.Sprintf(`{"Canary": "true", "CanaryShift": %q}`, shift)
	}
	cmd := exec.CommandContext(tb.Context(), testenv.Python(tb), script, parameters)
	cmd.Stdin = bytes.NewReader(template)
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		tb.Fatalf("the SAM transform refuses %s: %v\n%s", path, err, stderr.Bytes())
	}
	return answer
}

// Routes returns what the template's two APIs hand to functions, as "METHOD /path", sorted. A browser's preflight, which
// API Gateway answers by itself, is none of them.
func Routes(tb testing.TB) []string {
	tb.Helper()
	routes, err := Load(tb).Routes()
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Sorted(maps.Keys(routes))
}

// integrationURI is how API Gateway calls a function, by its alias. `sam local` finds the function in this form, and finds none in
// ${Function.Alias}; where it finds no authorizer, it lets everybody through.
var integrationURI = regexp.MustCompile(`^arn:\$\{AWS::Partition\}:apigateway:\$\{AWS::Region\}:lambda:path/2015-03-31/functions/\$\{(\w+)\.Arn\}:live/invocations$`)

// Invoked returns the logical id of the function that an integration's or an authorizer's URI calls by its alias.
func (d *Document) Invoked(uri any) (string, error) {
	sub, _ := uri.(map[string]any)
	text, _ := sub["Fn::Sub"].(string)
	match := integrationURI.FindStringSubmatch(text)
	if match == nil {
		return "", fmt.Errorf("%s is not a URI that calls a function", Render(uri))
	}
	return d.Aliased(match[1] + "Aliaslive")
}

// Aliased returns the logical id of the function whose alias has that one.
func (d *Document) Aliased(alias string) (string, error) {
	r := d.Resources[alias]
	name, id := function(r.Properties["FunctionName"])
	text, _ := id.(string)
	if r.Type != "AWS::Lambda::Alias" || name != "Ref" || d.Resources[text].Type != "AWS::Lambda::Function" {
		return "", fmt.Errorf("%s is not an alias of a function", alias)
	}
	return text, nil
}

// Routes returns, for each "METHOD /path" of the two APIs that a function answers, the logical id of that function.
func (d *Document) Routes() (map[string]string, error) {
	routes := make(map[string]string)
	add := func(id, route string, uri any) error {
		function, err := d.Invoked(uri)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if other, ok := routes[route]; ok {
			return fmt.Errorf("%s: %s goes to %s already", id, route, other)
		}
		routes[route] = function
		return nil
	}
	for id, r := range d.Resources {
		switch r.Type {
		case "AWS::ApiGatewayV2::Route":
			target, _ := r.Properties["Target"].(map[string]any)
			text, _ := target["Fn::Sub"].(string)
			name := strings.TrimSuffix(strings.TrimPrefix(text, "integrations/${"), "}")
			integration, ok := d.Resources[name]
			if !ok || integration.Type != "AWS::ApiGatewayV2::Integration" {
				return nil, fmt.Errorf("%s: no integration %q", id, text)
			}
			route, _ := r.Properties["RouteKey"].(string)
			if err := add(id, route, integration.Properties["IntegrationUri"]); err != nil {
				return nil, err
			}
		case "AWS::ApiGateway::Method":
			integration, _ := r.Properties["Integration"].(map[string]any)
			if integration["Type"] == "MOCK" {
				continue
			}
			path, err := d.Path(r.Properties["ResourceId"])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
			if err := add(id, fmt.Sprint(r.Properties["HttpMethod"], " ", path), integration["Uri"]); err != nil {
				return nil, err
			}
		}
	}
	return routes, nil
}

// Path returns the path of a REST resource that a method refers to, by way of its parents.
func (d *Document) Path(resource any) (string, error) {
	var parts []string
	for range len(d.Resources) {
		text := Render(resource)
		if strings.HasSuffix(text, ".RootResourceId}") {
			return "/" + strings.Join(parts, "/"), nil
		}
		r, ok := d.Resources[strings.Trim(text, "${}")]
		if !ok || r.Type != "AWS::ApiGateway::Resource" {
			return "", fmt.Errorf("no REST resource %s", text)
		}
		part, _ := r.Properties["PathPart"].(string)
		parts = slices.Insert(parts, 0, part)
		resource = r.Properties["ParentId"]
	}
	return "", fmt.Errorf("REST resources that are each other's parents")
}
