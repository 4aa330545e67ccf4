package revocation

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// driver has the reference reader answer one question a line: the time, a kid, claims.
const driver = `
import json, sys
from revocation_reader import View
now = [0]
view = View(sys.argv[1], int(sys.argv[2]), lambda: now[0])
for line in sys.stdin:
    now[0], kid, claims = json.loads(line)
    try:
        print("revoked" if view.revoked(kid, claims) else "lives", len(view.said), flush=True)
    except Exception as e:
        print("outage", type(e).__name__, e, flush=True)
`

// reader is the reference reader of docs, at work.
type reader struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
	now func() time.Time
}

func startReader(t *testing.T, url string, window time.Duration, now func() time.Time) *reader {
	t.Helper()
	cmd := exec.Command(testenv.Python(t), "-B", "-c", driver, url, fmt.Sprint(int(window/time.Second)))
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(testenv.Root(t), "docs"), "NO_PROXY=*", "no_proxy=*")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &reader{t, in, bufio.NewReader(out), now}
}

func (r *reader) asks(f Facts) string {
	r.t.Helper()
	epochs := map[string]int64{}
	for _, e := range f.Epochs {
		epochs[e.Handle] = e.N
	}
	question, err := json.Marshal([]any{r.now().Unix(), f.KeyID, map[string]any{
		"grant_id": f.GrantID, "jti": f.TokenID, "sub": f.Subject, "iss": f.Issuer, "auth_time": f.AuthTime.Unix(), "epochs": epochs,
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.in.Write(append(question, '\n')); err != nil {
		r.t.Fatal(err)
	}
	line, err := r.out.ReadString('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestReferenceReader holds the reader in docs to Set's verdicts, on the feed as it is served.
func TestReferenceReader(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "revocation_reader.py"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > 60 {
		t.Errorf("it has %d lines, and the docs say 60 at most", lines)
	}
	var clock clocktest.Clock
	clock.Move(100 * time.Hour)
	f, log := feedOf(&clock)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	const window = 2 * time.Hour
	r := startReader(t, server.URL+PathFeed, window, clock.Now)

	random := rand.New(rand.NewPCG(5, 6))
	name := func() string { return fmt.Sprint("id-", random.IntN(60)) }
	past := func(d time.Duration) time.Time { return clock.Now().Add(-time.Duration(random.Int64N(int64(d)))) }
	anything := func() Entry {
		switch at := past(80 * time.Second); random.IntN(12) {
		case 0:
			return SigningKey(name(), past(90*time.Hour))
		case 1:
			return Before(past(90*time.Hour).Add(-90*time.Hour), at)
		case 2, 3, 4:
			return Below(name(), random.Int64N(5), at)
		case 5, 6:
			return Subject(name(), past(4*time.Hour), at)
		case 7:
			return Issuer(name(), past(4*time.Hour), at)
		case 8:
			return Token(name(), at)
		default:
			return Grant(name(), at)
		}
	}
	verdicts := map[string]int{}
	for round := range 12 {
		log.set(func(l *memoryLog) {
			for range 4 {
				l.entries = append(l.entries, anything())
			}
			if round == 5 { // more than a page, at once
				for i := range PageSize + 100 {
					l.entries = append(l.entries, numbered(i, clock.Now()))
				}
			}
			if round == 8 { // restored, under another name
				l.id = "feed-2"
				*f = *NewFeed(f.FeedConfig)
			}
		})
		// What the reader must know is all that was said within the window, and always.
		set := NewSet()
		for _, e := range log.entries {
			set.Add(e)
		}
		for range 150 {
			facts := Facts{
				KeyID: name() + "-" + fmt.Sprint(random.IntN(4)), GrantID: name() + "-", TokenID: name() + "-", Subject: name(), Issuer: name(),
				AuthTime: past(150 * time.Hour), Epochs: []Epoch{{name(), random.Int64N(6)}, {"other", 1}},
			}
			switch random.IntN(4) {
			case 0:
				facts.GrantID = name()
			case 1:
				facts.TokenID = name()
			case 2:
				facts.KeyID = name()
			}
			want := "lives"
			if set.Revoked(&facts) != "" {
				want = "revoked"
			}
			verdicts[want]++
			if got, _, _ := strings.Cut(r.asks(facts), " "); got != want {
				t.Fatalf("round %d: %+v: the reader says %s, Set %s (%s)", round, facts, got, want, set.Revoked(&facts))
			}
		}
		clock.Move(PollInterval)
	}
	if verdicts["lives"] < 100 || verdicts["revoked"] < 100 {
		t.Errorf("verdicts: %v", verdicts)
	}

	// What can't match any more is forgotten.
	live := Facts{GrantID: "g_live", Subject: "nobody", AuthTime: clock.Now()}
	clock.Move(window + margin + time.Hour)
	log.set(func(l *memoryLog) { l.entries = []Entry{Grant("g_1", clock.Now())} })
	var held int
	if _, err := fmt.Sscanf(r.asks(live), "lives %d", &held); err != nil || held > 60 {
		t.Errorf("%d entries are held after the window, %v", held, err)
	}

	// It goes stale, says so, and recovers.
	log.set(func(l *memoryLog) { l.failure = errDown })
	clock.Move(MaxStaleness)
	if got := r.asks(live); !strings.HasPrefix(got, "lives") {
		t.Errorf("within the time it may be stale: %s", got)
	}
	clock.Move(time.Second)
	if got := r.asks(live); !strings.HasPrefix(got, "outage HTTPError") {
		t.Errorf("past it: %s", got)
	}
	log.set(func(l *memoryLog) { l.failure = nil })
	clock.Move(time.Second)
	if got := r.asks(live); !strings.HasPrefix(got, "lives") {
		t.Errorf("after it: %s", got)
	}

	// What it can't read it can't obey.
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Entry{Kind: 'z', At: clock.Now()}) })
	clock.Move(MaxStaleness + time.Second)
	if got := r.asks(live); !strings.HasPrefix(got, "outage") || !strings.Contains(got, "does not know") {
		t.Errorf("of a kind to come: %s", got)
	}
}

// TestReferenceReaderClock: a reader whose clock was ahead, or was set back after it had forgotten by it, misses nothing.
func TestReferenceReaderClock(t *testing.T) {
	var clock clocktest.Clock
	clock.Move(100 * time.Hour)
	f, log := feedOf(&clock, Grant("g_gone", clock.Now().Add(-10*time.Minute)))
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	var ahead time.Duration
	r := startReader(t, server.URL+PathFeed, time.Hour, func() time.Time { return clock.Now().Add(ahead) })
	gone := Facts{GrantID: "g_gone", Subject: "u", AuthTime: clock.Now().Add(-15 * time.Minute)}
	for _, ahead = range []time.Duration{2 * time.Hour, 0} {
		clock.Move(PollInterval + time.Second)
		if got, want := r.asks(gone), map[bool]string{true: "outage", false: "revoked"}[ahead > 0]; !strings.HasPrefix(got, want) {
			t.Errorf("%s ahead: %s, want %s", ahead, got, want)
		}
	}
	for _, ahead = range []time.Duration{3 * time.Hour, 0} {
		clock.Move(PollInterval + time.Second)
		if got, want := r.asks(gone), map[bool]string{true: "outage", false: "revoked"}[ahead > 0]; !strings.HasPrefix(got, want) {
			t.Errorf("later, %s ahead: %s, want %s", ahead, got, want)
		}
	}
	// The feed is away just then: it does not go on by what it has.
	ahead = 3 * time.Hour
	clock.Move(PollInterval + time.Second)
	r.asks(gone)
	ahead = 0
	log.set(func(l *memoryLog) { l.failure = errDown })
	clock.Move(PollInterval + time.Second)
	if got := r.asks(Facts{GrantID: "g_2", Subject: "u", AuthTime: clock.Now()}); !strings.HasPrefix(got, "outage") {
		t.Errorf("with the feed away: %s", got)
	}
}

// The page about the feed says what the code does.
func TestFeedDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "revocation-feed.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		PathFeed, "40,000", fmt.Sprintf("%d seconds", int(Overlap/time.Second)), "max-age=5", "(revocation_reader.py)",
		fmt.Sprintf("%d seconds", int(MaxStaleness/time.Second)), fmt.Sprintf("%d seconds", int(PollInterval/time.Second)),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	// Its examples are entries, and each kind has one.
	kinds := map[Kind]bool{}
	for _, m := range regexp.MustCompile("`([a-z] [A-Za-z0-9_-]{22} \\d+ \\d+)`").FindAllStringSubmatch(string(text), -1) {
		e, err := Parse(m[1])
		if err != nil {
			t.Errorf("%q: %v", m[1], err)
		}
		kinds[e.Kind] = true
	}
	if len(kinds) != len(all(t0)) {
		t.Errorf("it shows entries of %d kinds", len(kinds))
	}
}
