package lambdahttp

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// response is a whole answer, before it takes the event's form.
type response struct {
	status int
	header http.Header
	body   []byte
}

// answer is the answer in either form: 1.0 reads MultiValueHeaders, 2.0 the other two.
type answer struct {
	StatusCode        int                 `json:"statusCode"`
	Headers           map[string]string   `json:"headers,omitempty"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders,omitempty"`
	Cookies           []string            `json:"cookies,omitempty"`
	Body              string              `json:"body"`
	IsBase64Encoded   bool                `json:"isBase64Encoded"`
}

func (e *event) answer(res *response) *answer {
	a := &answer{StatusCode: res.status, Body: string(res.body)}
	if !isText(res) {
		a.Body, a.IsBase64Encoded = base64.StdEncoding.EncodeToString(res.body), true
	}
	if !e.v2() {
		a.MultiValueHeaders = res.header
		return a
	}
	a.Headers = make(map[string]string, len(res.header))
	for _, name := range slices.Sorted(maps.Keys(res.header)) {
		if name == "Set-Cookie" { // the one header that can't be joined (RFC 9110 §5.3)
			a.Cookies = res.header[name]
			continue
		}
		a.Headers[name] = strings.Join(res.header[name], ", ")
	}
	return a
}

// isText tells whether the body can travel in a JSON string as it is. An empty one can.
func isText(res *response) bool {
	if len(res.body) == 0 {
		return true
	}
	if res.header.Get("Content-Encoding") != "" || !utf8.Valid(res.body) {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(res.header.Get("Content-Type"))
	if err != nil {
		return false
	}
	switch {
	case strings.HasPrefix(mediaType, "text/"),
		strings.HasSuffix(mediaType, "+json"), strings.HasSuffix(mediaType, "+xml"):
		return true
	}
	switch mediaType {
	case "application/json", "application/xml", "application/javascript", "application/x-www-form-urlencoded":
		return true
	}
	return false
}

// responseWriter collects what a handler writes. It follows net/http's server in what counts: the first status wins,
// headers set after it are lost, and the content type is guessed where none is set.
type responseWriter struct {
	header http.Header
	status int         // 0 until WriteHeader
	sent   http.Header // header as it was at WriteHeader
	body   bytes.Buffer
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %d", status))
	}
	// Informational answers can't be sent ahead.
	if status < 200 || w.status != 0 {
		return
	}
	w.status = status
	w.sent = w.header.Clone()
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	return w.body.Write(p)
}

func (w *responseWriter) finish(method string) *response {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	res := &response{status: w.status, header: w.sent, body: w.body.Bytes()}
	_, typed := res.header["Content-Type"]
	if !typed && len(res.body) > 0 && res.header.Get("Content-Encoding") == "" {
		res.header.Set("Content-Type", http.DetectContentType(res.body))
	}
	if method == http.MethodHead {
		res.body = nil
	}
	return res
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}
