package filekeys_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/filekeys"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

func document(t *testing.T, use keyring.Use) *keyring.Document {
	t.Helper()
	alg := keyring.ES256
	if use == keyring.UseRefresh {
		alg = keyring.HS256
	}
	key, err := keyring.Generate(alg, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// files lists a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestCreateAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	path := filepath.Join(dir, "keys.json")
	for range 2 { // before and after the folder is there
		if _, err := filekeys.New(path, keyring.UseAccess).Load(t.Context()); !errors.Is(err, keyring.ErrNoKeys) {
			t.Fatalf("before Create: %v", err)
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := document(t, keyring.UseAccess)
	if err := filekeys.New(path, keyring.UseAccess).Create(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, path); got != 0o600 {
		t.Errorf("the file has mode %o", got)
	}
	if got := mode(t, dir); got != 0o700 {
		t.Errorf("the folder has mode %o", got)
	}
	refresh, wantRefresh := filekeys.New(path, keyring.UseRefresh), document(t, keyring.UseRefresh)
	if _, err := refresh.Load(t.Context()); !errors.Is(err, keyring.ErrNoKeys) {
		t.Errorf("the other ring, before Create: %v", err)
	}
	if err := refresh.Create(t.Context(), wantRefresh); err != nil {
		t.Error(err)
	}
	if got, err := refresh.Load(t.Context()); err != nil || !cmp.Equal(got, wantRefresh) {
		t.Errorf("the other ring: %v, %v", got, err)
	}
	for _, use := range []keyring.Use{keyring.UseAccess, keyring.UseRefresh} {
		if err := filekeys.New(path, use).Create(t.Context(), document(t, use)); !errors.Is(err, keyring.ErrKeysExist) {
			t.Errorf("Create of %s keys over others: %v", use, err)
		}
	}
	if got := mode(t, path); got != 0o600 {
		t.Errorf("the file has mode %o", got)
	}
	if got, err := filekeys.New(path, keyring.UseAccess).Load(t.Context()); err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if got := files(t, dir); got != "keys.json" {
		t.Errorf("left behind: %s", got)
	}
}

func TestRace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	uses := []keyring.Use{keyring.UseAccess, keyring.UseRefresh}
	winners := map[keyring.Use]*atomic.Pointer[keyring.Document]{keyring.UseAccess: {}, keyring.UseRefresh: {}}
	start := make(chan struct{})
	var racing sync.WaitGroup
	for i := range 16 {
		use := uses[i%2]
		mine := document(t, use)
		racing.Go(func() {
			<-start
			err := filekeys.New(path, use).Create(context.Background(), mine)
			if err == nil {
				if !winners[use].CompareAndSwap(nil, mine) {
					t.Errorf("two rings of %s keys were stored", use)
				}
			} else if !errors.Is(err, keyring.ErrKeysExist) {
				t.Error(err)
			}
			if _, err := filekeys.New(path, use).Load(context.Background()); err != nil {
				t.Errorf("Load after Create: %v", err)
			}
		})
	}
	close(start)
	racing.Wait()
	for _, use := range uses {
		got, err := filekeys.New(path, use).Load(t.Context())
		if err != nil || !cmp.Equal(got, winners[use].Load()) {
			t.Errorf("loaded %v, %v; the winner stored %v", got, err, winners[use].Load())
		}
	}
	if got := files(t, dir); got != "keys.json" {
		t.Errorf("left behind: %s", got)
	}
}

func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.json")
	if err := filekeys.New(good, keyring.UseAccess).Create(t.Context(), document(t, keyring.UseAccess)); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "text": "hunter2", "null": "null", "list": "[]", "no ring": `{"access":null}`, "not a ring": `{"access":"hunter2"}`,
		"no keys": `{"access":{"version":1,"use":"access","keys":[]}}`,
		"cut":     string(content[:len(content)/2]), "newer": strings.Replace(string(content), `"version": 1`, `"version": 2`, 1),
		"other ring": strings.Replace(string(content), `"use": "access"`, `"use": "refresh"`, 1), "large": strings.Repeat(" ", 2<<20),
	} {
		path := filepath.Join(dir, "bad.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := filekeys.New(path, keyring.UseAccess).Load(t.Context())
		if err == nil || errors.Is(err, keyring.ErrNoKeys) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "key file "+path+": ") || strings.ContainsAny(text, "\n") || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %q", name, text)
		}
		if err := filekeys.New(path, keyring.UseAccess).Create(t.Context(), document(t, keyring.UseAccess)); err == nil {
			t.Errorf("%s: Create wrote over it", name)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != content {
			t.Errorf("%s: Create changed it", name)
		}
	}
}

func TestFilesThatOthersMayReadAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	v := filekeys.New(path, keyring.UseAccess)
	if err := v.Create(t.Context(), document(t, keyring.UseAccess)); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o620, 0o601, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "`chmod 600 "+path+"`") {
			t.Errorf("%o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Load(t.Context()); err != nil {
		t.Errorf("0400: %v", err)
	}
}

func TestPlacesThatCantBeUsed(t *testing.T) {
	dir := t.TempDir()
	d := document(t, keyring.UseAccess)
	v := filekeys.New(dir, keyring.UseAccess)
	if _, err := v.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("Load of a folder: %v", err)
	}
	if err := v.Create(t.Context(), d); err == nil {
		t.Error("Create over a folder")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	under := filekeys.New(filepath.Join(file, "keys.json"), keyring.UseAccess)
	if _, err := under.Load(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Load below a file: %v", err)
	}
	if err := under.Create(t.Context(), d); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Create below a file: %v", err)
	}
	if err := filekeys.New(filepath.Join(dir, "k"), keyring.UseRefresh).Create(t.Context(), d); err == nil {
		t.Error("an access ring was stored as a refresh ring")
	}
	if got := files(t, dir); got != "file" {
		t.Errorf("left behind: %s", got)
	}
}
