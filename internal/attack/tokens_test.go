package attack

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// TestCorpus: each row can be told by its name, and there are as many as are spoken of.
func TestCorpus(t *testing.T) {
	for _, typ := range []string{token.TypeAccess, token.TypeRefresh} {
		names := map[string]bool{}
		for _, row := range Corpus(typ) {
			name := row.Class + ", " + row.Name
			if row.Class == "" || row.Name == "" || names[name] {
				t.Errorf("%s: %s: without a name, or there twice", typ, name)
			}
			names[name] = true
		}
		if len(names) < 1000 {
			t.Errorf("%s: %d rows", typ, len(names))
		}
		t.Logf("%s: %d rows", typ, len(names))
	}
}
