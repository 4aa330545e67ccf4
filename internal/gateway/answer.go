package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// answer is a function's, ready to be sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// wireAnswer is a proxy answer of either form.
type wireAnswer struct {
	StatusCode        *int                `json:"statusCode"`
	Headers           map[string]any      `json:"headers"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"` // REST
	Cookies           []string            `json:"cookies"`           // HTTP
	Body              *string             `json:"body"`
	IsBase64Encoded   bool                `json:"isBase64Encoded"`
}

// readAnswer fails for what API Gateway calls a malformed proxy response.
func (g *Gateway) readAnswer(req *request, out []byte) (*answer, error) {
	if len(out) > maxEvent {
		return nil, errors.New("the function's answer is larger than Lambda lets through")
	}
	var w wireAnswer
	d := json.NewDecoder(bytes.NewReader(out))
	d.UseNumber()
	if err := d.Decode(&w); err != nil || len(bytes.TrimSpace(out[d.InputOffset():])) > 0 {
		if g.api.Kind == HTTP && json.Valid(out) {
			return inferred(out), nil
		}
		return nil, errors.New("the function's answer is not a proxy answer")
	}
	if w.StatusCode == nil && g.api.Kind == HTTP {
		return inferred(out), nil
	}
	if w.StatusCode == nil || *w.StatusCode < 200 || *w.StatusCode > 599 {
		return nil, errors.New("the function's answer has no valid statusCode")
	}
	a := &answer{status: *w.StatusCode, header: http.Header{}}
	for _, name := range sortedNames(w.Headers) {
		switch v := w.Headers[name].(type) {
		case string, json.Number, bool:
			a.header.Set(name, fmt.Sprint(v))
		default:
			return nil, errors.New("the function's answer has a header that is not a string")
		}
	}
	if g.api.Kind == REST {
		multi := http.Header{} // wins over headers of the same name
		for _, name := range sortedNames(w.MultiValueHeaders) {
			for _, value := range w.MultiValueHeaders[name] {
				multi.Add(name, value)
			}
		}
		for name, values := range multi {
			a.header[name] = values
		}
	}
	for _, cookie := range w.Cookies {
		if g.api.Kind == HTTP {
			a.header.Add("Set-Cookie", cookie)
		}
	}
	if w.Body != nil {
		a.body = []byte(*w.Body)
		// A REST API decodes only what the client's Accept and the API's binary types agree on.
		if w.IsBase64Encoded && (g.api.Kind == HTTP || g.binary(firstAccepted(req.Header.Get("Accept")))) {
			decoded, err := base64.StdEncoding.DecodeString(*w.Body)
			if err != nil {
				return nil, errors.New("the function's answer has a body that is not base64")
			}
			a.body = decoded
		}
	}
	g.finish(a)
	return a, nil
}

// finish makes of the function's headers those that the client gets.
func (g *Gateway) finish(a *answer) {
	for _, name := range append([]string{"Content-Length"}, hopByHop...) {
		a.header.Del(name)
	}
	if g.api.Kind == HTTP && g.api.CORS != nil {
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				delete(a.header, name)
			}
		}
	}
	contentType := "text/plain;charset=UTF-8"
	if g.api.Kind == REST {
		contentType = "application/json"
		for _, name := range []string{"Www-Authenticate", "Authorization", "Date", "Server"} {
			if values, ok := a.header[name]; ok {
				a.header["X-Amzn-Remapped-"+name] = values
				delete(a.header, name)
			}
		}
	}
	if a.header.Get("Content-Type") == "" && len(a.body) > 0 {
		a.header.Set("Content-Type", contentType)
	}
}

// inferred is what an HTTP API makes of JSON without a status code.
func inferred(out []byte) *answer {
	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: out}
}

func firstAccepted(accept string) string {
	first, _, _ := strings.Cut(accept, ",")
	return strings.TrimSpace(first)
}

func (a *answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = slices.Clone(values)
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}
