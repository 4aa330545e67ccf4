package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/latchkey-auth/latchkey/pkg/filekeys"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// laptopKeys are both rings of a laptop, in one file.
type laptopKeys struct {
	access, refresh keyring.Vault
}

func openLaptopKeys(dir string) laptopKeys {
	path := filepath.Join(dir, keysFile)
	return laptopKeys{access: filekeys.New(path, keyring.UseAccess), refresh: filekeys.New(path, keyring.UseRefresh)}
}

// existingLaptopKeys says in its error what to do where there are none.
func existingLaptopKeys(dir string) (laptopKeys, error) {
	path := filepath.Join(dir, keysFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return laptopKeys{}, fmt.Errorf("%w (looked for %s)", keyring.ErrNoKeys, path)
	}
	return openLaptopKeys(dir), nil
}

// PublicKeys implements keyring.PublicStore: on a laptop the public halves can always be derived.
func (k laptopKeys) PublicKeys(ctx context.Context) (*keyring.PublicDocument, int64, error) {
	d, err := k.access.Load(ctx)
	if err != nil {
		return nil, 0, err
	}
	p, err := d.Public()
	return p, 1, err
}

// PutPublicKeys implements keyring.PublicStore. There is nothing to write.
func (k laptopKeys) PutPublicKeys(context.Context, *keyring.PublicDocument, int64) error { return nil }

// first makes the keys that are missing, and publishes the public halves.
func (a *app) first(ctx context.Context, k laptopKeys, public keyring.PublicStore, alg keyring.Algorithm) (keyring.Made, error) {
	f := keyring.First{
		Access: k.access, Refresh: k.refresh, Public: public,
		NewAccess: generator(alg), NewRefresh: generator(keyring.HS256), Now: a.now,
	}
	made, err := f.Make(ctx)
	if err != nil {
		return made, fmt.Errorf("%w (or move the file away to begin with new keys)", err)
	}
	return made, nil
}

// initLaptop is `latchkey keys init` on the laptop; `latchkey dev` publishes what it makes.
func (a *app) initLaptop(ctx context.Context, dir string, alg keyring.Algorithm) (keyring.Made, error) {
	if err := makeDir(dir); err != nil {
		return keyring.Made{}, err
	}
	k := openLaptopKeys(dir)
	return a.first(ctx, k, k, alg)
}
