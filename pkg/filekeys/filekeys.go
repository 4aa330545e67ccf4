// Package filekeys keeps private key documents in a file, for a laptop. Both rings are in the one file, which its owner alone
// may read:
//
//	access := filekeys.New(".latchkey/keys.json", keyring.UseAccess)
//	refresh := filekeys.New(".latchkey/keys.json", keyring.UseRefresh)
//
// The file is a JSON object with a member for each ring, "access" and "refresh", whose value is its document.
package filekeys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// maxSize bounds what is read, in bytes; a ring is a few kilobytes.
const maxSize = 1 << 20

// Vault is one ring in a file. It implements keyring.Vault and is safe for use by many goroutines and processes.
type Vault struct {
	path string
	use  keyring.Use
}

var _ keyring.Vault = (*Vault)(nil)

// New returns the vault for the ring of that use in the file of that path. It touches nothing.
func New(path string, use keyring.Use) *Vault { return &Vault{path: path, use: use} }

// Load reads the document; keyring.ErrNoKeys where there is no file, or none of this ring in it. A file that is damaged, or
// that others than its owner may read, is an error that names it and says what to do.
func (v *Vault) Load(ctx context.Context) (*keyring.Document, error) {
	d, _, err := v.Read(ctx)
	return d, err
}

// Read implements keyring.Vault. The revision is a hash of the document.
func (v *Vault) Read(context.Context) (d *keyring.Document, revision string, err error) {
	rings, err := v.read()
	if err != nil {
		return nil, "", err
	}
	content, ok := rings[v.use]
	if !ok {
		return nil, "", keyring.ErrNoKeys
	}
	d, err = keyring.ParseDocument(content, v.use)
	if errors.Is(err, keyring.ErrNoKeys) {
		err = fmt.Errorf("it has a ring of %s keys without a key", v.use) // and Create would find it in its way
	}
	if err != nil {
		return nil, "", fmt.Errorf("key file %s: %w", v.path, err)
	}
	return d, revisionOf(content), nil
}

// revisionOf is of a document's bytes, whatever white space is between them.
func revisionOf(content json.RawMessage) string {
	var compact bytes.Buffer
	if err := json.Compact(&compact, content); err != nil {
		return "" // of a document that does not parse either
	}
	sum := sha256.Sum256(compact.Bytes())
	return hex.EncodeToString(sum[:])
}

// read returns the file's rings, none where there is no file.
func (v *Vault) read() (map[keyring.Use]json.RawMessage, error) {
	f, err := os.Open(v.path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[keyring.Use]json.RawMessage{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("key file: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("key file %s: it is not a file", v.path)
	// Windows has no such permissions, and os makes some up.
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("key file %s: others may read or write it (mode %04o): if nobody has, run `chmod 600 %s`", v.path, info.Mode().Perm(), v.path)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("key file %s: it is larger than %d bytes", v.path, maxSize)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	var rings map[keyring.Use]json.RawMessage
	if err := json.Unmarshal(content, &rings); err != nil || rings == nil {
		return nil, fmt.Errorf("key file %s: it is damaged: not a JSON object", v.path) // the parser's text would show some of it
	}
	return rings, nil
}

// Create stores the document if there is none of this ring, else returns keyring.ErrKeysExist and leaves the file alone; of
// any number of calls at once, by any number of processes, one stores. The file is there whole or not at all, has mode
// 0600 and has reached the disk. A folder that is missing is made, with mode 0700.
func (v *Vault) Create(_ context.Context, d *keyring.Document) error {
	return v.store(d, func(old json.RawMessage) error {
		if old != nil {
			return keyring.ErrKeysExist
		}
		return nil
	})
}

// Replace implements keyring.Vault. It stores as Create does.
func (v *Vault) Replace(_ context.Context, d *keyring.Document, revision string) error {
	return v.store(d, func(old json.RawMessage) error {
		if old == nil || revisionOf(old) != revision {
			return keyring.ErrConflict
		}
		return nil
	})
}

// store stores the document unless mayStore, which is given the one in its place or nil, returns an error.
func (v *Vault) store(d *keyring.Document, mayStore func(old json.RawMessage) error) error {
	content, err := json.Marshal(d)
	if err != nil {
		return errors.New("the key document can't be written as JSON")
	}
	if _, err := keyring.ParseDocument(content, v.use); err != nil {
		return fmt.Errorf("not stored, for it could not be read again: %w", err)
	}
	dir := filepath.Dir(v.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	unlock, err := lock(v.path)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	defer unlock()
	rings, err := v.read()
	if err != nil {
		return err
	}
	if err := mayStore(rings[v.use]); err != nil {
		return err
	}
	rings[v.use] = content
	if content, err = json.MarshalIndent(rings, "", "  "); err != nil {
		return errors.New("the key file can't be written as JSON")
	}

	temp, err := write(dir, append(content, '\n'))
	if temp != "" {
		defer os.Remove(temp) // there is none any more once it is renamed
	}
	if err == nil {
		err = os.Rename(temp, v.path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	return nil
}

// write writes a new file into dir, readable by its owner alone, and returns its path.
func write(dir string, content []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, ".keys-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return f.Name(), errors.Join(err, f.Close())
}

// syncDir makes a new name in dir last.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // where a folder can't be synced
	}
	d, err := os.Open(dir) //nolint:gosec // the folder of the file that the vault is for
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
