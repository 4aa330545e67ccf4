package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// scaleTable is a revocations table of many entries behind DynamoDB's Query, as far as discovery asks for it, since the
// emulators would take hours to fill and answer. All else is the emulator's.
type scaleTable struct {
	entries []revocation.Entry // in the order of At; later ones than now are not said yet
	now     func() time.Time
	others  http.Handler
	queries atomic.Int64
	read    atomic.Int64 // items
}

func (s *scaleTable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Query") {
		s.others.ServeHTTP(w, r)
		return
	}
	s.queries.Add(1)
	var in struct {
		Limit                     int
		ExclusiveStartKey         map[string]struct{ S string }
		ExpressionAttributeValues map[string]struct{ S string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	value := func(name string) string { return in.ExpressionAttributeValues[name].S }
	body := append(make([]byte, 0, 500_000), `{"Items":[`...)
	count, lastKey := 0, ""
	if day, err := time.Parse("2006-01-02", value(":day")); err == nil { // no entry is told always
		// Its entries are of a second each, so that their order is that of the sort keys.
		from := max(value(":from"), in.ExclusiveStartKey["at"].S)
		begin := day
		if ms, err := strconv.ParseInt(from[:min(13, len(from))], 10, 64); err == nil && time.UnixMilli(ms).After(day) {
			begin = time.UnixMilli(ms)
		}
		i, _ := slices.BinarySearchFunc(s.entries, begin, func(e revocation.Entry, t time.Time) int { return e.At.Compare(t) })
		for _, e := range s.entries[i:] {
			key := fmt.Sprintf("%013d#%c%s#%d", e.At.UnixMilli(), e.Kind, base64.RawURLEncoding.EncodeToString(e.Key[:]), e.N)
			if !e.At.Before(day.Add(24*time.Hour)) || e.At.After(s.now()) || key > value(":last") {
				break
			}
			if key < value(":from") || key <= in.ExclusiveStartKey["at"].S {
				continue
			}
			if count == in.Limit {
				body = fmt.Appendf(body, `],"LastEvaluatedKey":{"day":{"S":%q},"at":{"S":%q}}`, value(":day"), lastKey)
				break
			}
			if count++; count > 1 {
				body = append(body, ',')
			}
			body = append(append(append(body, `{"at":{"S":"`...), key...), `"}}`...)
			lastKey = key
		}
	}
	if !bytes.Contains(body[max(0, len(body)-300):], []byte("LastEvaluatedKey")) {
		body = append(body, ']')
	}
	s.read.Add(int64(count))
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	body = fmt.Appendf(body, `,"Count":%d,"ScannedCount":%d}`, count, count)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// newScaleTable makes entries, n of which are said in the time before now, evenly, and others go on like this; most of them
// are of grants.
func newScaleTable(n int, over time.Duration, now func() time.Time) *scaleTable {
	l := make([]revocation.Entry, n+n/20)
	start := now().Add(-over)
	for i := range l {
		at := start.Add(time.Duration(float64(over) * float64(i) / float64(n)))
		id := fmt.Sprintf("g_%022d", i)
		switch {
		case i%10 == 0:
			l[i] = revocation.Token(id, at)
		case i%100 == 1:
			l[i] = revocation.Below(id, 2, at)
		default:
			l[i] = revocation.Grant(id, at)
		}
	}
	return &scaleTable{entries: l, now: now}
}

// The refresh function and the feed as they are built, with a million revocations that are live; docs/scale.md has the
// figures. They are logged; what fails the test is a multiple of them, or a figure that must not grow with the number of
// revocations.
func TestScale(t *testing.T) {
	n := 50_000
	if testenv.Long() {
		n = 1_000_000
	}
	const lifetime = 720 * time.Hour
	d := deployWith(t, secretsManager, map[string]string{"MAX_GRANT_LIFETIME": lifetime.String()})
	secret := d.register(client.Spec{ID: "shop"})
	held := d.signIn("shop", secret).field("refresh_token")

	table := newScaleTable(n, lifetime, d.now)
	emulator, err := url.Parse(d.feedAWS.Endpoint)
	d.must(err)
	table.others = httputil.NewSingleHostReverseProxy(emulator)
	server := httptest.NewServer(table)
	t.Cleanup(server.Close)
	freshFeed := func() {
		d.discovery.Kill()
		env := maps.Clone(d.env)
		env["AWS_ENDPOINT_URL"] = server.URL
		d.discovery = d.start("discovery", env, "ISSUER", "KEYS_TABLE", "REVOCATIONS_TABLE", "MAX_GRANT_LIFETIME")
		d.gateways()
		d.must(d.discovery.Ready(t.Context()))
	}

	// The feed's own cold start, page by page, by whoever asks for all there is.
	freshFeed()
	feedStarted := memory(t, d.discovery.PID(), "VmRSS")
	var pageCPU, allCPU, slowest time.Duration
	feedPages, faults := 0, 0
	for after, more := "", true; more; {
		query := fmt.Sprintf("since=%d", d.now().Add(-lifetime-2*time.Hour).Unix())
		if after != "" {
			query = "after=" + after
		}
		before, begun := cpuTime(t, d.discovery.PID()), time.Now()
		answer := d.call("GET", revocation.PathFeed+"?"+query, nil, "")
		if answer.status == 503 && faults < 30 { // as any reader does; on a busy machine a read of the table may be too slow
			faults++
			d.pass(time.Second)
			continue
		}
		if answer.status != 200 {
			t.Fatalf("page %d: %d %s\n%s", feedPages, answer.status, answer.body, d.discovery.Logs())
		}
		slowest = max(slowest, time.Since(begun))
		used := cpuTime(t, d.discovery.PID()) - before
		pageCPU, allCPU = max(pageCPU, used), allCPU+used
		var page revocation.Page
		d.must(json.Unmarshal([]byte(answer.body), &page))
		after, more = page.Next, page.More
		if feedPages++; feedPages == 1 {
			if most := int64(2 * revocation.PageSize); table.read.Load() > most {
				t.Errorf("the first page read %d entries, more than %d", table.read.Load(), most)
			}
			t.Logf("the feed's first page: %d queries, %d entries read", table.queries.Load(), table.read.Load())
		}
	}
	feedPeak := memory(t, d.discovery.PID(), "VmHWM")
	t.Logf("the feed, cold: %d pages and %d faults, %d queries, %d entries read, %v of processor time; a page takes %v at most, of it %v of processor time",
		feedPages, faults, table.queries.Load(), table.read.Load(), allCPU, slowest.Round(time.Millisecond), pageCPU)
	t.Logf("the feed's memory: %.1f MB at first, %.1f MB at the most", mb(feedStarted), mb(feedPeak))
	if read := table.read.Load(); read > int64(n+n/4) {
		t.Errorf("%d entries were read of %d", read, n)
	}
	queries := table.queries.Load()
	d.pass(revocation.FeedMemory)
	d.call("GET", fmt.Sprintf("%s?since=0", revocation.PathFeed), nil, "").is(200)
	if again := table.queries.Load() - queries; again > 12 {
		t.Errorf("whoever asks for all once more causes %d queries", again)
	}

	renew := func() (took time.Duration) {
		t.Helper()
		begun := time.Now()
		if r := d.renew("shop", held); r.Status != 200 {
			t.Fatalf("%d %s\n%s", r.Status, r.Body, d.refresh.Logs())
		}
		return time.Since(begun)
	}
	// A new sandbox of the refresh function, loading from a feed that has loaded nothing itself. A load is given 8 s, which a
	// busy machine may take longer for; what it got stays, and the next request goes on.
	freshFeed()
	begun := time.Now()
	for tries := 1; ; tries++ {
		r := d.renew("shop", held)
		if r.Status == 200 {
			t.Logf("both cold: %v in %d requests", time.Since(begun).Round(time.Millisecond), tries)
			break
		}
		if r.Status != 503 || tries == 30 {
			t.Fatalf("%d %s\n%s\n%s", r.Status, r.Body, d.refresh.Logs(), d.discovery.Logs())
		}
		d.pass(time.Second)
	}

	// And one that loads from a feed which has.
	d.startVerifiers()
	d.gateways()
	d.must(d.refresh.Ready(t.Context()))
	started := memory(t, d.refresh.PID(), "VmRSS")
	d.feed.polls.Store(0)
	d.feed.bytes.Store(0)
	loadCPU := cpuTime(t, d.refresh.PID())
	load := renew()
	loadCPU = cpuTime(t, d.refresh.PID()) - loadCPU
	loadBytes, pages := d.feed.bytes.Swap(0), d.feed.polls.Swap(0)

	// Polls while nothing else is said: what the overlap tells again and again.
	const rounds = 40
	for range rounds {
		d.pass(revocation.PollInterval)
		renew()
	}
	pollBytes := d.feed.bytes.Load() / rounds
	polls := d.feed.polls.Load()

	fastest, total := time.Duration(math.MaxInt64), time.Duration(0)
	const refreshes = 2000
	cpu := cpuTime(t, d.refresh.PID())
	for range refreshes {
		took := renew()
		fastest, total = min(fastest, took), total+took
	}
	cpu = cpuTime(t, d.refresh.PID()) - cpu
	rss, peak := memory(t, d.refresh.PID(), "VmRSS"), memory(t, d.refresh.PID(), "VmHWM")
	each := cpu / refreshes

	t.Logf("%d revocations live:", n)
	t.Logf("memory: %.1f MB before the load, %.1f MB after, %.1f MB at the most: %.0f bytes a revocation", mb(started), mb(rss), mb(peak), float64(rss-started)/float64(n))
	t.Logf("cold load: %d pages, %.1f MB, %v with the first refresh, %v of it processor time; for 1,000 sandboxes %.1f GB", pages, mb(loadBytes), load.Round(time.Millisecond), loadCPU, mb(loadBytes)*1000/1024)
	t.Logf("polls: %d in %d intervals, %d bytes each", polls, rounds, pollBytes)
	t.Logf("a refresh: %v of processor time, %v fastest and %v on average with thawing, freezing and this test's share; 100,000 a minute are %.2f processors",
		each, fastest, total/refreshes, each.Seconds()*100_000/60)

	perEntry := float64(loadBytes) / float64(n)
	if perEntry > 64 {
		t.Errorf("%.1f bytes a revocation in the feed", perEntry)
	}
	if limit := int64(200 << 20); peak > limit {
		t.Errorf("the function took %.1f MB, of the template's 256", mb(peak))
	}
	if polls != rounds {
		t.Errorf("%d polls in %d intervals", polls, rounds)
	}
	// 90 s of the overlap and 15 s of news, as many as are said in that time, and the page around them.
	if most := int64(400 + 64*(1+105*float64(n)/lifetime.Seconds())); pollBytes > most {
		t.Errorf("a poll takes %d bytes, which is more than %d", pollBytes, most)
	}
	if load > 8*time.Second {
		t.Errorf("the cold load took %v", load)
	}
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

// memory reads a figure of a process's memory, in bytes.
func memory(t *testing.T, pid int, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc to read it in") // another system than Lambda's
	}
	found := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in\n%s", name, text)
	}
	kb, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// cpuTime is the processor time that a process has had, user's and system's.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// Fields 14 and 15 of proc_pid_stat(5), counted in hundredths of a second; the name, field 2, may have spaces.
	fields := regexp.MustCompile(`\s+`).Split(string(stat[slices.Index(stat, ')')+2:]), -1)
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
