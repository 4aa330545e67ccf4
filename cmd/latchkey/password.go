package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/latchkey-auth/latchkey/pkg/user"
)

// maxTyped is more than any password takes, in bytes.
const maxTyped = 64 << 10

// newPassword reads a new password: on a terminal twice, without showing it; elsewhere the first line of stdin. It is never
// an argument, for the command line can be seen by others and is kept by shells.
func (a *app) newPassword(ctx context.Context, username string) (string, error) {
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return a.askPassword(ctx, f, username)
	}
	line, err := bufio.NewReader(io.LimitReader(a.stdin, maxTyped)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("the password on stdin: %w", err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if password == "" {
		return "", usagef("there is no password on stdin: give it as a line there, or run this on a terminal to be asked")
	}
	return password, nil
}

func (a *app) askPassword(ctx context.Context, f *os.File, username string) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"New password of " + plain(username), "Once more"} {
		fmt.Fprintf(a.stderr, "%s (%d characters at least): ", prompt, user.MinPassword)
		password, err := readHidden(ctx, int(f.Fd()))
		fmt.Fprintln(a.stderr)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		typed[i] = password
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two are not the same: nothing was changed")
	}
	return typed[0], nil
}

// readHidden reads a line that is not shown. If ctx ends first, as it does by Ctrl-C, the terminal shows again what is typed.
func readHidden(ctx context.Context, terminal int) (string, error) {
	state, err := term.GetState(terminal)
	if err != nil {
		return "", err
	}
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() { // which nothing can interrupt; the process ends with it
		text, err := term.ReadPassword(terminal)
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		return string(l.text), l.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(terminal, state))
	}
}
