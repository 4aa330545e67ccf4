package gateway

import (
	"io"
	"net/http"
)

// ResponseType is a kind of answer of the gateway's own, by the exception that it names in X-Amzn-Errortype.
type ResponseType string

// The types that can be replaced, as GatewayResponse resources call them: UNAUTHORIZED, ACCESS_DENIED and
// AUTHORIZER_CONFIGURATION_ERROR, which stands for AUTHORIZER_FAILURE too.
const (
	Unauthorized                 ResponseType = "UnauthorizedException"
	AccessDenied                 ResponseType = "AccessDeniedException"
	AuthorizerConfigurationError ResponseType = "AuthorizerConfigurationException"
)

// Response is a REST API's own answer of a type: a gateway response, with static values.
type Response struct {
	Status int
	Header map[string]string
	Body   string // JSON
}

func (r Response) write(w http.ResponseWriter) {
	for name, value := range r.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(r.Status)
	_, _ = io.WriteString(w, r.Body+"\n")
}
