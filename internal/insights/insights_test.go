package insights_test

import (
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/insights"
)

const lines = `{"time":"2026-11-27T10:00:01Z","event":"a.refused","n":2,"who":"x","by":{"user":"ada"},"cause":"invalid token: expired: it ended"}
{"time":"2026-11-27T10:00:02.5Z","event":"a.answered","n":10,"who":"y","list":["one","two"]}
{"time":"2026-11-27T10:07:00Z","event":"a.refused","n":9,"who":"x","level":"ERROR"}
START RequestId: 1
`

func TestRun(t *testing.T) {
	events := insights.Read(lines)
	for query, want := range map[string]string{
		// The latest first, as text what is no JSON, and numbers by their size.
		`fields event, n`:         "event | n\na.refused | 9\na.answered | 10\na.refused | 2\n | \n",
		`fields n | filter n > 9`: "n\n10\n",
		`filter n >= 9 and n <= 10 | sort n desc | fields n`:                                             "n\n10\n9\n",
		`filter not (n = 9 or n = 10) and ispresent(n) | fields n, by.user as u`:                         "n | u\n2 | ada\n",
		`filter event like /\.refused$/ and who != "y" # both` + "\n| stats count(*) as c, sum(n) as s":  "c | s\n2 | 11\n",
		`filter event like "swer" | fields list.1`:                                                       "list.1\ntwo\n",
		`filter event not like "swer" | stats count(event) as c`:                                         "c\n2\n",
		`filter n in [2, 10] | sort @timestamp asc | fields @timestamp | limit 1`:                        "@timestamp\n2026-11-27 10:00:01.000\n",
		`filter who not in ["y"] and ispresent(who) | stats count(*) as c by who`:                        "who | c\nx | 2\n",
		`filter ispresent(n) | stats min(n) as a, max(n) as b, avg(n) as m, pct(n, 50) as p`:             "a | b | m | p\n2 | 10 | 7 | 9\n",
		`stats count_distinct(who) as d, latest(n) as l, earliest(n) as e`:                               "d | l | e\n2 | 9 | 2\n",
		`filter ispresent(n) | stats count(*) as c by bin(5m), event | sort c desc, event | fields c`:    "bin(5m) | event | c | c\n2026-11-27 10:00:00.000 | a.answered | 1 | 1\n2026-11-27 10:05:00.000 | a.refused | 1 | 1\n2026-11-27 10:00:00.000 | a.refused | 1 | 1\n",
		`filter ispresent(who) | stats count(*) as c by who | filter c > 1`:                              "who | c\nx | 2\n",
		`parse cause "invalid token: *: *" as why, detail | filter why = "expired" | fields why, detail`: "why | detail\nexpired | it ended\n",
	} {
		got, err := insights.Run(query, events)
		if err != nil || got.String() != want {
			t.Errorf("%s\n%s, %v; want\n%s", query, got, err, want)
		}
	}
}

func TestWhatIsNotKnown(t *testing.T) {
	for _, query := range []string{
		"", "dedup a", "filter", "filter a", "filter a ~ 1", `filter a = "b`, "filter (a = 1", "filter a like b", "filter a in [1", "stats count(*)",
		"stats median(a) as b", "stats count(a as b", "fields upper(a)", "fields a b", "sort", "limit x", `parse a "*"`, `parse a "*" as b, c`, "filter a like /(/",
		"stats count(*) as n by bin(5y)",
	} {
		if got, err := insights.Run(query, nil); err == nil {
			t.Errorf("%q is taken: %s", query, got)
		}
	}
}

func TestQueries(t *testing.T) {
	page := strings.ReplaceAll("Who?\n\n<!-- query: who-did -->\n'''text\nfields a\n| limit 1\n'''\n\n'''sh\nls\n'''\n", "'''", "```")
	if got := insights.Queries(page); len(got) != 1 || got["who-did"] != "fields a\n| limit 1\n" {
		t.Errorf("%q", got)
	}
}
