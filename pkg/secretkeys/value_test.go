package secretkeys

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func TestValue(t *testing.T) {
	c := moto(t)
	text := "what Secrets Manager made up"
	for name, in := range map[string]*secretsmanager.CreateSecretInput{
		"text":   {SecretString: &text},
		"binary": {SecretBinary: []byte(text)},
	} {
		in.Name = &name
		if _, err := c.CreateSecret(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if got, err := Value(t.Context(), c, name); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	empty := "empty"
	if _, err := c.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &empty}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"absent", "empty"} {
		if got, err := Value(t.Context(), c, name); got != nil || !errors.Is(err, ErrNoSecret) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
