package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// step is one of the four of Secrets Manager's rotation. It calls each with the secret and the id of the version to come,
// in order, and again after a failure.
func (h *handler) step(ctx context.Context, e event) error {
	start := time.Now()
	err := h.takeStep(ctx, e)
	line := []any{"step", e.Step, "version", e.ClientRequestToken, "stream", oauth.StreamAudit, "latency_ms", time.Since(start).Milliseconds()}
	if err != nil {
		h.log.ErrorContext(ctx, "keys.step_failed", append(line, "cause", err.Error())...)
		return err
	}
	h.log.InfoContext(ctx, "keys.step", line...)
	return nil
}

func (h *handler) takeStep(ctx context.Context, e event) error {
	if e.ClientRequestToken == "" {
		return errors.New("no ClientRequestToken is given")
	}
	for _, k := range h.rings {
		if !k.vault.Is(e.SecretId) {
			continue
		}
		switch e.Step {
		case "createSecret":
			return k.create(ctx, e.ClientRequestToken)
		case "setSecret":
			return k.set(ctx, e.ClientRequestToken)
		case "testSecret":
			return k.test(ctx, e.ClientRequestToken, h.now())
		case "finishSecret":
			return k.finish(ctx, e.ClientRequestToken)
		}
		return errors.New("there is no such step")
	}
	return errors.New("the secret is not one of this deployment's")
}

// create has the version hold the document that is to be, unless it holds one already.
func (k *keys) create(ctx context.Context, version string) error {
	_, _, err := k.vault.Waiting(ctx, version)
	if !errors.Is(err, keyring.ErrNoKeys) {
		return err
	}
	next, err := k.rotator.Plan(ctx)
	if err != nil {
		return err
	}
	err = k.vault.Wait(ctx, next, version)
	if err != nil {
		// One version holds one document: another invocation was faster, perhaps.
		if _, _, again := k.vault.Waiting(ctx, version); again == nil {
			return nil
		}
	}
	return err
}

// waiting returns the document of the version, and that of now. next is nil once the rotation has ended.
func (k *keys) waiting(ctx context.Context, version string) (next, now *keyring.Document, revision string, err error) {
	if now, revision, err = k.vault.Read(ctx); err != nil || revision == version {
		return nil, now, revision, err
	}
	next, _, err = k.vault.Waiting(ctx, version)
	return next, now, revision, err
}

// stale says why the waiting document can't be taken into use any more, nil where it can: it was not made of the one in use, of
// which the keys may have been ended since, or it is too late.
func (k *keys) stale(next, now *keyring.Document, revision string) error {
	switch {
	case next.Same(now): // a copy that Secrets Manager made, or there was nothing to rotate
		return nil
	case next.Replaces != revision:
		return fmt.Errorf("the keys were changed since this rotation began, rotate again: %w", keyring.ErrConflict)
	case k.rotator.TooLate(next, now):
		return keyring.ErrTooLate
	}
	return nil
}

// giveUp ends a rotation that can't be finished: Secrets Manager would begin no other while its version is pending. What was
// published of it is published no longer.
func (k *keys) giveUp(ctx context.Context, version string, next, now *keyring.Document, why error) error {
	_, err := k.rotator.Publish(ctx, nil, keyring.OnlyIn(next, now)...)
	return errors.Join(why, err, k.vault.Abandon(ctx, version))
}

// set publishes the public halves of what is to be.
func (k *keys) set(ctx context.Context, version string) error {
	next, now, revision, err := k.waiting(ctx, version)
	if err != nil {
		return err
	}
	if next != nil {
		if err := k.stale(next, now, revision); err != nil {
			return k.giveUp(ctx, version, next, now, err)
		}
	}
	_, err = k.rotator.Publish(ctx, next)
	return err
}

// test has the keys sign and verify. Secrets Manager takes this step by itself too when a rotation is configured, with a
// version that it makes for the purpose and throws away, a copy of the one of now or without a value.
func (k *keys) test(ctx context.Context, version string, at time.Time) error {
	next, now, _, err := k.waiting(ctx, version)
	if errors.Is(err, keyring.ErrNoKeys) && now != nil || next == nil && err == nil {
		next, err = now, nil
	}
	if err != nil {
		return err
	}
	return keyring.Check(ctx, next, k.kms, at)
}

// finish takes the document into use, if it was made of the one that is in use. If not, or if it is too late, the rotation
// is given up.
func (k *keys) finish(ctx context.Context, version string) error {
	next, now, revision, err := k.waiting(ctx, version)
	if err != nil {
		return err
	}
	if next != nil {
		if err := k.stale(next, now, revision); err != nil {
			return k.giveUp(ctx, version, next, now, err)
		}
		// Another run may have taken the new key out again since.
		if _, err := k.rotator.Publish(ctx, next); err != nil {
			return err
		}
		err := k.vault.Finish(ctx, version, revision)
		if errors.Is(err, keyring.ErrConflict) {
			return k.giveUp(ctx, version, next, now, fmt.Errorf("the keys were changed since this rotation began, rotate again: %w", err))
		}
		if err != nil {
			return err
		}
	}
	_, err = k.rotator.Publish(ctx, nil)
	return err
}
