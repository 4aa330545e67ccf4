package keyring_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// published is a public document that is counted, and away when told to be.
type published struct {
	document *keyring.PublicDocument
	failure  error
	reads    int
}

func (p *published) PublicKeys(context.Context) (*keyring.PublicDocument, int64, error) {
	p.reads++
	return p.document, 1, p.failure
}

func TestPublicSource(t *testing.T) {
	var clock clocktest.Clock
	d := document(keyring.UseAccess, generated()[keyring.ES256], generated()[keyring.RS256])
	d.Keys[1].VerifyUntil = clock.Now().Add(time.Hour).Unix()
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	place := &published{document: public}
	s := keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: place, Now: clock.Now, Log: quiet})
	verifies := func(what, kid string, want error, reads int) keyring.VerificationKey {
		t.Helper()
		key, err := s.VerificationKey(ctx, kid)
		if !errors.Is(err, want) || place.reads != reads {
			t.Errorf("%s: %v, want %v; %d reads, want %d", what, err, want, place.reads, reads)
		}
		return key
	}
	key := verifies("first", d.Keys[0].ID, nil, 1)
	signer, err := newSource(t, d).SigningKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign(ctx, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if signer.ID != key.ID {
		key = verifies("the other", signer.ID, nil, 1)
	}
	if err := key.Verify("text", signature); err != nil {
		t.Errorf("what the private half signs does not verify: %v", err)
	}
	verifies("within ten seconds, no such key", "nobody", keyring.ErrUnknownKey, 1)
	clock.Move(10 * time.Second)
	verifies("no such key", "nobody", keyring.ErrUnknownKey, 2)
	clock.Move(keyring.ReloadInterval)
	verifies("when it is time", d.Keys[0].ID, nil, 3)
	place.failure = errors.New("away")
	clock.Move(keyring.ReloadInterval)
	verifies("on the copy in hand", d.Keys[0].ID, nil, 4)
	clock.Move(time.Hour)
	verifies("when the copy is too old", d.Keys[0].ID, place.failure, 5)
	place.failure = nil
	clock.Move(10 * time.Second)
	verifies("recovered", d.Keys[0].ID, nil, 6)
	verifies("a retired key", d.Keys[1].ID, keyring.ErrUnknownKey, 6)

	place.document = &keyring.PublicDocument{Version: keyring.DocumentVersion}
	clock.Move(2 * time.Hour)
	verifies("an empty document", d.Keys[0].ID, keyring.ErrNoKeys, 7)
}
