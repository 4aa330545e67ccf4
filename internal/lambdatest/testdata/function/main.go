// Command function is the Lambda function that lambdatest's own tests run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type handler struct {
	ticks, invocations *atomic.Int64
}

// state is what the function tells of itself.
type state struct {
	Ticks       int64 // of a background goroutine, one a millisecond while it runs
	Invocations int64
	Now         time.Time
	Deadline    time.Time
	PID         int
	Env         []string
	Dir         string
	RequestID   string
	ARN         string
	TraceID     string
}

func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	n := h.invocations.Add(1)
	switch op := strings.Trim(string(payload), `"`); op {
	case "state":
		deadline, _ := ctx.Deadline()
		lc, _ := lambdacontext.FromContext(ctx)
		traceID, _ := ctx.Value("x-amzn-trace-id").(string)
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		return json.Marshal(state{
			Ticks: h.ticks.Load(), Invocations: n, Now: time.Now(), Deadline: deadline, PID: os.Getpid(), Env: os.Environ(),
			Dir: dir, RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn, TraceID: traceID,
		})
	case "error":
		return nil, errors.New("it went wrong")
	case "panic":
		panic("it went very wrong")
	case "exit":
		os.Exit(3)
	case "hang":
		<-make(chan struct{})
	case "large":
		return []byte(`"` + strings.Repeat("x", 7<<20) + `"`), nil
	}
	fmt.Println("echoing")
	fmt.Fprintln(os.Stderr, "on both")
	return payload, nil
}

func main() {
	h := handler{new(atomic.Int64), new(atomic.Int64)}
	go func() {
		for range time.Tick(time.Millisecond) {
			h.ticks.Add(1)
		}
	}()
	lambda.Start(h)
}
