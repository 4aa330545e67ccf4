package dynamostore_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// queries is a DynamoDB that answers queries with what it has of a day, entries of a second each, and notes what was asked.
type queries struct {
	t       *testing.T
	entries func(day string) int

	mu                sync.Mutex
	asked             []string // days
	now, most, answer int
}

func (q *queries) store(now func() time.Time) *dynamostore.RevocationStore {
	cfg := testenv.AWSConfig("http://dynamodb.invalid")
	cfg.HTTPClient = clientFunc(q.do)
	s, err := dynamostore.NewRevocations(dynamodb.NewFromConfig(cfg), "r")
	must(q.t, err)
	s.Now = now
	return s
}

func (q *queries) do(r *http.Request) (*http.Response, error) {
	var in struct {
		ConsistentRead            bool
		Limit                     int
		ExclusiveStartKey         map[string]struct{ S string }
		ExpressionAttributeValues map[string]struct{ S string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.now++
	q.most = max(q.most, q.now)
	q.mu.Unlock()
	runtime.Gosched() // so that others come in between
	q.mu.Lock()
	defer q.mu.Unlock()
	q.now--
	day := in.ExpressionAttributeValues[":day"].S
	q.asked = append(q.asked, day)
	if !in.ConsistentRead || in.Limit == 0 {
		q.t.Errorf("asked of %s: consistent %v, limit %d", day, in.ConsistentRead, in.Limit)
	}
	begin, _ := time.Parse("2006-01-02", day)
	from, last := in.ExpressionAttributeValues[":from"].S, in.ExpressionAttributeValues[":last"].S
	if start := in.ExclusiveStartKey["at"].S; start != "" {
		from = start + "~" // what comes after it
	}
	items, more := []string{}, ""
	for i := range q.entries(day) {
		at := fmt.Sprintf("%013d#gAAAAAAAAAAAAAAAAAAAAAA#0", begin.Add(time.Duration(i)*time.Second).UnixMilli())
		if at < from || at > last {
			continue
		}
		if len(items) == in.Limit {
			more = fmt.Sprintf(`,"LastEvaluatedKey":{"day":{"S":"%s"},"at":%s}`, day, items[len(items)-1][len(`{"at":`):len(items[len(items)-1])-1])
			break
		}
		items = append(items, `{"at":{"S":"`+at+`"}}`)
	}
	q.answer += len(items)
	return answer(r, http.StatusOK, `{"Items":[`+strings.Join(items, ",")+`]`+more+`}`), nil
}

// TestRevocationReads looks at what is asked of DynamoDB: which days, how many at once, and that each read is consistent.
func TestRevocationReads(t *testing.T) {
	var clock clocktest.Clock // it begins at midnight
	at := clock.Now()
	for _, test := range []struct {
		now, from, until time.Time
		want             int
	}{
		{at, at.Add(-90 * time.Second), time.Time{}, 2},
		{at, at, time.Time{}, 1},
		{at.Add(12 * time.Hour), at.Add(12*time.Hour - 90*time.Second), time.Time{}, 1},
		{at.Add(23*time.Hour + 30*time.Minute), at.Add(23 * time.Hour), time.Time{}, 2}, // an hour ahead is taken
		{at, at.Add(-720 * time.Hour), time.Time{}, 31},
		{at, at.Add(-720 * time.Hour), at.Add(-718 * time.Hour), 1},
		{at, at.Add(-720 * time.Hour), at.Add(-696 * time.Hour), 1},
		{at, at.Add(1000 * time.Hour), time.Time{}, 0},
		{at, at, at, 0},
		{at, time.Time{}, time.Time{}, int(revocation.Retention/(24*time.Hour)) + 1}, // no further back than entries are kept
		{at, time.Time{}, at.Add(-revocation.Retention), 0},
	} {
		q := &queries{t: t, entries: func(string) int { return 0 }}
		s := q.store(func() time.Time { return test.now })
		must(t, s.Entries(t.Context(), test.from, test.until, func(revocation.Entry) bool { t.Error("yield was called"); return true }))
		seen := map[string]bool{}
		for _, day := range q.asked {
			seen[day] = true
		}
		if len(q.asked) != test.want || len(seen) != test.want {
			t.Errorf("from %s until %s: %d reads, of %d days; want %d", test.from, test.until, len(q.asked), len(seen), test.want)
		}
		if q.most > 8 || test.want > 100 && q.most < 2 {
			t.Errorf("%d reads at once", q.most)
		}
	}
}

// TestRevocationReadsStop: who has seen enough has not had much more read than that, be the days full or empty.
func TestRevocationReadsStop(t *testing.T) {
	var clock clocktest.Clock
	for _, perDay := range []int{1, 100, 33_000} {
		const enough = 40_000
		q := &queries{t: t, entries: func(string) int { return perDay }}
		seen, last := 0, time.Time{}
		must(t, q.store(clock.Now).Entries(t.Context(), clock.Now().Add(-300*24*time.Hour), time.Time{}, func(e revocation.Entry) bool {
			if !e.At.After(last) {
				t.Fatalf("%s after %s", e.At, last)
			}
			last = e.At
			seen++
			return seen < enough
		}))
		if want := min(enough, 301*perDay); seen < want || q.answer > want+10_000 {
			t.Errorf("%d a day: saw %d, want %d; %d were read in %d queries", perDay, seen, want, q.answer, len(q.asked))
		}
	}
}

// TestRevocationItems looks at what is written.
func TestRevocationItems(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		db := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
		names := tables(t, db)
		s, err := dynamostore.NewRevocations(db, names.Revocations)
		must(t, err)
		var clock clocktest.Clock
		clock.Move(90 * time.Minute)
		s.Now = clock.Now
		must(t, s.Append(t.Context(), revocation.Below("c_1", 7, clock.Now())))
		must(t, s.Append(t.Context(), revocation.SigningKey("k_1", clock.Now())))
		out, err := db.Scan(t.Context(), &dynamodb.ScanInput{TableName: &names.Revocations})
		must(t, err)
		for _, item := range out.Items {
			day, at := item["day"].(*types.AttributeValueMemberS).Value, item["at"].(*types.AttributeValueMemberS).Value
			expires, has := item["expires_at"].(*types.AttributeValueMemberN)
			switch day {
			case "2026-01-01":
				if want := strconv.FormatInt(clock.Now().Add(400*24*time.Hour).Unix(), 10); !has || expires.Value != want || len(item) != 3 {
					t.Errorf("%v: want it to expire at %s", item, want)
				}
				if want := "1767231000000#b6chYowAFBh1OfeTwPVP4IA#7"; at != want {
					t.Errorf("at is %s, want %s", at, want)
				}
			case "always":
				if has || !strings.HasPrefix(at, "1767231000000#k") || len(item) != 2 {
					t.Errorf("%v: want it never to expire", item)
				}
			default:
				t.Errorf("an item of %s", day)
			}
		}
		if len(out.Items) != 2 {
			t.Errorf("%d items", len(out.Items))
		}
		// What nobody would read is not taken.
		must(t, s.Append(t.Context(), revocation.Grant("g_1", clock.Now().Add(time.Hour))))
		if err := s.Append(t.Context(), revocation.Grant("g_1", clock.Now().Add(time.Hour+time.Second))); err == nil {
			t.Error("an entry of more than an hour ahead was taken")
		}
	})
}

