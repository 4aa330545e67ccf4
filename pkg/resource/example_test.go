package resource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/resource"
)

// A function behind any kind of API, as a net/http server.
func Example() {
	guard := &resource.Guard{Now: func() time.Time { return now }} // Now is for this example alone
	mux := http.NewServeMux()
	mux.Handle("GET /whoami", guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := resource.From(r.Context())
		fmt.Fprintf(w, "%s may %s", caller.Subject, strings.Join(caller.Scope, ", "))
	}), "orders:read"))
	handler := lambdahttp.Handler(mux) // lambda.Start(handler)

	event, err := os.ReadFile("../../events/whoami-http-v2.json")
	if err != nil {
		panic(err)
	}
	answer, err := handler.Invoke(context.Background(), event)
	if err != nil {
		panic(err)
	}
	var got struct {
		StatusCode int
		Body       string
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		panic(err)
	}
	fmt.Println(got.StatusCode, got.Body)
	// Output: 200 demo may orders:read, orders:write
}

// A function that takes aws-lambda-go's events, here a WebSocket API's.
func ExampleGuard_Authorizer() {
	guard := &resource.Guard{Now: func() time.Time { return now }} // Now is for this example alone
	handle := func(_ context.Context, event events.APIGatewayWebsocketProxyRequest) (events.APIGatewayProxyResponse, error) {
		values, _ := event.RequestContext.Authorizer.(map[string]any)
		caller, err := guard.Authorizer(values, "orders:write")
		var refusal *resource.Refusal
		if errors.As(err, &refusal) {
			return events.APIGatewayProxyResponse{StatusCode: refusal.Status, MultiValueHeaders: refusal.Header(), Body: string(refusal.Body())}, nil
		}
		return events.APIGatewayProxyResponse{StatusCode: 200, Body: "an order of " + caller.Subject + "'s"}, nil
	} // lambda.Start(handle)

	payload, err := os.ReadFile("testdata/websocket-message.json")
	if err != nil {
		panic(err)
	}
	var event events.APIGatewayWebsocketProxyRequest
	if err := json.Unmarshal(payload, &event); err != nil {
		panic(err)
	}
	answer, _ := handle(context.Background(), event)
	fmt.Println(answer.StatusCode, answer.Body)

	event.RequestContext.Authorizer = nil // the route lost its authorizer
	answer, _ = handle(context.Background(), event)
	fmt.Print(answer.StatusCode, " ", answer.Body)
	// Output:
	// 200 an order of demo's
	// 500 {"error":"server_error","error_description":"The server failed. The fault is not in the request."}
}
