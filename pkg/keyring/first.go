package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrKeysExist says that a document is there already.
	ErrKeysExist = errors.New("there are keys already")
	// ErrConflict says that a document was changed by someone else since it was read.
	ErrConflict = errors.New("the document was changed by someone else")
)

// Vault keeps the private document of one ring.
type Vault interface {
	// Load returns the document, or ErrNoKeys.
	Load(ctx context.Context) (*Document, error)
	// Create stores the document if there is none, else returns ErrKeysExist and changes nothing.
	Create(ctx context.Context, d *Document) error
	// Read is Load, and names the revision read, whether there is a document or it is ErrNoKeys.
	Read(ctx context.Context) (d *Document, revision string, err error)
	// Replace stores the document over that revision, of a document: ErrConflict if the stored one is another.
	Replace(ctx context.Context, d *Document, revision string) error
}

// PublicStore keeps the public document. Each write has a revision, one more than that before.
type PublicStore interface {
	// PublicKeys returns the document and its revision, or ErrNoKeys.
	PublicKeys(ctx context.Context) (*PublicDocument, int64, error)
	// PutPublicKeys writes over that revision, 0 meaning that there is none yet: ErrConflict if the stored one is another.
	PutPublicKeys(ctx context.Context, d *PublicDocument, revision int64) error
}

// First makes the first keys of a deployment, where there are none.
type First struct {
	Access, Refresh Vault
	Public          PublicStore
	// NewAccess and NewRefresh make a key that signs from the given time on.
	NewAccess, NewRefresh func(ctx context.Context, from time.Time) (Key, error)
	Now                   func() time.Time // nil: time.Now
}

// Made says what Make did.
type Made struct {
	Access, Refresh, Public bool
}

// Make makes what is missing and leaves what is there. The public document is derived from the private one at each run.
// It is safe to run twice, at once, or to die at any point and be run again: whichever document came first stands.
func (f *First) Make(ctx context.Context) (made Made, err error) {
	now := time.Now()
	if f.Now != nil {
		now = f.Now()
	}
	if made.Access, err = ensure(ctx, f.Access, UseAccess, f.NewAccess, now); err != nil {
		return made, fmt.Errorf("access keys: %w", err)
	}
	if made.Refresh, err = ensure(ctx, f.Refresh, UseRefresh, f.NewRefresh, now); err != nil {
		return made, fmt.Errorf("refresh keys: %w", err)
	}
	p := publisher{f.Access, f.Public, func() time.Time { return now }}
	if made.Public, err = p.publish(ctx, nil); err != nil {
		return made, fmt.Errorf("public keys: %w", err)
	}
	return made, nil
}

// ensure creates the vault's document if there is none.
func ensure(ctx context.Context, v Vault, use Use, newKey func(context.Context, time.Time) (Key, error), now time.Time) (created bool, err error) {
	_, err = v.Load(ctx)
	if !errors.Is(err, ErrNoKeys) {
		return false, err
	}
	key, err := newKey(ctx, now)
	if err != nil {
		return false, err
	}
	err = v.Create(ctx, &Document{Version: DocumentVersion, Use: use, Keys: []Key{key}})
	if errors.Is(err, ErrKeysExist) {
		return false, nil // somebody was faster: theirs count
	}
	return err == nil, err
}
