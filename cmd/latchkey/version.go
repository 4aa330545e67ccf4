package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Which build this is",
		Args:  noArgs,
		RunE: a.action(func(context.Context, []string) error {
			v := buildVersion()
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

type version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified"` // the tree had changes that the commit has not
	Go       string `json:"go"`
}

// buildVersion reads what the go command wrote into the binary.
func buildVersion() version {
	v := version{Version: "(devel)", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = cmp.Or(info.Main.Version, v.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
