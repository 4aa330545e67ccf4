package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/pkg/client"
)

// exportHeader is the first line of an export.
type exportHeader struct {
	What       string `json:"latchkey_export"` // clients
	Version    int    `json:"version"`         // exportVersion
	Count      *int   `json:"count,omitempty"` // of the lines that follow; absent: unknown
	ExportedAt string `json:"exported_at,omitempty"`
}

const (
	exportClients = "clients"
	exportVersion = 1
	// maxExportLine is far more than a record takes, in bytes.
	maxExportLine = 1 << 20
)

func (a *app) clientExport(f *clientFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all clients to stdout or a file, for another deployment to import",
		Long: `Writes all clients as JSON Lines: a line that says what it is and how many there are, and one for each client, in the
order of their ids. It is the same with --json and without.

The hashes of the clients' secrets are in it, so that the secrets stay good where it is imported; the secrets are not, and
can't be had from the hashes. Whoever may change the file before it is imported can put secrets and clients of their own in:
keep it as you keep the table. Tokens don't move: handles, by which they are told, are left out.`,
		Example: `  latchkey client export --clients-table "$OLD_TABLE" --output clients.jsonl
  latchkey client export | jq -c 'select(.client_id)'`,
		Args: noArgs,
		RunE: a.onClients(f, func(ctx context.Context, reg *client.Registry, _ string, _ []string) error {
			list, err := reg.List(ctx)
			if err != nil {
				return err
			}
			count := len(list)
			var text bytes.Buffer
			header, err := json.Marshal(exportHeader{exportClients, exportVersion, &count, a.now().UTC().Format(time.RFC3339)})
			if err != nil {
				return err
			}
			text.Write(append(header, '\n'))
			for _, r := range list {
				line, err := r.Export()
				if err != nil {
					return err
				}
				text.Write(append(line, '\n'))
			}
			if out == "" {
				_, err := a.stdout.Write(text.Bytes())
				return err
			}
			return writeFile(out, text.Bytes())
		}),
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this `file`, which nobody else may read, not to stdout")
	return cmd
}

// importFlags are the flags of `latchkey client import`.
type importFlags struct {
	apply, replace bool
}

// importJSON is what it prints with --json.
type importJSON struct {
	Applied bool         `json:"applied"`
	Counts  importCounts `json:"counts"`
	Clients []importLine `json:"clients"`
}

type importCounts map[client.Moved]int64

type importLine struct {
	Line   int          `json:"line"`
	ID     string       `json:"client_id,omitempty"`
	Result client.Moved `json:"result,omitempty"`
	Error  string       `json:"error,omitempty"`
}

func (a *app) clientImport(f *clientFlags) *cobra.Command {
	var how importFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take in the clients of an export; without --apply, say what that would do",
		Long: `Reads what "latchkey client export" wrote, - for stdin, and says what would become of each client. With --apply it does it:

  created   the id is new here
  same      there is a client that says the same; nothing is done
  exists    there is another client of that id, and it is left as it is: that makes exit code 1
  replaced  with --replace: it says what the file says from now on, as by "client update"

Where a line can't be read, nothing is written at all, and each such line is named. Each client is one conditional write, and
what was imported says the same from then on: what breaks off is simply run again. Secrets stay good by their hashes.

No token moves and none comes back to life: what is created has a handle of its own, as after "client create", and what is
replaced keeps its own, with an epoch that only grows. Clients that sign in by other issuers' tokens need those to be trusted
here, too ("latchkey issuer add").

With --json: applied, counts (created, same, exists, replaced), and clients (line, client_id, result or error).`,
		Example: `  latchkey client import clients.jsonl --clients-table "$NEW_TABLE"              # what it would do
  latchkey client import clients.jsonl --clients-table "$NEW_TABLE" --apply 2>> audit.log`,
		Args: oneFile("export"),
	}
	cmd.RunE = a.onClients(f, func(ctx context.Context, reg *client.Registry, where string, args []string) error {
		err := a.importClients(ctx, reg, where, args[0], f.asJSON, how)
		if errors.Is(err, client.ErrNotFound) { // which the caller would say of the file
			return errors.New("a client was deleted meanwhile: run it again")
		}
		return err
	})
	cmd.Flags().BoolVar(&how.apply, "apply", false, "do it")
	cmd.Flags().BoolVar(&how.replace, "replace", false, "replace clients of the same ids that say something else")
	return cmd
}

