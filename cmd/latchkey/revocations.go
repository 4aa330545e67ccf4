package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/adminsock"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// longestAccess is the highest cap on access tokens that a deployment can have: what was said longer ago matches none.
const longestAccess = 24 * time.Hour

// revocationsFor returns what is said of tokens by whoever published the keys that they are verified against, nil where that
// is not known: a file of keys says nothing, and neither does a JWKS by its URL.
func (a *app) revocationsFor(ctx context.Context, f *inspectFlags) (view *revocation.View, closing func() error, err error) {
	closing = func() error { return nil }
	var source revocation.Source
	switch {
	case f.jwks != "":
		return nil, closing, nil
	case f.issuer != "":
		// By the rules that its keys were fetched by: verificationKeys has looked at the address.
		source, err = remotefeed.New(remotefeed.Config{URL: strings.TrimSuffix(f.issuer, "/") + revocation.PathFeed})
	default:
		var log revocation.Log
		if log, closing, err = laptopRevocations(&f.place); log != nil {
			source = revocation.NewFeed(revocation.FeedConfig{Source: log, Now: a.now, Log: slog.New(slog.DiscardHandler)})
		}
	}
	if err != nil || source == nil {
		return nil, closing, err
	}
	view, err = revocation.NewView(revocation.ViewConfig{Source: source, Window: longestAccess, Now: a.now, Log: slog.New(slog.DiscardHandler)})
	return view, closing, err
}

// laptopRevocations opens the laptop's log of revocations to read it, through `latchkey dev` while that runs. It is nil where
// there is no store yet.
func laptopRevocations(p *place) (revocation.Log, func() error, error) {
	none := func() error { return nil }
	dial := func() (revocation.Log, func() error, error) {
		s, err := adminsock.Dial(filepath.Join(p.dir, socketFile))
		if err != nil {
			return nil, none, err
		}
		return s, s.Close, nil
	}
	log, closing, err := dial()
	if !errors.Is(err, adminsock.ErrNotRunning) {
		return log, closing, err
	}
	path := filepath.Join(p.dir, storeFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, none, nil
	}
	local, err := boltstore.Open(path)
	if errors.Is(err, boltstore.ErrLocked) { // by a process that was just starting
		if log, closing, err := dial(); err == nil {
			return log, closing, nil
		}
	}
	if err != nil {
		return nil, none, fmt.Errorf("looking for revocations: %w", err)
	}
	return local, local.Close, nil
}
