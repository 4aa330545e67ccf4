package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/insights"
	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// TestAuditQuery: the documentation's query of what operators changed finds it in the tool's own lines.
func TestAuditQuery(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "observability.md"))
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	now := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	a := &app{stderr: &stderr, now: func() time.Time { now = now.Add(time.Second); return now }}
	in := scene{where: "the store in .latchkey"}
	a.audit(t.Context(), in, "client.disabled", "shop", map[string]any{"disabled": false}, map[string]any{"disabled": true})
	a.audit(t.Context(), in, "revoked.user", "u_1", nil, map[string]any{"revoked": "user"})
	for name, want := range map[string]string{
		"operators": "time | by.aws | by.user | by.host | action | id\n" +
			"2026-11-27T10:00:02Z |  | USER | HOST | revoked.user | u_1\n2026-11-27T10:00:01Z |  | USER | HOST | client.disabled | shop\n",
		"audit": "time | event | client_id | sub | grant_id | error | reason | source_ip\n" +
			"2026-11-27T10:00:02Z | audit |  |  |  |  |  | \n2026-11-27T10:00:01Z | audit |  |  |  |  |  | \n",
	} {
		table, err := insights.Run(insights.Queries(string(page))[name], insights.Read(stderr.String()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		who := regexp.MustCompile(`\| [^|]+ \| [^|]* \| (client|revoked)\.`)
		if got := who.ReplaceAllString(table.String(), "| USER | HOST | $1."); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}
