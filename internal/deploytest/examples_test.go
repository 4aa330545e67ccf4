package deploytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/internal/routefile"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// attached is what counts of an API that another team puts behind the authorizer, in whichever language it is written.
type attached struct {
	Routes     []string // that the authorizer stands in front of
	Open       []string // that it does not
	Type       string   // of the authorizer
	URI        string
	Sources    []string
	TTL        string
	Simple     bool
	Responses  map[string]gatewayResponse // nil: HTTP APIs have none
	ForeignIAM int                        // permissions on the authorizer, which are not this stack's to give
}

type gatewayResponse struct {
	Status  string
	Headers map[string]string
	Body    map[string]string
}

const examplesURI = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${AuthorizerArn}/invocations"

var (
	examplesRoutes = []string{"GET /orders", "GET /orders/{id}", "POST /orders"}
	preflights     = []string{"OPTIONS /orders", "OPTIONS /orders/{id}"}
	onREST         = []string{"method.request.header.Authorization", "context.httpMethod", "context.path"}
)

func TestExamples(t *testing.T) {
	responses := ownResponses(t)
	rest := attached{
		Routes: examplesRoutes, Open: preflights, Type: "REQUEST", URI: examplesURI, Sources: onREST, TTL: "10", Responses: responses,
	}
	sam := func(t *testing.T, path string) attached { return fromOpenAPI(t, deploytest.LoadFile(t, path)) }
	plain := func(t *testing.T, path string) attached { return fromResources(t, deploytest.LoadFile(t, path)) }
	tests := []struct {
		path string
		read func(*testing.T, string) attached
		want attached
	}{
		{"examples/sam-rest/template.yaml", sam, rest},
		{"examples/cloudformation/template.yaml", plain, rest},
		{"examples/terraform/main.tf", fromTerraform, func() attached {
			a := rest
			a.Open = nil
			return a
		}()},
		{"examples/sam-http/template.yaml", sam, attached{
			Routes: examplesRoutes, Type: "REQUEST", URI: examplesURI, Simple: true, TTL: "10",
			Sources: []string{"$request.header.Authorization", "$context.routeKey"},
		}},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.read(t, test.path)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// With an example's identity sources and TTL, the authorizer lets in whom its rules let in, whatever it has answered before:
// each token asks each route twice, in an order in which every answer of the one meets the other's.
func TestExamplesLetIn(t *testing.T) {
	set := exampleRules(t)
	for _, path := range []string{"examples/sam-rest/template.yaml", "examples/sam-http/template.yaml"} {
		t.Run(path, func(t *testing.T) {
			a := fromOpenAPI(t, deploytest.LoadFile(t, path))
			auth, err := authorizer.New(authorizer.Config{Verifier: scopes{}, Routes: set, SimpleResponses: a.Simple, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ttl, err := strconv.Atoi(a.TTL)
			if err != nil {
				t.Fatal(err)
			}
			front := &gateway.Authorizer{Function: auth, Type: gateway.Request, Simple: a.Simple, IdentitySources: a.Sources, TTL: time.Duration(ttl) * time.Second}
			api := gateway.API{Kind: gateway.REST, Log: slog.New(slog.DiscardHandler)}
			if a.Responses == nil {
				api.Kind = gateway.HTTP
			}
			for _, route := range a.Routes {
				method, path, _ := strings.Cut(route, " ")
				api.Routes = append(api.Routes, gateway.Route{Method: method, Path: path, Authorizer: front, Function: lambdahttp.Handler(http.NotFoundHandler())})
			}
			g, err := gateway.New(api)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				for _, request := range []string{"GET /orders", "POST /orders", "GET /orders/1", "GET /orders/2"} {
					for _, scope := range []string{"orders.read", "orders.write", "orders.admin"} {
						method, path, _ := strings.Cut(request, " ")
						r := httptest.NewRequest(method, path, nil)
						r.Header.Set("Authorization", "Bearer "+scope)
						w := httptest.NewRecorder()
						g.ServeHTTP(w, r)
						want := http.StatusForbidden
						if scope == "orders.read" && method == "GET" || scope == "orders.write" && method == "POST" {
							want = http.StatusNotFound // the backend's answer
						}
						if w.Code != want {
							t.Errorf("%s with %s: %d, want %d", request, scope, w.Code, want)
						}
					}
				}
			}
		})
	}
}

// scopes verifies tokens that are their scope, with a dot for the colon.
type scopes struct{}

func (scopes) Verify(_ context.Context, raw string) (*token.Access, error) {
	scope, err := oauth.ParseScope(strings.ReplaceAll(raw, ".", ":"))
	if err != nil {
		return nil, err
	}
	return &token.Access{Grant: token.Grant{ClientID: "c", Subject: "c", GrantID: "g"}, ID: "j", Scope: scope, ExpiresAt: time.Now().Add(time.Hour)}, nil
}

// The rules name the examples' routes and no others, and are of the form for which the examples' caches are keyed.
func TestExampleRules(t *testing.T) {
	api := exampleRules(t).API("a1b2c3d4e5", "prod")
	if api == nil || api.Form != routes.FormRoute || api.Bound {
		t.Fatalf("the API is %+v", api)
	}
	var named []string
	for _, r := range api.Routes {
		named = append(named, r.Key())
	}
	slices.Sort(named)
	if !slices.Equal(named, examplesRoutes) {
		t.Errorf("the rules name %v, the examples %v", named, examplesRoutes)
	}
}

func exampleRules(t *testing.T) *routes.Set {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(t), "examples", "routes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := routefile.Parse("examples/routes.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if warnings := file.Warnings(); len(warnings) > 0 {
		t.Error(warnings)
	}
	return file.Set
}

// ownResponses are the gateway responses of our own template for the four outcomes that an authorizer brings about.
func ownResponses(t *testing.T) map[string]gatewayResponse {
	t.Helper()
	all := fromResources(t, deploytest.Load(t)).Responses
	maps.DeleteFunc(all, func(kind string, _ gatewayResponse) bool { return strings.HasPrefix(kind, "DEFAULT_") })
	if len(all) != 4 {
		t.Fatalf("template.yaml has gateway responses of the kinds %v", slices.Sorted(maps.Keys(all)))
	}
	return all
}

// fromResources reads a template that writes its REST API out, resource by resource.
func fromResources(t *testing.T, d *deploytest.Document) attached {
	t.Helper()
	a := attached{Responses: make(map[string]gatewayResponse), ForeignIAM: permissions(d)}
	stack, err := d.Deploy(nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, r := range stack.Resources {
		p := r.Properties
		switch r.Type {
		case "AWS::ApiGateway::Authorizer":
			a.Type, a.TTL = fmt.Sprint(p["Type"]), fmt.Sprint(p["AuthorizerResultTtlInSeconds"])
			a.URI = strings.ReplaceAll(deploytest.Render(p["AuthorizerUri"]), "arn:${AWS::Partition}", "arn:aws")
			a.Sources = strings.Split(fmt.Sprint(p["IdentitySource"]), ", ")
		case "AWS::ApiGateway::Method":
			path, err := d.Path(p["ResourceId"])
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
			a.add(fmt.Sprint(p["HttpMethod"], " ", path), p["AuthorizationType"] == "CUSTOM" && p["AuthorizerId"] != nil)
			integration, _ := p["Integration"].(map[string]any)
			if integration["Type"] == "HTTP_PROXY" {
				handsOn(t, id, integration["RequestParameters"])
			}
		case "AWS::ApiGateway::GatewayResponse":
			a.Responses[fmt.Sprint(p["ResponseType"])] = response(t, id, p["StatusCode"], p["ResponseParameters"], p["ResponseTemplates"])
		}
	}
	a.sort()
	return a
}

// fromOpenAPI reads a template whose API the SAM transform has made into an OpenAPI document.
func fromOpenAPI(t *testing.T, d *deploytest.Document) attached {
	t.Helper()
	a := attached{ForeignIAM: permissions(d)}
	body, _ := d.Resources["OrdersApi"].Properties["Body"].(map[string]any)
	if body == nil {
		t.Fatal("no API")
	}
	schemes, _ := body["securityDefinitions"].(map[string]any)
	if schemes == nil {
		schemes, _ = at(body, "components", "securitySchemes").(map[string]any)
	}
	if len(schemes) != 1 {
		t.Fatalf("%d security schemes", len(schemes))
	}
	authorizer := at(schemes["Latchkey"], "x-amazon-apigateway-authorizer")
	a.Type = strings.ToUpper(fmt.Sprint(at(authorizer, "type")))
	a.URI = deploytest.Render(at(authorizer, "authorizerUri"))
	a.TTL = fmt.Sprint(at(authorizer, "authorizerResultTtlInSeconds"))
	a.Simple = at(authorizer, "enableSimpleResponses") == true
	switch sources := at(authorizer, "identitySource").(type) {
	case string:
		a.Sources = strings.Split(sources, ", ")
	case []any:
		for _, source := range sources {
			a.Sources = append(a.Sources, fmt.Sprint(source))
		}
	}
	paths, _ := body["paths"].(map[string]any)
	for path, methods := range paths {
		for method, operation := range methods.(map[string]any) {
			a.add(strings.ToUpper(method)+" "+path, deploytest.Render(at(operation, "security")) == `[{"Latchkey":[]}]`)
		}
	}
	if responses, _ := body["x-amazon-apigateway-gateway-responses"].(map[string]any); responses != nil {
		a.Responses = make(map[string]gatewayResponse)
		for kind, r := range responses {
			a.Responses[kind] = response(t, kind, at(r, "statusCode"), at(r, "responseParameters"), at(r, "responseTemplates"))
		}
	}
	a.sort()
	return a
}

// fromTerraform reads a configuration of HCL. Its expressions are not evaluated: what they refer to is looked up by name.
func fromTerraform(t *testing.T, path string) attached {
	t.Helper()
	file := filepath.Join(testenv.Root(t), filepath.FromSlash(path))
	if text, err := os.ReadFile(file); err != nil || string(text) != string(hcl(t, "hclfmt", file)) {
		t.Errorf("%s is not as `terraform fmt` would have it (%v)", path, err)
	}
	var config map[string]any
	if err := json.Unmarshal(hcl(t, "hcl2json", file), &config); err != nil {
		t.Fatal(err)
	}
	resource := func(kind, name string) any { return first(at(config, "resource", kind, name)) }
	locals := first(config["locals"])

	authorizer := resource("aws_api_gateway_authorizer", "latchkey")
	a := attached{
		Type: fmt.Sprint(at(authorizer, "type")), TTL: fmt.Sprint(at(authorizer, "authorizer_result_ttl_in_seconds")),
		Sources:   strings.Split(fmt.Sprint(at(authorizer, "identity_source")), ", "),
		Responses: make(map[string]gatewayResponse),
	}
	a.URI = strings.NewReplacer("${data.aws_partition.current.partition}", "aws", "${data.aws_region.current.name}", "${AWS::Region}",
		"${var.authorizer_arn}", "${AuthorizerArn}").Replace(fmt.Sprint(at(authorizer, "authorizer_uri")))
	if at(config, "resource", "aws_lambda_permission") != nil {
		a.ForeignIAM++
	}

	method := resource("aws_api_gateway_method", "route")
	guarded := at(method, "authorization") == "CUSTOM" && at(method, "for_each") == "${local.routes}" &&
		at(method, "authorizer_id") == "${aws_api_gateway_authorizer.latchkey.id}"
	routes, _ := at(locals, "routes").(map[string]any)
	for _, r := range routes {
		a.add(fmt.Sprint(at(r, "method"), " ", at(r, "path")), guarded)
	}
	told := make(map[string]any)
	for name, value := range assignments(at(resource("aws_api_gateway_integration", "route"), "request_parameters")) {
		told[name] = value
	}
	handsOn(t, path, told)

	denial := resource("aws_api_gateway_gateway_response", "denial")
	if at(denial, "for_each") != "${local.denials}" || at(denial, "response_type") != "${each.key}" || at(denial, "status_code") != "${each.value.status}" ||
		deploytest.Render(at(denial, "response_templates")) != `{"application/json":"${jsonencode(each.value.body)}"}` {
		t.Errorf("the gateway responses are not those of local.denials: %s", deploytest.Render(denial))
	}
	// A merge with what all of them have, which is an expression.
	common := assignments(at(denial, "response_parameters"))
	denials, _ := at(locals, "denials").(map[string]any)
	for kind, d := range denials {
		if d == "${local.outage}" {
			d = at(locals, "outage")
		}
		headers, _ := at(d, "header").(map[string]any)
		all := make(map[string]any)
		for name, value := range common {
			all[name] = strings.ReplaceAll(value, "${var.cors_origin}", "${CorsOrigin}")
		}
		maps.Copy(all, headers)
		body, err := json.Marshal(at(d, "body"))
		if err != nil {
			t.Fatal(err)
		}
		a.Responses[kind] = response(t, kind, at(d, "status"), all, map[string]any{"application/json": string(body)})
	}
	a.sort()
	return a
}

// hcl runs one of the tools for HCL on a file, and returns what it prints.
func hcl(t *testing.T, tool, file string) []byte {
	t.Helper()
	if _, err := os.ReadFile(file); err != nil { // for Go's test cache
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/go.mod", tool, file)
	cmd.Dir = testenv.Root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return out
}

func (a *attached) add(route string, guarded bool) {
	if guarded {
		a.Routes = append(a.Routes, route)
	} else {
		a.Open = append(a.Open, route)
	}
}

func (a *attached) sort() {
	slices.Sort(a.Routes)
	slices.Sort(a.Open)
}

// permissions counts those on the function that is not the template's own.
func permissions(d *deploytest.Document) (n int) {
	for _, r := range d.Resources {
		if r.Type == "AWS::Lambda::Permission" && slices.Contains(deploytest.References(r.Properties["FunctionName"]), "AuthorizerArn") {
			n++
		}
	}
	return n
}

// response reads a gateway response, whose body is one of JSON.
func response(t *testing.T, id string, status, parameters, templates any) gatewayResponse {
	t.Helper()
	r := gatewayResponse{Headers: make(map[string]string)}
	if status != nil {
		r.Status = fmt.Sprint(status)
	}
	headers, _ := parameters.(map[string]any)
	for name, value := range headers {
		r.Headers[strings.TrimPrefix(name, "gatewayresponse.header.")] = deploytest.Render(value)
	}
	if text, _ := at(templates, "application/json").(string); text != "" {
		if err := json.Unmarshal([]byte(text), &r.Body); err != nil {
			t.Errorf("%s: the body %s: %v", id, text, err)
		}
	}
	return r
}

// handsOn sees that a backend which is no function is told of the caller.
func handsOn(t *testing.T, id string, parameters any) {
	t.Helper()
	for header, member := range map[string]string{
		"X-Latchkey-Client-Id": "client_id", "X-Latchkey-Sub": "sub", "X-Latchkey-Scope": "scope",
		"X-Latchkey-Grant-Id": "grant_id", "X-Latchkey-Jti": "jti", "X-Latchkey-Exp": "exp",
	} {
		if got := at(parameters, "integration.request.header."+header); got != "context.authorizer."+member {
			t.Errorf("%s: the header %s is %v", id, header, got)
		}
	}
}

// assignments finds the lines of an expression that set a name in quotes to a text.
func assignments(expression any) map[string]string {
	found := make(map[string]string)
	for line := range strings.Lines(fmt.Sprint(expression)) {
		if name, value, ok := strings.Cut(line, "="); ok {
			found[strings.Trim(strings.TrimSpace(name), `"`)] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return found
}

// first is the one element of a list.
func first(v any) any {
	if list, _ := v.([]any); len(list) == 1 {
		return list[0]
	}
	return nil
}
