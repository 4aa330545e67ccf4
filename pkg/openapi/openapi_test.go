package openapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/openapitest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/introspect"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/openapi"
	"github.com/latchkey-auth/latchkey/pkg/resource"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/whoami"
)

// at returns what is at a place in the document.
func at[T any](t *testing.T, place ...string) T {
	t.Helper()
	var value any = openapitest.Document()
	for _, name := range place {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	found, ok := value.(T)
	if !ok {
		t.Fatalf("%s is a %T", strings.Join(place, " / "), value)
	}
	return found
}

func schema(t *testing.T, name string, more ...string) map[string]any {
	t.Helper()
	return at[map[string]any](t, append([]string{"components", "schemas", name}, more...)...)
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

func texts(list any) (all []string) {
	for _, v := range list.([]any) {
		all = append(all, v.(string))
	}
	return all
}

// TestIssuer: it is the issuer's own document.
func TestIssuer(t *testing.T) {
	text, err := openapi.Document("https://id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		OpenAPI string
		Servers []struct{ URL string }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Servers) != 1 || d.Servers[0].URL != "https://id.example.org" || !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("version %s, servers %v", d.OpenAPI, d.Servers)
	}
	if strings.Contains(string(text), "auth.example.com") {
		t.Error("another issuer is named in it")
	}
	if text, err = openapi.Document(`https://"\`); err != nil || !json.Valid(text) {
		t.Errorf("an issuer that has to be escaped: %v", err)
	}
}

// TestValid has others judge whether it is OpenAPI.
func TestValid(t *testing.T) {
	t.Parallel()
	text, err := openapi.Document(openapitest.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Script(t, "openapi-spec-validator"), "--schema", "3.1", file)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("openapi-spec-validator: %v\n%s", err, said)
	}
}

// TestPaths: what the code serves is in the document, and nothing else.
func TestPaths(t *testing.T) {
	want := append(constants(t, "../oauth", "Path", ""), revocation.PathFeed, "/whoami")
	got := slices.Collect(maps.Keys(at[map[string]any](t, "paths")))
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Error(diff)
	}
}

// TestErrorCodes: the codes are the code's, and each is one that some answer declares.
func TestErrorCodes(t *testing.T) {
	endpoints := constants(t, "../oauth", "", "Code")
	apis := []string{resource.InvalidRequest, resource.InvalidToken, resource.InsufficientScope, resource.ServerError, resource.Unavailable}
	if diff := cmp.Diff(sorted(append(endpoints, apis...)), sorted(texts(schema(t, "ErrorCode")["enum"]))); diff != "" {
		t.Error(diff)
	}
	declared := map[string]bool{}
	var look func(any)
	look = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if properties, ok := v["properties"].(map[string]any); ok {
				about, _ := properties["error"].(map[string]any)
				if codes, ok := about["enum"]; ok {
					for _, code := range texts(codes) {
						declared[code] = true
					}
				}
			}
			for _, member := range v {
				look(member)
			}
		case []any:
			for _, member := range v {
				look(member)
			}
		}
	}
	look(openapitest.Document())
	if diff := cmp.Diff(sorted(texts(schema(t, "ErrorCode")["enum"])), slices.Sorted(maps.Keys(declared))); diff != "" {
		t.Errorf("in answers: %s", diff)
	}
}

// TestParameters: a form has the parameters that its endpoint's code looks at, and the hint that no code looks at.
func TestParameters(t *testing.T) {
	authentication := parameters(t, "../oauth")
	secret := []string{"client_id", "client_secret"}
	scoped := []string{"scope", "resource"}
	hinted := append([]string{"token_type_hint"}, secret...)
	for name, want := range map[string][]string{
		"ClientAuthentication":   authentication,
		"SecretAuthentication":   secret,
		"ClientCredentialsGrant": append(parameters(t, "../grant/clientcredentials", "../grant"), authentication...),
		"RefreshTokenGrant":      append(parameters(t, "../grant/refresh", "../grant"), authentication...),
		"PasswordGrant":          append(parameters(t, "../grant/password", "../grant"), authentication...),
		"JWTBearerGrant":         append(parameters(t, "../grant/jwtbearer", "../grant"), authentication...),
		"RefreshRequest":         append(parameters(t, "../grant/refresh", "../grant"), "client_id"),
		"RevocationRequest":      append(parameters(t, "../revoke"), hinted...),
		"IntrospectionRequest":   append(parameters(t, "../introspect"), hinted...),
	} {
		if diff := cmp.Diff(sorted(want), sorted(properties(t, name))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if strings.HasSuffix(name, "Grant") && !slices.Contains(want, scoped[0]) {
			t.Errorf("%s: of its code only %q is seen", name, want)
		}
	}
}

// properties are the names of a schema's properties, with those of the schemas that it is made of.
func properties(t *testing.T, name string) []string {
	s := schema(t, name)
	names := slices.Collect(maps.Keys(s["properties"].(map[string]any)))
	parts, _ := s["allOf"].([]any)
	for _, part := range parts {
		ref := part.(map[string]any)["$ref"].(string)
		names = append(names, properties(t, strings.TrimPrefix(ref, "#/components/schemas/"))...)
	}
	return names
}

// TestGrantTypes: each grant type of the code has a form, which has its name.
func TestGrantTypes(t *testing.T) {
	mapping := schema(t, "TokenRequest", "discriminator", "mapping")
	if diff := cmp.Diff(sorted(constants(t, "../oauth", "Grant", "")), slices.Sorted(maps.Keys(mapping))); diff != "" {
		t.Error(diff)
	}
	variants := schema(t, "TokenRequest")["oneOf"].([]any)
	for grantType, ref := range mapping {
		name := strings.TrimPrefix(ref.(string), "#/components/schemas/")
		if got := schema(t, name, "properties", "grant_type")["const"]; got != grantType {
			t.Errorf("%s has %v, want %s", name, got, grantType)
		}
		if !slices.ContainsFunc(variants, func(v any) bool { return v.(map[string]any)["$ref"] == ref }) || len(variants) != len(mapping) {
			t.Errorf("%s is not one of %v", ref, variants)
		}
	}
	assertionType := schema(t, "ClientAuthentication", "properties", "client_assertion_type")["const"]
	if assertionType != oauth.AssertionType {
		t.Errorf("client_assertion_type is %v", assertionType)
	}
}

// TestMembers: an answer has the members that its struct has; those that it may lack are not required.
func TestMembers(t *testing.T) {
	for name, answer := range map[string]any{
		"TokenResponse": oauth.TokenResponse{}, "IntrospectionResponse": introspect.Response{}, "Metadata": oauth.Metadata{},
		"JWKS": keyring.JWKS{}, "JWK": keyring.JWK{}, "RevocationPage": revocation.Page{}, "Caller": whoami.Answer{},
	} {
		members, required := tags(reflect.TypeOf(answer))
		if diff := cmp.Diff(members, sorted(properties(t, name))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if said := sorted(texts(schema(t, name)["required"])); name != "JWK" && !slices.Equal(required, said) {
			t.Errorf("%s: required are %q, want %q", name, said, required)
		}
	}
	members, _ := tags(reflect.TypeFor[oauth.MTLSAliases]())
	got := slices.Sorted(maps.Keys(schema(t, "Metadata", "properties", "mtls_endpoint_aliases", "properties")))
	if !slices.Equal(members, got) {
		t.Errorf("mtls_endpoint_aliases has %q, want %q", got, members)
	}
}

// tags are the names of a struct's members in JSON, sorted, and those that are always there.
func tags(of reflect.Type) (members, required []string) {
	for _, field := range reflect.VisibleFields(of) {
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		members = append(members, name)
		if option == "" {
			required = append(required, name)
		}
	}
	return sorted(members), sorted(required)
}

// TestExamples: each example is what its schema says.
func TestExamples(t *testing.T) {
	checked := 0
	check := func(value any, place ...string) {
		checked++
		if err := openapitest.Validate(value, place...); err != nil {
			t.Errorf("%s: %v", strings.Join(place, " / "), err)
		}
	}
	var look func(v any, place []string)
	look = func(v any, place []string) {
		members, ok := v.(map[string]any)
		if !ok {
			return
		}
		if _, ok := members["schema"]; ok {
			to := append(slices.Clone(place), "schema")
			if example, ok := members["example"]; ok {
				check(example, to...)
			}
			examples, _ := members["examples"].(map[string]any)
			for _, e := range examples {
				check(e.(map[string]any)["value"], to...)
			}
		}
		for name, member := range members {
			if name != "example" && name != "examples" {
				look(member, append(slices.Clone(place), name))
			}
		}
	}
	look(openapitest.Document(), nil)
	if checked < 30 {
		t.Errorf("%d examples", checked)
	}
}

// TestBreaches: what the document doesn't say is found.
func TestBreaches(t *testing.T) {
	answer := func(path string, status int, edits ...string) []string {
		h := http.Header{"Content-Type": {"application/json;charset=UTF-8"}, "Cache-Control": {"no-store"}, "Pragma": {"no-cache"}, "X-Content-Type-Options": {"nosniff"}}
		method, body := "POST", `{"access_token":"a.b.c","token_type":"Bearer","expires_in":900}`
		for _, edit := range edits {
			switch name, value, _ := strings.Cut(edit, ": "); name {
			case "method":
				method = value
			case "body":
				body = value
			default:
				h.Set(name, value)
				if value == "" {
					h.Del(name)
				}
			}
		}
		return openapitest.Breaches(method, path, status, h, []byte(body))
	}
	const refused = `body: {"error":"invalid_grant","error_description":"No."}`
	for name, found := range map[string][]string{
		"tokens":            answer(oauth.PathToken, 200),
		"with a nonce":      answer(oauth.PathToken, 200, "DPoP-Nonce: n"),
		"a refusal":         answer(oauth.PathToken, 400, refused),
		"to wait":           answer(oauth.PathRevoke, 429, "Retry-After: 2", `body: {"error":"temporarily_unavailable"}`),
		"API Gateway's own": answer(oauth.PathRevoke, 429, `body: {"message":"Too Many Requests"}`),
		"another path":      answer("/elsewhere", 200),
	} {
		if len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
	}
	for name, found := range map[string][]string{
		"another status":          answer(oauth.PathToken, 201),
		"a status of another":     answer(oauth.PathRefresh, 401, `body: {"error":"invalid_client"}`),
		"stored":                  answer(oauth.PathToken, 200, "Cache-Control: private"),
		"nothing on storing":      answer(oauth.PathToken, 200, "Cache-Control: "),
		"a redirection":           answer(oauth.PathToken, 200, "Location: /"),
		"HTML":                    answer(oauth.PathToken, 200, "Content-Type: text/html"),
		"no JSON":                 answer(oauth.PathToken, 200, "body: tokens"),
		"another type":            answer(oauth.PathToken, 200, `body: {"access_token":"a.b.c","token_type":"MAC","expires_in":900}`),
		"a member more":           answer(oauth.PathToken, 200, `body: {"access_token":"a.b.c","token_type":"Bearer","expires_in":900,"id_token":"a.b.c"}`),
		"a member less":           answer(oauth.PathToken, 200, `body: {"access_token":"a.b.c","token_type":"Bearer"}`),
		"a text for a number":     answer(oauth.PathToken, 200, `body: {"access_token":"a.b.c","token_type":"Bearer","expires_in":"900"}`),
		"a code of another":       answer(oauth.PathRevoke, 400, refused),
		"a code that is none":     answer(oauth.PathToken, 400, `body: {"error":"oops"}`),
		"a member of an error":    answer(oauth.PathToken, 400, `body: {"error":"invalid_grant","trace":"x"}`),
		"no number of seconds":    answer(oauth.PathToken, 503, "Retry-After: soon", `body: {"error":"temporarily_unavailable"}`),
		"no Allow":                answer(oauth.PathToken, 405, "method: GET", `body: {"error":"invalid_request"}`),
		"a method that is no one": answer(oauth.PathToken, 200, "method: GET"),
	} {
		if len(found) == 0 {
			t.Errorf("%s: found nothing", name)
		}
	}
}
