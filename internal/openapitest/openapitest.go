// Package openapitest holds answers to the OpenAPI document: their status, headers, media type and body must be declared for
// their path and method. It is stricter than the document in one respect: a member that is not declared is a breach, though
// clients have to put up with it.
package openapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/latchkey-auth/latchkey/pkg/openapi"
)

// Issuer is the one in Document.
const Issuer = "https://auth.example.com"

// Document is the document as maps and slices. Don't change it.
func Document() map[string]any { return load().document }

// Breaches returns how an answer differs from what the document says of it; nothing of paths that it has not. HEAD is judged as
// GET without a body, and a method that is not declared by what is said of status 405.
func Breaches(method, path string, status int, header http.Header, body []byte) []string {
	d := load()
	item, found := d.at("paths", path)
	if !found {
		return nil
	}
	at := []string{"paths", path, strings.ToLower(method), "responses", strconv.Itoa(status)}
	if _, declared := item[at[2]]; !declared {
		for other := range item {
			at[2] = other // each path has one method
		}
		if method != http.MethodHead && status != http.StatusMethodNotAllowed {
			return []string{fmt.Sprintf("status %d to %s, which is not declared", status, method)}
		}
	}
	if _, found := d.at(at...); !found {
		return []string{fmt.Sprintf("status %d is not declared", status)}
	}
	at = d.resolve(at)
	breaches := d.headers(at, header)
	if method == http.MethodHead {
		return breaches
	}
	return append(breaches, d.body(at, header.Get("Content-Type"), body)...)
}

// Validate holds a value to the schema at a place in the document, such as ("components", "schemas", "Error").
func Validate(value any, at ...string) error {
	schema, err := load().schema(at)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

type document struct {
	document map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by place
}

var load = sync.OnceValue(func() *document {
	text, err := openapi.Document(Issuer)
	if err != nil {
		panic(err)
	}
	parse := func() map[string]any {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			panic(err)
		}
		return value.(map[string]any)
	}
	d := &document{document: parse(), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	closed := parse()
	(&closer{document: closed, seen: map[string]bool{}}).responses()
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(resource, closed); err != nil {
		panic(err)
	}
	return d
})

const resource = "https://auth.example.com/openapi.json"

// at returns the object at a place.
func (d *document) at(place ...string) (map[string]any, bool) { return object(d.document, place) }

func object(value any, place []string) (map[string]any, bool) {
	for _, name := range place {
		members, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = members[name]; !ok {
			return nil, false
		}
	}
	members, ok := value.(map[string]any)
	return members, ok
}

// resolve returns where the object at a place is, if that is a reference.
func (d *document) resolve(place []string) []string {
	members, _ := d.at(place...)
	if ref, ok := members["$ref"].(string); ok {
		return pointer(ref)
	}
	return place
}

func pointer(ref string) []string { return strings.Split(strings.TrimPrefix(ref, "#/"), "/") }

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func (d *document) schema(place []string) (*jsonschema.Schema, error) {
	at := ""
	for _, name := range place {
		at += "/" + escape.Replace(name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.schemas[at]; ok {
		return s, nil
	}
	s, err := d.compiler.Compile(resource + "#" + at)
	if err != nil {
		return nil, err
	}
	d.schemas[at] = s
	return s, nil
}

// telling are headers that tell something: one that is not declared is a breach.
var telling = []string{"WWW-Authenticate", "DPoP-Nonce", "Retry-After", "Allow", "Accept-Post", "ETag", "Location", "Set-Cookie"}

func (d *document) headers(at []string, header http.Header) (breaches []string) {
	declared, _ := d.at(append(at[:len(at):len(at)], "headers")...)
	for name := range declared {
		place := d.resolve(append(at[:len(at):len(at)], "headers", name))
		about, _ := d.at(place...)
		values := header.Values(name)
		if len(values) == 0 && about["required"] == true {
			breaches = append(breaches, "no header "+name)
		}
		schema, err := d.schema(append(place[:len(place):len(place)], "schema"))
		if err != nil {
			return append(breaches, err.Error())
		}
		numeric := schema.Types != nil && strings.Contains(schema.Types.String(), "integer")
		for _, text := range values {
			var value any = text
			if _, err := strconv.Atoi(text); err == nil && numeric {
				value = json.Number(text)
			}
			if err := schema.Validate(value); err != nil {
				breaches = append(breaches, fmt.Sprintf("%s: %q: %v", name, text, err))
			}
		}
	}
	for _, name := range telling {
		if _, ok := declared[name]; !ok && header.Get(name) != "" {
			breaches = append(breaches, "the header "+name+" is not declared")
		}
	}
	return breaches
}

func (d *document) body(at []string, contentType string, body []byte) []string {
	content, ok := d.at(append(at[:len(at):len(at)], "content")...)
	if !ok {
		if len(body) > 0 {
			return []string{fmt.Sprintf("a body where none is declared: %.200q", body)}
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(contentType)
	media, ok := content[kind].(map[string]any)
	if err != nil || !ok {
		return []string{fmt.Sprintf("Content-Type %q is not declared", contentType)}
	}
	if _, ok := media["schema"]; !ok || kind != "application/json" {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return []string{fmt.Sprintf("the body is no JSON: %v", err)}
	}
	schema, err := d.schema(append(at[:len(at):len(at)], "content", kind, "schema"))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		return []string{fmt.Sprintf("the body is not as declared: %v", err)}
	}
	return nil
}

// closer makes the schemas of answers refuse members that they don't name.
type closer struct {
	document map[string]any
	seen     map[string]bool // references
}

func (c *closer) responses() {
	var all []any
	paths, _ := object(c.document, []string{"paths"})
	for path := range paths {
		item, _ := object(paths, []string{path})
		for method := range item {
			responses, _ := object(item, []string{method, "responses"})
			for _, r := range responses {
				all = append(all, r)
			}
		}
	}
	components, _ := object(c.document, []string{"components", "responses"})
	for _, r := range components {
		all = append(all, r)
	}
	for _, r := range all {
		if media, ok := object(r, []string{"content", "application/json"}); ok {
			c.close(media["schema"])
		}
	}
}

func (c *closer) close(schema any) {
	s, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if ref, ok := s["$ref"].(string); ok && !c.seen[ref] {
		c.seen[ref] = true
		target, _ := object(c.document, pointer(ref))
		c.close(target)
	}
	if _, open := s["additionalProperties"]; s["type"] == "object" && !open {
		s["unevaluatedProperties"] = false
	}
	properties, _ := s["properties"].(map[string]any)
	for _, p := range properties {
		c.close(p)
	}
	c.close(s["items"])
	alternatives, _ := s["anyOf"].([]any)
	for _, a := range alternatives {
		c.close(a)
	}
}
