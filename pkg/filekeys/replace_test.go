package filekeys_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/filekeys"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	v := filekeys.New(path, keyring.UseRefresh)
	next := func(from ...keyring.Key) *keyring.Document {
		key, err := keyring.Generate(keyring.HS256, time.Unix(1_800_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		return &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseRefresh, Keys: append(from, key)}
	}
	if err := v.Replace(t.Context(), next(), ""); !errors.Is(err, keyring.ErrConflict) {
		t.Errorf("where there is none: %v", err)
	}
	if err := v.Create(t.Context(), next()); err != nil {
		t.Fatal(err)
	}
	// The other ring's changes are none of this one's.
	first, revision, err := v.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	access, err := keyring.Generate(keyring.ES256, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	other := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{access}}
	if err := filekeys.New(path, keyring.UseAccess).Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	second := next(first.Keys...)
	if err := v.Replace(t.Context(), second, revision); err != nil {
		t.Fatal(err)
	}
	if err := v.Replace(t.Context(), next(), revision); !errors.Is(err, keyring.ErrConflict) {
		t.Errorf("over an older one: %v", err)
	}
	if got, err := v.Load(t.Context()); err != nil || !got.Same(second) {
		t.Errorf("read %v, %v", got, err)
	}
}
