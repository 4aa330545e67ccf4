package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/internal/members"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// portable is a record as it moves from store to store: all but what it is told by in its store. A handle that came along would
// be two records' at once, or one that the revocations speak of already.
type portable struct {
	plain
	Handle string `json:"handle,omitempty"`
	Untold bool   `json:"untold,omitempty"`
}

// Export is the record for another store's Import, in one line of JSON. The hashes of its secrets are in it, and so the client's
// secrets stay good; its handle is not.
func (r *Record) Export() ([]byte, error) {
	return members.Marshal(portable{plain: plain(*r)}, r.Later)
}

// ParseExport reads what Export wrote, strictly: a member that this release does not know may be one that restricts the client.
func ParseExport(data []byte) (*Record, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var p portable
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("it is no client's record: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is more than one JSON object")
	}
	switch {
	case p.Version != RecordVersion:
		return nil, fmt.Errorf("it has version %d, this release reads %d", p.Version, RecordVersion)
	case p.Handle != "" || p.Untold:
		return nil, errors.New("it has a handle, which is a store's own: it is not from latchkey client export")
	}
	r := Record(p.plain)
	r.Handle = newHandle() // Validate wants one
	if err := r.validateMoved(); err != nil {
		return nil, err
	}
	return &r, nil
}

// maxEpoch is more than any record gets to, and leaves room to grow.
const maxEpoch = 1 << 40

func newHandle() string { return token.NewID("c_") }

// validateMoved is Validate, and what only a record that was not made here can have wrong.
func (r *Record) validateMoved() error {
	if err := r.Validate(); err != nil {
		return err
	}
	switch {
	case len(r.Secrets) > MaxSecrets:
		return fmt.Errorf("there are more than %d secrets", MaxSecrets)
	case r.Epoch > maxEpoch || r.CreatedAt < 0 || r.UpdatedAt < 0:
		return errors.New("the epoch or a time is out of range")
	}
	for _, s := range r.Secrets {
		if len(s.SHA256) != sha256.Size || s.CreatedAt < 0 || s.ExpiresAt < 0 {
			return errors.New("the hash or the times of a secret are malformed")
		}
	}
	return nil
}

// Moved is what Import did with a record, or would do.
type Moved string

// What Import does.
const (
	MovedCreated  Moved = "created"
	MovedReplaced Moved = "replaced"
	MovedSame     Moved = "same"   // there is one that says the same
	MovedDiffers  Moved = "exists" // there is another one, which was left
)

// Import takes in a record that ParseExport has read. It never overwrites one of the same id unless replace is true, and with
// dry it writes nothing and says what it would do.
//
// A record that is new here has a handle of its own, as one that Create makes: tokens of a client that had the id before, here
// or elsewhere, are none of its tokens, and stay revoked. One that is replaced stays itself, as by Update: its epoch only grows,
// and it does where something is taken from it.
func (g *Registry) Import(ctx context.Context, moved *Record, replace, dry bool) (Moved, error) {
	stored, err := g.Store.Client(ctx, moved.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return g.importNew(ctx, moved, dry)
	case err != nil:
		return "", err
	case stored.says(moved, g.now()) && !(replace && stored.Untold): // which an import that broke off has left
		return MovedSame, nil
	case !replace:
		return MovedDiffers, nil
	case dry:
		return MovedReplaced, g.couldReplace(&stored.Record, moved)
	}
	_, err = g.Update(ctx, moved.ID, func(r *Record) error {
		epoch := r.Epoch
		*r = *moved.clone()
		r.Epoch = epoch
		return nil
	})
	return MovedReplaced, err
}

func (g *Registry) importNew(ctx context.Context, moved *Record, dry bool) (Moved, error) {
	if dry {
		return MovedCreated, nil
	}
	r := moved.clone()
	r.Handle, r.Untold, r.UpdatedAt = newHandle(), false, g.now().Unix()
	err := g.Store.CreateClient(ctx, r)
	if errors.Is(err, ErrExists) { // somebody was faster, or it is our own that was sent twice
		return MovedDiffers, nil
	}
	if err != nil {
		return "", err
	}
	g.changed(ctx, nil, r)
	return MovedCreated, nil
}

// couldReplace is the error that replacing would end with before anything is written.
func (g *Registry) couldReplace(stored, moved *Record) error {
	if g.CannotTell != nil && narrows(stored, moved) {
		return g.CannotTell
	}
	return nil
}

// says reports whether a stored record says the same as one that is to be taken in: all but what it is told by in its store,
// and when it was changed.
func (s *Stored) says(moved *Record, now time.Time) bool {
	a, b := s.Record.clone(), moved.clone()
	for _, r := range []*Record{a, b} {
		r.Handle, r.Untold, r.Epoch, r.CreatedAt, r.UpdatedAt = "", false, 0, 0, 0
		r.Secrets = slices.DeleteFunc(r.Secrets, func(s StoredSecret) bool { return !s.live(now) })
	}
	one, errOne := json.Marshal(a)
	other, errOther := json.Marshal(b)
	return errOne == nil && errOther == nil && bytes.Equal(one, other)
}
