package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/version"
)

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Which build this is",
		Args:  noArgs,
		RunE: a.action(func(context.Context, []string) error {
			v := version.Read()
			if asJSON {
				return a.printJSON(v)
			}
			fmt.Fprintf(a.stdout, "latchkey %s", v.Version)
			if v.Commit != "" {
				fmt.Fprintf(a.stdout, " (commit %s%s)", v.Commit, map[bool]string{true: ", with changes"}[v.Modified])
			}
			fmt.Fprintf(a.stdout, ", %s\n", v.Go)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: version, commit, modified, go")
	return cmd
}
