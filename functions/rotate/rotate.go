package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/latchkey-auth/latchkey/internal/metrics"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// handler tells invocations apart by their events: a scheduler's, Secrets Manager's, an operator's, CloudFormation's.
type handler struct {
	rings  []*keys // access, then refresh
	stack  lambda.Handler
	log    *slog.Logger
	counts *metrics.Set
	now    func() time.Time
}

// event has the members by which the events differ.
type event struct {
	Rotate    string `json:"rotate"`    // a scheduler's: "due"
	Emergency string `json:"emergency"` // an operator's: "access", "refresh" or "all"

	Step               string // Secrets Manager's
	SecretId           string
	ClientRequestToken string

	RequestType *json.RawMessage // CloudFormation's
	ResponseURL *json.RawMessage

	Source string `json:"source"` // EventBridge's, where the schedule gives no event of its own
}

// Invoke implements lambda.Handler.
func (h *handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return h.stack.Invoke(ctx, payload) // a malformed request of CloudFormation's wants an answer too
	}
	switch {
	case e.RequestType != nil || e.ResponseURL != nil:
		return h.stack.Invoke(ctx, payload)
	case e.Step != "":
		return nil, h.step(ctx, e)
	case e.Emergency != "":
		return h.emergency(ctx, e.Emergency)
	case e.Rotate == "due" || e.Source == "aws.events" || e.Source == "aws.scheduler":
		return h.scheduled(ctx, payload)
	case bytes.Equal(bytes.TrimSpace(payload), []byte("{}")):
		return h.stack.Invoke(ctx, payload)
	}
	return nil, h.refuse(ctx, `the event is none that this function knows: {"rotate":"due"} rotates what is due, {"emergency":"all"} all at once`)
}

// refuse logs why an event is not taken, and returns it.
func (h *handler) refuse(ctx context.Context, cause string) error {
	h.log.WarnContext(ctx, "rotate.refused", "stream", oauth.StreamAudit, "error", "unknown_event", "cause", cause)
	return errors.New(cause)
}

// scheduled makes first keys where there are none, and rotates what is due. One ring's failure does not keep the other from it.
func (h *handler) scheduled(ctx context.Context, payload []byte) ([]byte, error) {
	if _, err := h.stack.Invoke(ctx, []byte("{}")); err != nil {
		return nil, err
	}
	return h.each(ctx, "keys.rotate", h.rings, func(ctx context.Context, k *keys) (keyring.Rotated, error) {
		done, err := k.rotator.Run(ctx, false)
		// Read anew, so that it is known too where Run fails: a key that grows old since nobody can replace it is what one wants
		// to be told of.
		if d, _, err := k.vault.Read(ctx); err == nil {
			for _, k := range d.In(keyring.StateSigning, h.now()) {
				h.counts.KeyAge(h.now().Sub(time.Unix(k.SignsFrom, 0)))
			}
		}
		return done, err
	})
}

// emergency ends what the rings signed. Refresh keys go first: with theirs, a thief makes access tokens by any access key.
func (h *handler) emergency(ctx context.Context, which string) ([]byte, error) {
	var rings []*keys
	for i := len(h.rings) - 1; i >= 0; i-- {
		if which == "all" || which == string(h.rings[i].use) {
			rings = append(rings, h.rings[i])
		}
	}
	if rings == nil {
		return nil, h.refuse(ctx, "emergency must be access, refresh or all")
	}
	return h.each(ctx, "keys.emergency", rings, func(ctx context.Context, k *keys) (keyring.Rotated, error) {
		return k.rotator.Emergency(ctx)
	})
}

// rotated is the answer to an invocation, a member a ring.
type rotated struct {
	Made      string   `json:"made,omitempty"` // the new key's id
	Dropped   []string `json:"dropped,omitempty"`
	Published bool     `json:"published"`
}

func (h *handler) each(ctx context.Context, what string, rings []*keys, do func(context.Context, *keys) (keyring.Rotated, error)) ([]byte, error) {
	answer := map[keyring.Use]rotated{}
	var errs []error
	for _, k := range rings {
		start := time.Now()
		done, err := do(ctx, k)
		line := []any{
			"ring", k.use, "made", done.Made, "dropped", done.Dropped, "published", done.Published,
			"latency_ms", time.Since(start).Milliseconds(),
		}
		if err != nil || done.Made != "" || done.Dropped != nil || done.Published {
			line = append(line, "stream", oauth.StreamAudit)
		}
		if err != nil {
			h.log.ErrorContext(ctx, what+"_failed", append(line, "cause", err.Error())...)
			errs = append(errs, fmt.Errorf("%s keys: %w", k.use, err))
			continue
		}
		h.log.InfoContext(ctx, what, line...)
		answer[k.use] = rotated(done)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}
