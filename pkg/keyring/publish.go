package keyring

import (
	"context"
	"errors"
	"slices"
	"time"
)

// publisher keeps the public document what the access ring's private one says.
type publisher struct {
	private Vault
	public  PublicStore
	now     func() time.Time
}

// publish writes the public document if it is not what the private one says, and reports whether it did.
//
// A key is published before it is committed to the private document, so the public one may be ahead: with the keys of next,
// which is about to be committed, and with keys that another run has published for keepPublished at most. Those are left,
// except the ones of the ids in never: keys that were given up.
func (p publisher) publish(ctx context.Context, next *Document, never ...string) (bool, error) {
	for range publishTries {
		// The public document's revision is read before the private document: if that changes after we read it, its
		// writer's public document comes after this revision too, and ours, which is the older, does not overwrite it.
		have, revision, err := p.public.PublicKeys(ctx)
		if errors.Is(err, ErrNoKeys) {
			have, revision = nil, 0
		} else if err != nil {
			return false, err
		}
		private, err := p.private.Load(ctx)
		if err != nil {
			return false, err
		}
		want, err := private.Public()
		if err != nil {
			return false, err
		}
		add := func(k PublicKey) {
			if !slices.ContainsFunc(want.Keys, func(w PublicKey) bool { return w.JWK.ID == k.JWK.ID }) {
				want.Keys = append(want.Keys, k)
			}
		}
		if next != nil {
			ahead, err := next.Public()
			if err != nil {
				return false, err
			}
			for _, k := range ahead.Keys {
				add(k)
			}
		}
		if have != nil {
			for _, k := range have.Keys {
				if k.Published+seconds(keepPublished) > p.now().Unix() && k.verifies(p.now()) && !slices.Contains(never, k.JWK.ID) {
					add(k)
				}
			}
		}
		if have != nil && have.Version == want.Version && slices.Equal(have.Keys, want.Keys) {
			return false, nil
		}
		err = p.public.PutPublicKeys(ctx, want, revision)
		if !errors.Is(err, ErrConflict) {
			return err == nil, err
		}
	}
	return false, ErrConflict
}

// publishTries bounds how often a document is fought over. Of any number of runs at once, one wins each round.
const publishTries = 20