// readLine is one line of an export.
type readLine struct {
	line   int
	record *client.Record // nil where it can't be read
	err    error
}

func (a *app) importClients(ctx context.Context, reg *client.Registry, where, name string, asJSON bool, how importFlags) error {
	lines, err := a.readExport(name)
	if err != nil {
		return err
	}
	out := importJSON{Counts: importCounts{}, Clients: []importLine{}}
	for _, l := range lines {
		if l.err != nil {
			out.Clients = append(out.Clients, importLine{Line: l.line, Error: l.err.Error()})
		}
	}
	if bad := len(out.Clients); bad > 0 {
		if err := a.printImport(&out, where, asJSON); err != nil {
			return err
		}
		return fmt.Errorf("nothing was imported: %s of %s can't be taken", plural(int64(bad), "line"), plain(name))
	}
	out.Applied = how.apply
	p := a.progress()
	reg.Changed = quietly(p, reg.Changed)
	var broke error
	for i, l := range lines {
		p.say("%d of %d clients", i, len(lines))
		result, err := reg.Import(ctx, l.record, how.replace, !how.apply)
		if result != "" && (err == nil || errors.Is(err, client.ErrUntold)) {
			out.Counts[result]++
		}
		one := importLine{Line: l.line, ID: l.record.ID, Result: result}
		if err != nil {
			one.Error = err.Error()
			broke = fmt.Errorf("line %d, client %s: %w: %d of %d were looked at before; run it again", l.line, l.record.ID, err, i, len(lines))
		}
		out.Clients = append(out.Clients, one)
		if broke != nil {
			break
		}
	}
	p.clear()
	if err := a.printImport(&out, where, asJSON); err != nil {
		return err
	}
	if n := out.Counts[client.MovedDiffers]; broke == nil && n > 0 {
		return fmt.Errorf("%s of the same id in %s and another content: --replace replaces them", plural(n, "client"), where)
	}
	return broke
}

// quietly takes the progress away before an audit line is written.
func quietly(p *progress, changed func(context.Context, *client.Record, *client.Record)) func(context.Context, *client.Record, *client.Record) {
	return func(ctx context.Context, before, after *client.Record) {
		p.clear()
		changed(ctx, before, after)
	}
}

// readExport reads all of an export. Its error is that of the whole; of a line, the line has it.
func (a *app) readExport(name string) ([]readLine, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxExportLine)
	var header exportHeader
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &header) != nil || header.What == "" {
		return nil, fmt.Errorf("%s is no export: its first line is not that of one", plain(name))
	}
	switch {
	case header.What != exportClients:
		return nil, fmt.Errorf("%s is an export of %q, not of clients", plain(name), header.What)
	case header.Version != exportVersion:
		return nil, fmt.Errorf("%s has version %d, this release reads %d", plain(name), header.Version, exportVersion)
	}
	var all []readLine
	seen := map[string]int{}
	for n := 2; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		l := readLine{line: n}
		l.record, l.err = client.ParseExport(lines.Bytes())
		if l.err == nil {
			if first := seen[l.record.ID]; first != 0 {
				l.err = fmt.Errorf("client %s is on line %d already", l.record.ID, first)
			}
			seen[l.record.ID] = n
		}
		all = append(all, l)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", plain(name), err)
	}
	if header.Count != nil && *header.Count != len(all) {
		return nil, fmt.Errorf("%s has %d clients, and its first line says %d: it was cut off, or changed. Who takes clients out of it on purpose takes the count out, too",
			plain(name), len(all), *header.Count)
	}
	return all, nil
}

// printImport says what was done, or would be.
func (a *app) printImport(out *importJSON, where string, asJSON bool) error {
	if asJSON {
		return a.printJSON(out)
	}
	for _, l := range out.Clients {
		switch {
		case l.Error != "":
			fmt.Fprintf(a.stdout, "line %d: %s\n", l.Line, plain(l.Error))
		case l.Result != client.MovedSame:
			fmt.Fprintf(a.stdout, "%-8s  %s\n", l.Result, l.ID)
		}
	}
	c := out.Counts
	if len(c) == 0 {
		return nil
	}
	fmt.Fprintf(a.stdout, "%d created, %d replaced, %d the same, %d left as they are, in %s.\n",
		c[client.MovedCreated], c[client.MovedReplaced], c[client.MovedSame], c[client.MovedDiffers], where)
	if !out.Applied {
		fmt.Fprintln(a.stdout, "Nothing was written: this is what --apply would do.")
	}
	return nil
}
