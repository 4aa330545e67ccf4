package keyring

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// PublicSource hands out the published keys, for verifying beside the issuer without any private half in reach. It keeps
// its copy as a Source does. Safe for many goroutines; make one with NewPublicSource.
type PublicSource struct{ s *Source }

// PublicKeyReader reads the public document; ErrNoKeys where there is none yet.
type PublicKeyReader interface {
	PublicKeys(ctx context.Context) (*PublicDocument, int64, error)
}

// PublicSourceConfig says where a PublicSource reads.
type PublicSourceConfig struct {
	Keys PublicKeyReader  // required
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: slog.Default()
}

// NewPublicSource makes a PublicSource. It reads nothing yet.
func NewPublicSource(c PublicSourceConfig) *PublicSource {
	s := NewSource(SourceConfig{Now: c.Now, Log: c.Log})
	s.load = func(ctx context.Context) (*ring, error) {
		d, _, err := c.Keys.PublicKeys(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the public keys: %w", err)
		}
		return d.ring()
	}
	return &PublicSource{s}
}

// VerificationKey does what a Source's does.
func (p *PublicSource) VerificationKey(ctx context.Context, kid string) (VerificationKey, error) {
	return p.s.VerificationKey(ctx, kid)
}

// ring is the document with its keys parsed. None of them signs.
func (p *PublicDocument) ring() (*ring, error) {
	if len(p.Keys) == 0 {
		return nil, ErrNoKeys
	}
	r := &ring{}
	for _, k := range p.Keys {
		key, known, err := k.JWK.verificationKey()
		if err != nil || !known {
			return nil, fmt.Errorf("the public-keys document: key %q does not verify anything", k.JWK.ID)
		}
		r.keys = append(r.keys, ringKey{Times: k.Times, verification: key})
	}
	return r, nil
}
