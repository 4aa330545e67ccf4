package e2e

import (
	"context"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// memoryLog is a revocation.Log of many entries: DynamoDB's emulators would take longer to fill than the test takes.
type memoryLog struct {
	entries []revocation.Entry // in the order of At; later ones than now are not said yet
	now     func() time.Time
}

func (l memoryLog) Append(context.Context, revocation.Entry) error { return fmt.Errorf("full") }
func (l memoryLog) FeedID(context.Context) (string, error)         { return "scale", nil }

func (l memoryLog) Entries(_ context.Context, from time.Time, yield func(revocation.Entry) bool) error {
	i, _ := slices.BinarySearchFunc(l.entries, from, func(e revocation.Entry, t time.Time) int { return e.At.Compare(t) })
	for _, e := range l.entries[i:] {
		if e.At.After(l.now()) || !yield(e) {
			return nil
		}
	}
	return nil
}

// newMemoryLog makes entries, n of which are said in the time before now, evenly, and others go on like this; most of them
// are of grants.
func newMemoryLog(n int, over time.Duration, now func() time.Time) memoryLog {
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
	return memoryLog{l, now}
}

// The refresh function as it is built, with a million revocations that are live; docs/scale.md has the figures. They are
// logged; what fails the test is a multiple of them, or a figure that must not grow with the number of revocations.
func TestScale(t *testing.T) {
	n := 50_000
	if testenv.Long() {
		n = 1_000_000
	}
	const lifetime = 720 * time.Hour
	d := deployWith(t, secretsManager, map[string]string{"MAX_GRANT_LIFETIME": lifetime.String()})
	secret := d.register(client.Spec{ID: "shop"})
	// The feed's own cold start reads the log hour by hour, whether or not there is anything in it.
	feedCPU, begun := cpuTime(t, d.discovery.PID()), time.Now()
	d.call("GET", fmt.Sprintf("%s?since=%d", revocation.PathFeed, d.now().Add(-lifetime).Unix()), nil, "").is(200)
	t.Logf("the feed's cold start over %v: %v, %v of it processor time, %v", lifetime, time.Since(begun).Round(time.Millisecond),
		cpuTime(t, d.discovery.PID())-feedCPU, d.feedAWS.Counts())
	held := d.signIn("shop", secret).field("refresh_token")

	d.feed.source.Store(revocation.NewFeed(revocation.FeedConfig{Source: newMemoryLog(n, lifetime, d.now), Now: d.now}))
	// The feed reads its log once before that is measured: it is another machine's work.
	for after, more := "", true; more; {
		page, err := d.feed.source.Load().Page(t.Context(), after, d.now().Add(-lifetime-2*time.Hour))
		d.must(err)
		after, more = page.Next, page.More
	}

	renew := func() (took time.Duration) {
		t.Helper()
		begun := time.Now()
		if r := d.renew("shop", held); r.Status != 200 {
			t.Fatalf("%d %s\n%s", r.Status, r.Body, d.refresh.Logs())
		}
		return time.Since(begun)
	}
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