// TestRevocationSkew: of an operator whose clock is wrong nothing is taken, since nothing can be taken back.
func TestRevocationSkew(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig(testenv.Dynalite(t)))
	names := tables(t, db)
	s, err := dynamostore.NewRevocations(db, names.Revocations)
	must(t, err)
	s.MaxSkew = 30 * time.Second
	now := time.Now()
	items := func() int {
		out, err := db.Scan(t.Context(), &dynamodb.ScanInput{TableName: &names.Revocations})
		must(t, err)
		return len(out.Items)
	}
	must(t, s.Append(t.Context(), revocation.Grant("g_1", now)))
	for _, off := range []time.Duration{-2 * time.Minute, 2 * time.Minute, 365 * 24 * time.Hour} {
		s.Now = func() time.Time { return time.Now().Add(off) }
		for _, e := range []revocation.Entry{revocation.Grant("g_2", now.Add(off)), revocation.Before(now.Add(off), now.Add(off))} {
			err := s.Append(t.Context(), e)
			if err == nil || !strings.Contains(err.Error(), "the clock of this machine is") || !strings.Contains(err.Error(), "nothing was said") {
				t.Errorf("a clock that is %s off: %v", off, err)
			}
		}
	}
	if n := items(); n != 1 {
		t.Errorf("%d items: what was refused was written", n)
	}
	s.MaxSkew, s.Now = 0, nil
	must(t, s.Append(t.Context(), revocation.Grant("g_1", now.Add(-time.Hour))))

	// What took long to get there is said, and may be missed: it has to be said again.
	cfg := testenv.AWSConfig("http://dynamodb.invalid")
	cfg.HTTPClient = clientFunc(func(r *http.Request) (*http.Response, error) {
		res := answer(r, http.StatusOK, "{}")
		res.Header.Set("Date", now.UTC().Format(http.TimeFormat))
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".PutItem") {
			res.Header.Set("Date", now.Add(time.Minute).UTC().Format(http.TimeFormat))
		}
		return res, nil
	})
	slow, err := dynamostore.NewRevocations(dynamodb.NewFromConfig(cfg), "r")
	must(t, err)
	slow.MaxSkew = 30 * time.Second
	if err := slow.Append(t.Context(), revocation.Grant("g_1", now)); err == nil || !strings.Contains(err.Error(), "verifiers may miss") {
		t.Errorf("after a minute on its way: %v", err)
	}
}

