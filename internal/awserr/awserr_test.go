package awserr_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/latchkey-auth/latchkey/internal/awserr"
	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// call returns the error of a call to KMS that is answered by answer.
func call(t *testing.T, ctx context.Context, answer http.HandlerFunc) error {
	t.Helper()
	server := httptest.NewServer(answer)
	defer server.Close()
	client := kms.NewFromConfig(testenv.AWSConfig(server.URL), func(o *kms.Options) {
		o.Retryer = aws.NopRetryer{}
		o.HTTPClient = &http.Client{Timeout: 200 * time.Millisecond}
	})
	_, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String("k")})
	if err == nil {
		t.Fatal("the call succeeded")
	}
	return awserr.Translate("KMS", err)
}

func TestServiceErrorsShowTheirCodeAlone(t *testing.T) {
	err := call(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized"}`))
	})
	const want = "KMS: the role or user in use is not allowed to do this (AccessDeniedException)"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestUnknownCode(t *testing.T) {
	err := call(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"SomethingNewException","message":"arn:aws:kms:eu-central-1:123456789012:key/k"}`))
	})
	if want := "KMS: SomethingNewException"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestNoAnswer(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the client has gone
		<-r.Context().Done()
	}
	if err := call(t, t.Context(), hang); err.Error() != "KMS: no answer in time" && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after a time-out: %q", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := call(t, ctx, hang); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancel: %q does not wrap context.Canceled", err)
	}

	cut := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	if err := call(t, t.Context(), cut); !strings.HasPrefix(err.Error(), "KMS: no answer") || strings.Contains(err.Error(), "http://") {
		t.Errorf("after a cut connection: %q", err)
	}
}

func TestNonsense(t *testing.T) {
	err := call(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`<html>arn:aws:kms:eu-central-1:123456789012:key/k</html>`))
	})
	if !strings.HasPrefix(err.Error(), "KMS: ") || strings.Contains(err.Error(), "arn:") {
		t.Errorf("got %q", err)
	}
}

func TestNil(t *testing.T) {
	if err := awserr.Translate("KMS", nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestDeniedIsTold(t *testing.T) {
	answer := func(code string) error {
		return call(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"__type":"` + code + `","message":"no"}`))
		})
	}
	for code, want := range map[string]bool{"AccessDeniedException": true, "AccessDenied": true, "NotFoundException": false} {
		if err := answer(code); errors.Is(err, awserr.ErrDenied) != want {
			t.Errorf("%s: %v is denied: %v", code, err, !want)
		}
	}
}
