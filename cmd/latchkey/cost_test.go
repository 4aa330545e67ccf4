package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/cost"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// costOutput is what one run of the tool prints.
func costOutput(t *testing.T, args string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), append([]string{"cost"}, strings.Fields(args)...), nil, &stdout, &stderr, func(string) string { return "" }); code != exitOK {
		t.Fatalf("cost %s: exit code %d: %s", args, code, &stderr)
	}
	return stdout.String()
}

// What the estimate supposes is what the tool, the template and the code have.
func TestCostDefaults(t *testing.T) {
	s := cost.Defaults()
	for name, pair := range map[string][2]float64{
		"access lifetime": {s.AccessLifetime, client.DefaultAccessTokenLifetime.Seconds()},
		"grant lifetime":  {s.GrantLifetime, client.DefaultBearerGrantLifetime.Seconds()},
		"cache":           {s.CacheTTL, authorizerTTL.Seconds()},
		"poll":            {s.Poll, revocation.PollInterval.Seconds()},
		"reload":          {cost.KeyReload, keyring.ReloadInterval.Seconds()},
		"feed's memory":   {cost.FeedMemory, revocation.FeedMemory.Seconds()},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v s, want %v", name, pair[0], pair[1])
		}
	}
	template, err := os.ReadFile(filepath.Join(testenv.Root(t), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("    MemorySize: %v\n", s.MemoryMB),
		fmt.Sprintf("  LogRetentionDays:\n    Type: Number\n    Default: %v\n", s.LogDays),
		fmt.Sprintf("  Architecture:\n    Type: String\n    Default: %s\n", s.Architecture),
		fmt.Sprintf("  AccessKeyAlgorithm:\n    Type: String\n    Default: %s\n", s.Algorithm),
		fmt.Sprintf("  AccessKeyMode:\n    Type: String\n    Default: %s\n", s.AccessKeys),
		fmt.Sprintf("  RefreshKeyMode:\n    Type: String\n    Default: %s\n", s.RefreshKeys),
	} {
		if !strings.Contains(string(template), want) {
			t.Errorf("the template has no %q", want)
		}
	}
	if got := strings.Count(string(template), "Type: AWS::SecretsManager::Secret\n"); got != cost.Secrets {
		t.Errorf("the template has %d secrets, want %d", got, cost.Secrets)
	}
}

// columns are the tables' columns that hold figures of an estimate, by their headings.
var columns = map[string]func(*cost.Estimate) float64{
	"a million tokens":              func(e *cost.Estimate) float64 { return e.PerMillionTokens },
	"a million authorised requests": func(e *cost.Estimate) float64 { return e.PerMillionAuthorized },
	"Latchkey a month":              func(e *cost.Estimate) float64 { return e.Total },
}

var costExample = regexp.MustCompile("(?m)^```sh\nbin/latchkey cost(.*)\n```\n\n```text\n((?s:.*?))```$")

// The documents' figures are the tool's: their examples, and each row of a table that begins with flags.
func TestCostDocs(t *testing.T) {
	for name, want := range map[string]struct{ examples, rows int }{"cost.md": {2, 17}, "scale.md": {2, 0}} {
		data, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if name == "cost.md" && !strings.Contains(text, "\n"+costOutput(t, "--prices")+"\n") {
			t.Errorf("%s does not have the prices as `latchkey cost --prices` prints them", name)
		}
		examples := costExample.FindAllStringSubmatch(text, -1)
		for _, m := range examples {
			if got := costOutput(t, m[1]); got != m[2] {
				t.Errorf("%s: latchkey cost%s prints\n%s", name, m[1], got)
			}
		}
		if rows := costRows(t, name, text); len(examples) != want.examples || rows != want.rows {
			t.Errorf("%s has %d examples and %d rows of flags, want %v", name, len(examples), rows, want)
		}
	}
}

// costRows checks the tables' rows, and returns how many there are.
func costRows(t *testing.T, name, text string) (rows int) {
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if !strings.HasPrefix(cells[0], "`--") {
			continue
		}
		rows++
		var e cost.Estimate
		if err := json.Unmarshal([]byte(costOutput(t, strings.Trim(cells[0], "`")+" --json")), &e); err != nil {
			t.Fatal(err)
		}
		for i, cell := range cells {
			if figure, ok := columns[tableHead(text, line, i)]; ok && cell != fmt.Sprintf("$%.2f", figure(&e)) {
				t.Errorf("%s: %s: %s is $%.2f, not %s", name, cells[0], tableHead(text, line, i), figure(&e), cell)
			}
		}
	}
	return rows
}

// tableHead is the heading of the i-th column of the table that a line is in.
func tableHead(text, line string, i int) string {
	before, _, _ := strings.Cut(text, line)
	table := before[strings.LastIndex(before, "\n\n")+2:]
	head, _, _ := strings.Cut(table, "\n")
	cells := strings.Split(strings.Trim(head, "|"), "|")
	if i >= len(cells) {
		return ""
	}
	return strings.TrimSpace(cells[i])
}
