package routes

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

func TestDependencies(t *testing.T) {
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"go.yaml.in/...": "the authorizer reads what was compiled, and has no parser of what people write",
			"net/http":       "rules are data",
			"os/exec":        "rules are data",
			"regexp":         "it makes the authorizer larger, and its start longer",
			"text/template":  "it keeps the linker from dropping unused methods",
			"github.com/latchkey-auth/latchkey/internal/routefile": "it depends on this package",
		},
		Expected: []string{"github.com/latchkey-auth/latchkey/internal/strictjson"},
	})
}
