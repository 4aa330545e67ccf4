// Command bench measures Latchkey beside its peers, in one run: it prints tables and, last, a line a target:
//
//	target NAME value bound ok|short
//
// and writes the tables into a document. docs/performance.md says what is measured; `make bench` runs this.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint"
	"github.com/latchkey-auth/latchkey/bench/growth"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
	"github.com/latchkey-auth/latchkey/bench/jose"
	"github.com/latchkey-auth/latchkey/bench/lambda"
	"github.com/latchkey-auth/latchkey/bench/load"
)

// section is a part that can be run by itself. Each has a package of its own.
type section struct {
	name string
	run  func(context.Context, *report.Report, report.Options) error
}

// sections are in the order in which they run.
var sections = []section{
	{"jose", jose.Run},
	{"lambda", lambda.Run},
	{"endpoint", endpoint.Run},
	{"growth", func(ctx context.Context, r *report.Report, o report.Options) error {
		return growth.Run(ctx, r, growth.Options{Options: o, Tokens: *tokens})
	}},
	{"clients", growth.Clients},
	{"load", load.Run},
}

var tokens = flag.Int("tokens", growth.DefaultTokens, "how many tokens the section growth issues")

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	chosen := flag.String("sections", "jose,lambda,endpoint", "what to run, separated by commas")
	rounds := flag.Int("rounds", 6, "how often everything is measured; tables have the median")
	root := flag.String("root", "..", "the repository")
	document := flag.String("document", "", "the file that tables are written into; none if empty")
	strict := flag.Bool("strict", false, "fail if a target is short")
	flag.Parse()

	names := strings.Split(*chosen, ",")
	for _, name := range names {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.name == name }) {
			return fmt.Errorf("there is no section %q", name)
		}
	}
	if *rounds < 1 || flag.NArg() > 0 {
		flag.Usage()
		return fmt.Errorf("-rounds must be 1 or more, and there are no arguments")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := report.New()
	o := report.Options{Rounds: *rounds, Root: *root, Log: os.Stderr}
	for _, s := range sections {
		if !slices.Contains(names, s.name) {
			continue
		}
		r.Section(s.name)
		if err := s.run(ctx, r, o); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return finish(r, *document, *rounds, *strict)
}

// finish prints last, so that the targets are what a run ends with.
func finish(r *report.Report, document string, rounds int, strict bool) error {
	var err error
	if document != "" {
		err = r.WriteDocument(document, report.About(rounds, time.Now()))
	}
	r.Print(os.Stdout)
	if n := r.Short(); strict && n > 0 {
		err = errors.Join(err, fmt.Errorf("%d targets are short", n))
	}
	return err
}
