package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// moving is a registry on a file, and a record that is in no store.
func moving(t *testing.T) (*client.Registry, *boltstore.Store, *client.Record) {
	t.Helper()
	store, err := boltstore.Open(t.TempDir() + "/store.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	clock := new(clocktest.Clock)
	reg := &client.Registry{Store: store, Revocations: store, Now: clock.Now}
	r, _, err := reg.Create(t.Context(), client.Spec{ID: "shop", Scopes: oauth.Scope{"a", "b"}, Audiences: []string{"https://api.example.com"}, SecretLifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	line, err := r.Export()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line), r.Handle) || strings.Contains(string(line), "untold") {
		t.Errorf("exported %s", line)
	}
	moved, err := client.ParseExport(line)
	if err != nil {
		t.Fatal(err)
	}
	if moved.Handle == r.Handle || moved.Handle == "" {
		t.Errorf("the handle %s came along", moved.Handle)
	}
	return reg, store, moved
}

func TestImport(t *testing.T) {
	reg, _, moved := moving(t)
	changes := 0
	reg.Changed = func(context.Context, *client.Record, *client.Record) { changes++ }
	imports := func(replace, dry bool, want client.Moved, wantChanges int) {
		t.Helper()
		changes = 0
		if got, err := reg.Import(t.Context(), moved, replace, dry); err != nil || got != want || changes != wantChanges {
			t.Errorf("got %s (%v) and %d changes, want %s and %d", got, err, changes, want, wantChanges)
		}
	}
	imports(false, false, client.MovedSame, 0)
	imports(true, false, client.MovedSame, 0)
	before, err := reg.Get(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	// Wider: replaced without ending anything.
	moved.Scopes = append(moved.Scopes, "c")
	imports(false, false, client.MovedDiffers, 0)
	imports(true, true, client.MovedReplaced, 0)
	imports(true, false, client.MovedReplaced, 1)
	imports(true, false, client.MovedSame, 0)
	after, err := reg.Get(t.Context(), "shop")
	if err != nil || after.Epoch != before.Epoch || after.Handle != before.Handle || after.CreatedAt != before.CreatedAt {
		t.Errorf("replaced, it is %+v (%v)", after, err)
	}
	// An epoch from elsewhere neither moves it back nor forward.
	moved.Epoch = 77
	imports(true, false, client.MovedSame, 0)
	// New, it has that epoch, and a handle that the file has not.
	moved.ID = "shop-two"
	imports(false, true, client.MovedCreated, 0)
	imports(false, false, client.MovedCreated, 1)
	two, err := reg.Get(t.Context(), "shop-two")
	if err != nil || two.Epoch != 77 || two.Handle == moved.Handle || two.Handle == after.Handle {
		t.Errorf("created, it is %+v (%v)", two, err)
	}
}

// Where revocations can't be told, what would need that is refused, by a dry run too.
func TestImportThatCannotTell(t *testing.T) {
	reg, _, moved := moving(t)
	reg.Revocations, reg.CannotTell = nil, errors.New("no table")
	moved.Scopes = oauth.Scope{"a"}
	for _, dry := range []bool{true, false} {
		if _, err := reg.Import(t.Context(), moved, true, dry); !errors.Is(err, reg.CannotTell) {
			t.Errorf("dry %v: %v", dry, err)
		}
	}
	moved.Scopes = oauth.Scope{"a", "b", "c"}
	if got, err := reg.Import(t.Context(), moved, true, false); got != client.MovedReplaced || err != nil {
		t.Errorf("%s %v", got, err)
	}
}

// refusing is a log that takes nothing.
type refusing struct{}

func (refusing) Append(context.Context, revocation.Entry) error { return errors.New("down") }

// An import that broke off before the revocations were told is made whole by the same import.
func TestImportThatBrokeOff(t *testing.T) {
	reg, store, moved := moving(t)
	moved.Scopes = oauth.Scope{"a"}
	reg.Revocations = refusing{}
	if got, err := reg.Import(t.Context(), moved, true, false); got != client.MovedReplaced || !errors.Is(err, client.ErrUntold) {
		t.Fatalf("%s %v", got, err)
	}
	reg.Revocations = store
	for _, want := range []client.Moved{client.MovedReplaced, client.MovedSame} {
		if got, err := reg.Import(t.Context(), moved, true, false); got != want || err != nil {
			t.Errorf("%s %v, want %s", got, err, want)
		}
		r, err := reg.Get(t.Context(), "shop")
		if err != nil || r.Untold || r.Epoch != 2 {
			t.Errorf("it is %+v (%v)", r, err)
		}
	}
	told := 0
	err := store.Entries(t.Context(), time.Time{}, time.Time{}, func(revocation.Entry) bool { told++; return true })
	if err != nil || told != 1 {
		t.Errorf("told %d times (%v)", told, err)
	}
}

func TestParseExportRefuses(t *testing.T) {
	_, _, moved := moving(t)
	good, err := moved.Export()
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"version":1`, `"version":2`},
		{`{`, `{"only_from":"10.0.0.0/8",`},
		{`{`, `{"handle":"c_1",`},
		{`{`, `{"untold":true,`},
		{`"epoch":1`, `"epoch":0`},
		{`"epoch":1`, `"epoch":9223372036854775807`},
		{`"created_at":1767225600,"updated_at"`, `"created_at":-1,"updated_at"`},
		{`"scopes":"a b"`, `"scopes":"a\\b"`},
		{`"sha256":"`, `"sha256":"AAAA`},
		{`"expires_at":1767229200}`, `"expires_at":-1}`},
		{`"secrets":[`, `"secrets":[{"sha256":"","created_at":1},`},
		{`}`, `}}`},
	} {
		bad := strings.Replace(string(good), change[0], change[1], 1)
		if bad == string(good) {
			t.Fatalf("%s has no %s", good, change[0])
		}
		if r, err := client.ParseExport([]byte(bad)); err == nil {
			t.Errorf("%s is taken: %+v", bad, r)
		}
	}
	for _, bad := range []string{"", "null", "[]", "{}", string(good) + string(good)} {
		if _, err := client.ParseExport([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
