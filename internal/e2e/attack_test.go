package e2e

import (
	"testing"

	"github.com/latchkey-auth/latchkey/internal/attack"
)

// TestAttack sends some of package attack's requests to the built functions. All of them are sent to the same handlers in
// cmd/latchkey's tests, which also look at the store.
func TestAttack(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	w := &attack.World{Handler: d.front.Config.Handler, Clients: &d.clients, Users: &d.users}
	w.Register(t)
	t.Logf("%d requests", w.Sample(t, 10, "form", "http", "client", "grant", "scope", "refresh", "revoke", "introspect", "confidential", "feed", "log"))
	for name, f := range d.functions() {
		if what := w.Secrets.Find(f.Logs()); what != "" {
			t.Errorf("%s logs %s", name, what)
		}
	}
}
