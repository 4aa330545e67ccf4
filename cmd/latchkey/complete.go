package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// What a completion of ids may take: a person waits for it at a prompt.
const (
	completionWait = time.Second
	completions    = 200 // shown at most
)

// flagValues are those of flags that are texts and yet have to be one of a few.
var flagValues = map[string][]string{
	"grant":            {"client_credentials", "refresh_token", "jwt-bearer", "password"},
	"kind":             authorizerKinds,
	"algorithm":        assertion.Algorithms,
	"architecture":     {"arm64", "x86_64"},
	"access-key-mode":  {"secretsmanager", "kms"},
	"refresh-key-mode": {"secretsmanager", "kms"},
}

// completeFlags has the shell complete the values of all flags below cmd: those that are one of a few, folders, and files where a
// file is meant, by what help calls the value.
func completeFlags(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		complete := cobra.NoFileCompletions
		called, _ := pflag.UnquoteUsage(f)
		values := flagValues[f.Name]
		if c, ok := f.Value.(*choice); ok {
			values = c.allowed
		}
		switch {
		case f.Value.Type() == "bool", strings.HasSuffix(called, "file"):
			return // the shell's own
		case called == "folder":
			complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		case values != nil && (called != "id" || f.Name != "grant"): // revoke's --grant is an id
			complete = cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
		}
		// Its error says that there is one: of the command above, or its own.
		_ = cmd.RegisterFlagCompletionFunc(f.Name, complete)
	})
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
}

// completer lists what begins as the word at the prompt does.
type completer = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// completeIDs completes the commands below cmd that take an id first, by their Use.
func completeIDs(cmd *cobra.Command, argument string, complete completer) {
	for _, c := range cmd.Commands() {
		if strings.HasSuffix(c.Use, " "+argument) && c.Name() != "create" && c.Name() != "add" {
			c.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
				if len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return complete(cmd, args, begun)
			}
		}
	}
}

// names makes a completer of a store's list. It takes a second at most, and says nothing where that does not suffice or
// anything goes wrong: the prompt is no place for errors.
func names(list func(ctx context.Context, yield func(name string) bool) error) completer {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionWait)
		defer cancel()
		found := make(chan []string, 1)
		go func() { // not all that it takes heeds ctx, such as a lock on the store's file
			var all []string
			err := list(ctx, func(name string) bool {
				if strings.HasPrefix(name, begun) {
					all = append(all, name)
				}
				return len(all) < completions
			})
			if err != nil {
				all = nil
			}
			found <- all
		}()
		select {
		case all := <-found:
			return all, cobra.ShellCompDirectiveNoFileComp
		case <-ctx.Done():
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// clientNames completes ids of clients, in the place that the flags before it name.
func (a *app) clientNames(p *place) completer {
	return names(func(ctx context.Context, yield func(string) bool) error {
		store, err := a.openStore(ctx, p)
		if err != nil {
			return err
		}
		defer func() { _ = store.close() }() // it was read
		return store.Clients(ctx, func(s *client.Stored) bool { return yield(s.ID) })
	})
}

func (a *app) userNames(p *place) completer {
	return names(func(ctx context.Context, yield func(string) bool) error {
		store, err := a.openUsers(ctx, p)
		if err != nil {
			return err
		}
		defer func() { _ = store.close() }() // it was read
		return store.users.Users(ctx, func(s *user.Stored) bool { return yield(s.Username) })
	})
}

func (a *app) issuerNames(p *place) completer {
	return names(func(ctx context.Context, yield func(string) bool) error {
		store, err := a.openIssuers(ctx, p)
		if err != nil {
			return err
		}
		defer func() { _ = store.close() }() // it was read
		return store.issuers.Issuers(ctx, func(s *issuer.Stored) bool { return yield(s.URL) })
	})
}
