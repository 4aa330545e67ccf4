package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/version"
)

// What the process ends with; `latchkey help exit-codes` documents it.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitInvalid = 3
)

const exitCodesHelp = `Every command ends with one of these:

  0  done; for "token inspect": the token is valid
  1  failed, for the reason on stderr: nothing was changed unless it says so; for "doctor": a check failed
  2  the command line is wrong: an unknown command or flag, a value of the wrong form
  3  "token inspect" alone: the token is not valid, for the reason shown

An error is one line on stderr that begins with "latchkey: ", with exit code 2 followed by one that says where help is. A
change is one line of JSON there: see "latchkey help audit".
Results are on stdout; with --json they are JSON and nothing else.`

// app is one run of the tool: its surroundings, and how far it got.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	now            func() time.Time

	acting bool // the command line was in order: what fails from here on is no usage error
	laptop bool // clients are those of `latchkey dev`, whose caps are known

	asked    sync.Once
	identity string // whose AWS credentials are in use, once that was asked: see audit
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env, now: clock.Now}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errTokenInvalid):
		return exitInvalid // and stdout has said why
	case errors.As(err, &usage) || !a.acting:
		fmt.Fprintf(stderr, "latchkey: %s\n", oneLine(err))
		fmt.Fprintf(stderr, "See `%s --help`.\n", cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(stderr, "latchkey: %s\n", oneLine(err))
	return exitFailed
}

// usageError is an error in the command line that a command finds by itself.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// oneLine keeps to the promise that an error is one line; some of the SDK's have several. Some hold what a server said that
// nobody vouches for, such as the names in its certificate.
func oneLine(err error) string { return plain(strings.Join(strings.Fields(err.Error()), " ")) }

// action makes a command's function of one that knows the command line to be in order.
func (a *app) action(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.acting = true
		return f(cmd.Context(), args)
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "latchkey",
		Short: "OAuth 2.0 tokens for REST APIs on AWS API Gateway",
		Long: `Latchkey issues OAuth 2.0 access tokens for REST APIs on AWS API Gateway. This tool runs all of it on a laptop, and
administers clients, users and keys there and on AWS.`,
		Example: `  latchkey dev                                 # the whole flow on http://127.0.0.1:3000, with commands to try
  latchkey client create my-app --scope "orders:read orders:write"
  echo "$ACCESS" | latchkey token inspect      # what a token says, and what is wrong with it`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(a.devCommand(), a.clientCommand(), a.userCommand(), a.issuerCommand(), a.keysCommand(), a.tokenCommand(), a.revokeCommand(), a.routesCommand(), a.costCommand(), a.doctorCommand(), a.versionCommand(), &cobra.Command{
		Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp,
	}, &cobra.Command{
		Use: "audit", Short: "What is said of each change, and by whom it was made", Long: auditHelp,
	})
	group(root)
	completeFlags(root)
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		group(completion)
	}
	root.Version = version.Read().Version
	root.SetVersionTemplate("latchkey {{.Version}}\n")
	root.SetHelpCommand(a.helpCommand(root))
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(flagError)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	return root
}

// group makes a command out of one that only has commands below it: alone it shows its help, and what is not the name of
// any of them is an error that suggests one.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
	return cmd
}

// noArgs is for commands that take flags alone.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("no argument is taken, and here is %q", args[0])
	}
	return nil
}

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if like := cmd.SuggestionsFor(name); len(like) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", strings.Join(like, `" or "`))
	}
	return usagef("unknown command %q for %q%s", name, cmd.CommandPath(), hint)
}

// flagError adds to pflag's errors what the operator most likely meant.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		return unknownCommand(cmd, cmd.Flags().Arg(0)) // whose flags are not known, of course
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		if like := nearestFlag(cmd, unknown.GetSpecifiedName()); like != "" {
			return usagef("%v; did you mean --%s?", err, like)
		}
	}
	return usagef("%v", err)
}

// nearestFlag returns the flag of cmd that name is a slip of, or part of; empty where none is near.
func nearestFlag(cmd *cobra.Command, name string) string {
	best, bestDistance := "", 3
	look := func(f *pflag.Flag) {
		d := distance(name, f.Name)
		if strings.HasPrefix(f.Name, name) || strings.HasSuffix(f.Name, "-"+name) {
			d = min(d, 2)
		}
		if d < bestDistance && !f.Hidden {
			best, bestDistance = f.Name, d
		}
	}
	cmd.Flags().VisitAll(look) // the inherited ones are among them by now
	return best
}

// distance is how many letters must be put in, taken out or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// helpCommand is cobra's, except that an unknown topic is an error.
func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help on a command or on exit-codes",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return usagef("%v", err)
			}
			if len(rest) > 0 && cmd.HasSubCommands() {
				return unknownCommand(cmd, rest[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// usageTemplate is cobra's, shorter: a group's line says that a command is to follow.
const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableInheritedFlags}}

Flags of all of these commands:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if not .HasParent}}

"latchkey COMMAND --help" tells more of a command, "latchkey help exit-codes" what the exit codes mean.{{end}}
`
