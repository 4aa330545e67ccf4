package e2e

import (
	"encoding/json"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/insights"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// A day of a deployment, with the built functions: each outcome is one line, each query of the documentation's page finds in the
// lines what it is for, and the metrics add up to them.
func TestObservability(t *testing.T) {
	t.Parallel()
	d := deploy(t, mode{"kms", "secretsmanager", "ES256"})
	d.rotate = d.start("rotate", with(d.env, "KEY_ROTATION_PERIOD", "24h"), "KEYS_TABLE", "REVOCATIONS_TABLE", "ACCESS_KEYS_SECRET", "REFRESH_KEYS_SECRET",
		"ACCESS_KEY_MODE", "REFRESH_KEY_MODE", "ACCESS_KEY_ALGORITHM", "KMS_KEY_NAME", "MAX_STALENESS", "KEY_ROTATION_PERIOD", "MAX_GRANT_LIFETIME")
	rules, err := routes.New([]routes.API{{ID: "local00000", Stage: "prod", Routes: []routes.Route{{Method: "GET", Path: "/whoami", AllOf: []string{"orders:write"}}}}})
	d.must(err)
	compiled, err := rules.Encode()
	d.must(err)
	file := filepath.Join(t.TempDir(), "routes.json")
	d.must(os.WriteFile(file, compiled, 0o600))
	d.authorizer = d.start("authorizer", with(d.env, "ROUTES_FILE", file), "MAX_ACCESS_TOKEN_LIFETIME", "REVOCATIONS_URL", "ISSUER", "AUDIENCE", "ROUTES_FILE")
	d.gateways()
	d.pass(20 * time.Hour)
	secret := d.register(client.Spec{ID: "shop", Grants: allGrants})
	api := d.register(client.Spec{ID: "api", Introspects: []string{audience}})
	carts := d.register(client.Spec{ID: "carts", RefreshMode: token.ModeRotating})
	ada := d.person("ada", "orders:read")

	// Sign-ins, right and wrong.
	post := func(path string, status int, pairs ...string) answer {
		t.Helper()
		form := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		a := d.call("POST", path, form, "")
		a.is(status)
		return a
	}
	signIn := func(status int, id, secret string, more ...string) answer {
		t.Helper()
		return post(oauth.PathToken, status, append([]string{"grant_type", "client_credentials", "client_id", id, "client_secret", secret}, more...)...)
	}
	first := signIn(200, "shop", secret)
	second := signIn(200, "shop", secret)
	wrong, _ := client.NewSecret(d.now())
	for _, id := range []string{"admin", "root", "test", "guest", "shop"} {
		signIn(401, id, wrong)
	}
	adas := d.userSignIn(secret, "ada", userPassword)
	adas.is(200)
	d.userSignIn(secret, "ada", "wrong password").is(400)
	d.userSignIn(secret, "eve", "wrong password").is(400)

	// Calls: remembered, new, with too little, without a token.
	d.whoamiIs(200, first.field("access_token"), scope)
	d.pass(authorizerTTL + time.Second) // API Gateway's own memory of the answer
	d.whoamiIs(200, first.field("access_token"), scope)
	d.whoamiIs(401, strings.Repeat("x", 20), "")
	d.whoamiIs(403, adas.field("access_token"), "")
	post(oauth.PathIntrospect, 200, "client_id", "api", "client_secret", api, "token", first.field("access_token"))

	// Refreshes, one of a token of which there is a copy.
	renew := func(path string, status int, id, held string) answer {
		t.Helper()
		return post(path, status, "grant_type", "refresh_token", "client_id", id, "refresh_token", held)
	}
	renew(oauth.PathRefresh, 200, "shop", first.field("refresh_token"))
	renew(oauth.PathRefresh, 400, "shop", "nonsense")
	renew(oauth.PathRefresh, 400, "carts", first.field("refresh_token"))
	once := signIn(200, "carts", carts).field("refresh_token")
	renew(oauth.PathToken, 200, "carts", renew(oauth.PathToken, 200, "carts", once).field("refresh_token"))
	d.pass(rotating.Grace + 2*time.Second)
	renew(oauth.PathToken, 400, "carts", once)

	// A revocation.
	post(oauth.PathRevoke, 200, "client_id", "shop", "client_secret", secret, "token", second.field("refresh_token"))
	post(oauth.PathRevoke, 200, "client_id", "shop", "client_secret", secret, "token", "nonsense")
	d.pass(bound)
	renew(oauth.PathRefresh, 400, "shop", second.field("refresh_token"))
	d.whoamiIs(401, second.field("access_token"), "")

	// New keys, by which a new sign-in is refreshed, and the one of before by the old.
	d.pass(5 * time.Hour)
	_, err = d.rotate.Invoke(t.Context(), []byte(`{"rotate":"due"}`))
	d.must(err)
	if _, err := d.rotate.Invoke(t.Context(), []byte(`{"rotate":"perhaps"}`)); err == nil {
		t.Error("an event that rotate does not know is taken")
	}
	d.pass(time.Hour)
	third := signIn(200, "shop", secret)
	renew(oauth.PathRefresh, 200, "shop", first.field("refresh_token"))
	fourth := renew(oauth.PathRefresh, 200, "shop", third.field("refresh_token"))

	// An outage.
	d.feed.down.Store(true)
	d.pass(2 * time.Minute)
	renew(oauth.PathRefresh, 503, "shop", third.field("refresh_token"))
	signIn(503, "shop", secret)
	if got := d.getWhoami(fourth.field("access_token")); got < 500 {
		t.Errorf("/whoami in an outage: %d", got)
	}

	logs := map[string]string{}
	var all strings.Builder
	for name, f := range d.functions() {
		logs[name] = f.Logs()
		all.WriteString(logs[name])
	}
	events := insights.Read(all.String())
	onTheHour(events)
	oneLineAnOutcome(t, logs)

	names := strings.NewReplacer(ada.ID, "ADA", kid(t, d, events, "first"), "OLD-KEY", kid(t, d, events, "last"), "NEW-KEY")
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "observability.md"))
	d.must(err)
	queries := insights.Queries(string(page))
	fill := strings.NewReplacer(
		"NEW-KEY", kid(t, d, events, "last"),
		"GRANT-ID", grantOf(t, events, "carts"),
		"REQUEST-ID", fourth.header.Get("Apigw-Requestid"),
	)
	for _, name := range slices.Sorted(maps.Keys(queries)) {
		if name == "operators" { // TestAuditQuery in cmd/latchkey
			continue
		}
		table, err := insights.Run(fill.Replace(queries[name]), events)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch name {
		case "slowest":
			slowestFirst(t, table)
			continue
		case "latency": // what was slow differs from run to run, and how often copies were renewed
			for _, row := range table.Rows {
				if row[0] == "discovery.answered" {
					row[1] = "N"
				}
			}
			slices.SortFunc(table.Rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
		}
		for i, column := range table.Columns {
			if slices.Contains([]string{"latency_ms", "p50", "p99", "most"}, column) {
				for _, row := range table.Rows {
					row[i] = "MS"
				}
			}
		}
		got := blank(names.Replace(table.String()))
		if want := strings.TrimPrefix(found[name], "\n"); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
	metricsAddUp(t, d, events)
	for name := range found {
		if queries[name] == "" {
			t.Errorf("the page has no query %s any more", name)
		}
	}
}

// metricsAddUp: the metrics of the functions that wrote all that they had counted are those of their lines.
func metricsAddUp(t *testing.T, d *deployment, events []insights.Event) {
	t.Helper()
	table, err := insights.Run(`
		filter event = "metrics"
		| stats sum(Issued) as i, sum(Refreshed) as r, sum(RefreshReuse) as u, sum(Failed) as f, sum(Refused) as n, sum(CacheHits) as h,
		    sum(CacheMisses) as m by Function as function
		| filter function in ["authorizer", "refresh", "token"] | sort function`, events)
	d.must(err)
	if got := table.String(); got != `function | i | r | u | f | n | h | m
authorizer |  |  |  | 1 | 3 | 1 | 5
refresh |  | 3 |  | 1 | 3 |  | 
token | 5 | 2 | 1 | 1 | 8 |  | 
` {
		t.Errorf("the metrics are\n%s", got)
	}
	latencies, oldest, age := 0, 0.0, 0.0
	for _, e := range events {
		for name, value := range e {
			n, _ := value.(float64)
			switch metric, _, _ := strings.Cut(name, "."); metric {
			case "KMSLatency":
				latencies++
			case "KeyAge":
				oldest = max(oldest, n)
			case "RevocationsAge":
				age = max(age, n)
			}
		}
	}
	if calls := d.aws.Counts()["KMS.Sign"]; calls == 0 || latencies != calls {
		t.Errorf("%d latencies of %d calls of kms:Sign", latencies, calls)
	}
	if oldest < (25*time.Hour).Seconds() || oldest > (26*time.Hour).Seconds() {
		t.Errorf("the oldest key has %v s", oldest)
	}
	if age < (2 * time.Minute).Seconds() {
		t.Errorf("the oldest copy of the revocations had %v s", age)
	}
}

func slowestFirst(t *testing.T, table *insights.Table) {
	t.Helper()
	i := slices.Index(table.Columns, "latency_ms")
	last := math.Inf(1)
	for _, row := range table.Rows {
		ms, err := strconv.ParseFloat(row[i], 64)
		if err != nil || ms > last {
			t.Errorf("%v after %v ms", row, last)
		}
		last = ms
	}
	if len(table.Rows) != 20 {
		t.Errorf("%d rows", len(table.Rows))
	}
}

func with(env map[string]string, name, value string) map[string]string {
	env = maps.Clone(env)
	env[name] = value
	return env
}

// onTheHour moves the events' time, all by as much, so that the first is on a whole hour and bins are the same in each run.
func onTheHour(events []insights.Event) {
	var first time.Time
	at := func(e insights.Event) time.Time { at, _ := e["@timestamp"].(time.Time); return at }
	for _, e := range events {
		if t := at(e); first.IsZero() || t.Before(first) {
			first = t
		}
	}
	for _, e := range events {
		e["@timestamp"] = at(e).Add(-first.Sub(first.Truncate(time.Hour)))
	}
}

// kid is the id of the first or the last refresh key that a refresh was made by.
func kid(t *testing.T, d *deployment, events []insights.Event, which string) string {
	t.Helper()
	order := map[string]string{"first": "asc", "last": "desc"}[which]
	table, err := insights.Run(`filter event = "token.refreshed" and client_id = "shop" | sort @timestamp `+order+` | fields kid | limit 1`, events)
	d.must(err)
	return table.Rows[0][0]
}

func grantOf(t *testing.T, events []insights.Event, id string) string {
	t.Helper()
	table, err := insights.Run(`filter event = "token.issued" and client_id = "`+id+`" | fields grant_id`, events)
	if err != nil || len(table.Rows) != 1 {
		t.Fatalf("%v %v", table, err)
	}
	return table.Rows[0][0]
}

// asides are events that an outcome's line may have beside it.
var asides = []string{"metrics", "revocations.poll_failed", "revocations.stale_allowed", "keys.fetch_failed", "keys.reload_failed", "discovery.stale"}

// oneLineAnOutcome: each request that API Gateway sent a function has one line in its log, and no other line is of none.
func oneLineAnOutcome(t *testing.T, logs map[string]string) {
	t.Helper()
	for name, log := range logs {
		lines := map[string]int{}
		for line := range strings.Lines(log) {
			var l struct {
				Event     string
				RequestID string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
			switch {
			case slices.Contains(asides, l.Event) || l.Event == name+".started":
			case name == "rotate":
				if !strings.HasPrefix(l.Event, "keys.") && !strings.HasPrefix(l.Event, "custom_resource.") && l.Event != "rotate.refused" {
					t.Errorf("%s: %s", name, line)
				}
			case l.RequestID == "":
				t.Errorf("%s: a line of no request: %s", name, line)
			default:
				lines[l.RequestID]++
			}
		}
		for id, n := range lines {
			if n != 1 {
				t.Errorf("%s: %d lines of request %s", name, n, id)
			}
		}
		if name != "rotate" && name != "introspect" && len(lines) == 0 {
			t.Errorf("%s logged nothing", name)
		}
	}
}

var varies = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d [0-9:.]+`), "BIN"},
	{regexp.MustCompile(`\b1-[0-9a-f]{8}-[0-9a-f]{24}\b`), "TRACE"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "REQUEST"},
	{regexp.MustCompile(`\bg_[A-Za-z0-9_-]{22}`), "GRANT"},
	{regexp.MustCompile(`\| [A-Za-z0-9_-]{22} \|`), "| JTI |"},
	{regexp.MustCompile(`\| [A-Za-z0-9_-]{43} \|`), "| KEY |"},
}

func blank(s string) string {
	for _, v := range varies {
		s = v.pattern.ReplaceAllString(s, v.by)
	}
	return s
}

// found is what the page's queries find.
var found = map[string]string{
	"audit": `
time | event | client_id | sub | grant_id | error | reason | source_ip
TIME | token.failed | shop | shop |  | temporarily_unavailable |  | 127.0.0.1
TIME | refresh.failed | shop |  |  | temporarily_unavailable |  | 127.0.0.1
TIME | token.issued | shop | shop | GRANT |  |  | 127.0.0.1
TIME | rotate.refused |  |  |  | unknown_event |  | 
TIME | keys.rotate |  |  |  |  |  | 
TIME | keys.rotate |  |  |  |  |  | 
TIME | refresh.refused | shop |  |  | invalid_grant | revoked | 127.0.0.1
TIME | token.revoked | shop | shop | GRANT |  |  | 127.0.0.1
TIME | token.refused | carts | carts | GRANT | invalid_grant | reused | 127.0.0.1
TIME | token.issued | carts | carts | GRANT |  |  | 127.0.0.1
TIME | refresh.refused | carts | shop | GRANT | invalid_grant | other_client | 127.0.0.1
TIME | refresh.refused | shop |  |  | invalid_grant | malformed | 127.0.0.1
TIME | token.refused | shop |  |  | invalid_grant |  | 127.0.0.1
TIME | token.refused | shop |  |  | invalid_grant |  | 127.0.0.1
TIME | token.issued | shop | ADA | GRANT |  |  | 127.0.0.1
TIME | token.refused | shop |  |  | invalid_client |  | 127.0.0.1
TIME | token.refused | guest |  |  | invalid_client |  | 127.0.0.1
TIME | token.refused | test |  |  | invalid_client |  | 127.0.0.1
TIME | token.refused | root |  |  | invalid_client |  | 127.0.0.1
TIME | token.refused | admin |  |  | invalid_client |  | 127.0.0.1
TIME | token.issued | shop | shop | GRANT |  |  | 127.0.0.1
TIME | token.issued | shop | shop | GRANT |  |  | 127.0.0.1
`,
	"broken": `
event | cause | times | since | last
revocations.poll_failed | fetching the revocations: status 503 | 3 | TIME | TIME
authorizer.failed | looking for revocations: the revocations in memory are out of date: fetching the revocations: status 503 | 1 | TIME | TIME
token.failed | the revocations in memory are out of date: fetching the revocations: status 503 | 1 | TIME | TIME
refresh.failed | looking for revocations: the revocations in memory are out of date: fetching the revocations: status 503 | 1 | TIME | TIME
rotate.refused | the event is none that this function knows: {"rotate":"due"} rotates what is due, {"emergency":"all"} all at once | 1 | TIME | TIME
`,
	"causes": `
time | event | error | cause | detail | request_id
TIME | refresh.refused | invalid_grant | invalid token: revoked: its grant was revoked | its grant was revoked | REQUEST
TIME | refresh.refused | invalid_grant | invalid token: malformed: not three parts joined by dots | not three parts joined by dots | REQUEST
TIME | token.refused | invalid_grant | unknown user |  | REQUEST
TIME | token.refused | invalid_grant | wrong password |  | REQUEST
TIME | token.refused | invalid_client | wrong secret |  | REQUEST
`,
	"denied": `
client_id | reason | method | route | times | has
shop | scope | GET | /whoami | 1 | orders:read
`,
	"grant": `
time | event | client_id | sub | jti | scope | reason
TIME | token.issued | carts | carts | JTI | orders:read orders:write | 
TIME | token.refreshed | carts | carts | JTI | orders:read orders:write | 
TIME | token.refreshed | carts | carts | JTI | orders:read orders:write | 
TIME | token.refused | carts | carts |  | orders:read orders:write | reused
`,
	"keys": `
time | event | ring | step | made | dropped.0 | published | cause
TIME | keys.init |  |  |  |  |  | 
TIME | keys.rotate | access |  | KEY |  | 1 | 
TIME | keys.rotate | refresh |  | NEW-KEY |  | 0 | 
`,
	"latency": `
event | n | p50 | p99 | most
authorizer.allowed | 2 | MS | MS | MS
authorizer.denied | 1 | MS | MS | MS
authorizer.failed | 1 | MS | MS | MS
authorizer.refused | 2 | MS | MS | MS
discovery.answered | N | MS | MS | MS
introspect.active | 1 | MS | MS | MS
keys.init | 1 | MS | MS | MS
keys.rotate | 2 | MS | MS | MS
refresh.failed | 1 | MS | MS | MS
refresh.refused | 3 | MS | MS | MS
revoke.ignored | 1 | MS | MS | MS
token.failed | 1 | MS | MS | MS
token.issued | 5 | MS | MS | MS
token.refreshed | 5 | MS | MS | MS
token.refused | 8 | MS | MS | MS
token.revoked | 1 | MS | MS | MS
`,
	"old-keys": `
kid | client_id | refreshes | last
OLD-KEY | shop | 2 | TIME
OLD-KEY | carts | 2 | TIME
`,
	"probing-apis": `
bin(5m) | api | reason | times
BIN | local00000 | revoked | 1
BIN | local00000 | malformed | 1
`,
	"probing-clients": `
source_ip | cause | tries | clients | last
127.0.0.1 | unknown client | 4 | 4 | TIME
`,
	"probing-passwords": `
bin(1h) | client_id | source_ip | cause | tries
BIN | shop | 127.0.0.1 | unknown user | 1
BIN | shop | 127.0.0.1 | wrong password | 1
`,
	"refused": `
event | error | reason | times
token.refused | invalid_client |  | 5
token.refused | invalid_grant |  | 2
rotate.refused | unknown_event |  | 1
authorizer.refused | invalid_token | revoked | 1
refresh.refused | invalid_grant | revoked | 1
token.refused | invalid_grant | reused | 1
refresh.refused | invalid_grant | other_client | 1
refresh.refused | invalid_grant | malformed | 1
authorizer.denied | insufficient_scope | scope | 1
authorizer.refused | invalid_token | malformed | 1
`,
	"request": `
time | event | error | cause | latency_ms | trace_id
TIME | token.refreshed |  |  | MS | TRACE
`,
	"reuse": `
time | client_id | sub | grant_id | source_ip | request_id
TIME | carts | carts | GRANT | 127.0.0.1 | REQUEST
`,
	"revocations": `
client_id | revocations | last
shop | 1 | TIME
`,
	"signed-in": `
client_id | sub | grant_type | sign_ins | last
shop | shop | client_credentials | 3 | TIME
carts | carts | client_credentials | 1 | TIME
shop | ADA | password | 1 | TIME
`,
}