func TestRevocationDamaged(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig(testenv.Dynalite(t)))
	names := tables(t, db)
	s := open(t, db, names)
	now := time.Now()
	for _, at := range []string{"9", "x#b#7", "9999999999999#bAAAAAAAAAAAAAAAAAAAAAA", "9999999999999##7", "9999999999999#xAAAAAAAAAAAAAAAAAAAAAA#7", "9999999999999#gAAAAAAAAAAAAAAAAAAAAAA#07"} {
		key := map[string]types.AttributeValue{"day": text(now.UTC().Format("2006-01-02")), "at": text(at)}
		_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &names.Revocations, Item: key})
		must(t, err)
		if err := s.Entries(t.Context(), now, time.Time{}, func(revocation.Entry) bool { return true }); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: %v; want an error that names it", at, err)
		}
		_, err = db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &names.Revocations, Key: key})
		must(t, err)
	}
}

// TestCountRevocations: a client's day is counted in one place, to the last one, whoever counts at the same time; and what
// counts is no revocation.
func TestCountRevocations(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		db := racing(t, endpoint)
		s, err := dynamostore.NewRevocations(db, tables(t, db).Revocations)
		must(t, err)
		now := time.Now()
		today := now.UTC().Format("2006-01-02")
		var granted atomic.Int64
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				ok, err := s.CountRevocations(t.Context(), "app", today, 20, 210)
				if err != nil {
					t.Error(err)
				}
				if ok {
					granted.Add(20)
				}
			})
		}
		all.Wait()
		if granted.Load() != 200 {
			t.Errorf("%d were granted of 210, by 20", granted.Load())
		}
		for _, other := range []struct {
			client, day string
			n           int
			want        bool
		}{{"other", today, 20, true}, {"app", "2026-01-01", 20, true}, {"app", today, 10, true}, {"app", today, 1, false}, {"third", today, 211, false}} {
			if ok, err := s.CountRevocations(t.Context(), other.client, other.day, other.n, 210); ok != other.want || err != nil {
				t.Errorf("%+v: %v, %v", other, ok, err)
			}
		}
		must(t, s.Entries(t.Context(), now.Add(-time.Hour), time.Time{}, func(e revocation.Entry) bool { t.Errorf("said: %s", e); return true }))
	})
}
