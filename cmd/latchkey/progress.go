package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// progress says on a terminal how far something is that takes long, on one line that is written over and over, and is gone at
// the end. Elsewhere it says nothing: what is kept of stderr are errors and audit lines. A nil one says nothing either.
type progress struct {
	w     io.Writer
	shown bool
	said  time.Time
	now   func() time.Time
}

// progressPace is how often the line is written again, at most.
const progressPace = 100 * time.Millisecond

func (a *app) progress() *progress {
	f, ok := a.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &progress{w: f, now: a.now}
}

// eraseLine goes to the line's beginning and clears what is on it.
const eraseLine = "\r\x1b[K"

// say shows what is being done, unless something was shown a moment ago.
func (p *progress) say(format string, args ...any) {
	if p == nil || p.shown && p.now().Sub(p.said) < progressPace {
		return
	}
	text := plain(fmt.Sprintf(format, args...))
	if r := []rune(text); len(r) > 78 { // a line that is broken could not be cleared
		text = string(r[:78])
	}
	fmt.Fprintf(p.w, "%s%s", eraseLine, text)
	p.shown, p.said = true, p.now()
}

// clear takes the line away, before anything else is written to the terminal.
func (p *progress) clear() {
	if p != nil && p.shown {
		fmt.Fprint(p.w, eraseLine)
		p.shown = false
	}
}

// counted says how many records of a store were read.
func counted[T any](p *progress, what string, each func(context.Context, func(T) bool) error) func(context.Context, func(T) bool) error {
	if p == nil {
		return each
	}
	return func(ctx context.Context, yield func(T) bool) error {
		defer p.clear()
		n := int64(0)
		return each(ctx, func(one T) bool {
			n++
			p.say("%s read", plural(n, what))
			return yield(one)
		})
	}
}

// The stores, with their lists counted.
type (
	countedClients struct {
		client.Store
		p *progress
	}
	countedUsers struct {
		user.Store
		p *progress
	}
	countedIssuers struct {
		issuer.Store
		p *progress
	}
)

func (s countedClients) Clients(ctx context.Context, yield func(*client.Stored) bool) error {
	return counted(s.p, "client", s.Store.Clients)(ctx, yield)
}

func (s countedUsers) Users(ctx context.Context, yield func(*user.Stored) bool) error {
	return counted(s.p, "user", s.Store.Users)(ctx, yield)
}

func (s countedIssuers) Issuers(ctx context.Context, yield func(*issuer.Stored) bool) error {
	return counted(s.p, "issuer", s.Store.Issuers)(ctx, yield)
}
