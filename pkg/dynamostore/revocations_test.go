package dynamostore_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// TestRevocationReads looks at what is asked of DynamoDB: which hours, how many at once, and that each read is
// consistent.
func TestRevocationReads(t *testing.T) {
	var mu sync.Mutex
	var hours []string
	var now, most int
	cfg := testenv.AWSConfig("http://dynamodb.invalid")
	cfg.HTTPClient = clientFunc(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(10 * time.Microsecond) // so that others come in between
		mu.Lock()
		now--
		if !strings.Contains(string(body), `"ConsistentRead":true`) {
			t.Errorf("not consistent: %s", body)
		}
		_, rest, _ := strings.Cut(string(body), `":hour":{"S":"`)
		hour, _, _ := strings.Cut(rest, `"`)
		hours = append(hours, hour)
		return answer(r, http.StatusOK, `{"Items":[]}`), nil
	})
	var clock clocktest.Clock
	s, err := dynamostore.NewRevocations(dynamodb.NewFromConfig(cfg), "r")
	must(t, err)
	s.Now = clock.Now
	for _, test := range []struct {
		from time.Time
		want int
	}{
		{clock.Now().Add(-90 * time.Second), 4}, // always, and the hour before, this one and the next
		{clock.Now(), 3},
		{clock.Now().Add(-720 * time.Hour), 723},
		{clock.Now().Add(1000 * time.Hour), 1},
		{time.Time{}, int(revocation.Retention/time.Hour) + 3}, // no further back than entries are kept
	} {
		hours = nil
		must(t, s.Entries(t.Context(), test.from, func(revocation.Entry) bool { t.Error("yield was called"); return true }))
		seen := map[string]bool{}
		for _, hour := range hours {
			seen[hour] = true
		}
		if len(hours) != test.want || len(seen) != test.want || !seen["always"] {
			t.Errorf("from %s: %d reads, of %d partitions; want %d", test.from, len(hours), len(seen), test.want)
		}
		if test.want == 4 && !(seen["2025-12-31T23"] && seen["2026-01-01T00"] && seen["2026-01-01T01"]) {
			t.Errorf("read %v", hours)
		}
	}
	if most < 2 || most > 17 {
		t.Errorf("%d reads at once, want some, and 17 at most", most)
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
			hour, at := item["hour"].(*types.AttributeValueMemberS).Value, item["at"].(*types.AttributeValueMemberS).Value
			expires, has := item["expires_at"].(*types.AttributeValueMemberN)
			switch hour {
			case "2026-01-01T01":
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
				t.Errorf("an item of %s", hour)
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

// TestRevocationSkew: an operator whose clock is wrong is told, and not that it is done.
func TestRevocationSkew(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig(testenv.Dynalite(t)))
	s, err := dynamostore.NewRevocations(db, tables(t, db).Revocations)
	must(t, err)
	s.MaxSkew = 30 * time.Second
	now := time.Now()
	must(t, s.Append(t.Context(), revocation.Grant("g_1", now)))
	for _, off := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		err := s.Append(t.Context(), revocation.Grant("g_1", now.Add(off)))
		if err == nil || !strings.Contains(err.Error(), "the clock of this machine is") {
			t.Errorf("a clock that is %s off: %v", off, err)
		}
	}
	s.MaxSkew = 0
	must(t, s.Append(t.Context(), revocation.Grant("g_1", now.Add(-time.Hour))))
}

func TestRevocationDamaged(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig(testenv.Dynalite(t)))
	names := tables(t, db)
	s := open(t, db, names)
	now := time.Now()
	for _, at := range []string{"9", "x#b#7", "9999999999999#bAAAAAAAAAAAAAAAAAAAAAA", "9999999999999##7", "9999999999999#xAAAAAAAAAAAAAAAAAAAAAA#7", "9999999999999#gAAAAAAAAAAAAAAAAAAAAAA#07"} {
		key := map[string]types.AttributeValue{"hour": text(now.UTC().Format("2006-01-02T15")), "at": text(at)}
		_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &names.Revocations, Item: key})
		must(t, err)
		if err := s.Entries(t.Context(), now, func(revocation.Entry) bool { return true }); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: %v; want an error that names it", at, err)
		}
		_, err = db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &names.Revocations, Key: key})
		must(t, err)
	}
}

// TestRevocationPages reads a partition in more answers than one, as DynamoDB gives them beyond 1 MB, and asks for no more
// once it has seen enough.
func TestRevocationPages(t *testing.T) {
	var clock clocktest.Clock
	cfg := testenv.AWSConfig("http://dynamodb.invalid")
	var mu sync.Mutex
	queries := 0
	cfg.HTTPClient = clientFunc(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		queries++
		items := []string{}
		more := ""
		if strings.Contains(string(body), `"2026-01-01T00"`) {
			page := strings.Count(string(body), "#p") // 0 for the first
			for i := range 2 {
				items = append(items, fmt.Sprintf(`{"at":{"S":"%d#gAAAAAAAAAAAAAAAAAAAAAA#0"}}`, clock.Now().Add(time.Duration(2*page+i)*time.Second).UnixMilli()))
			}
			if page == 0 {
				more = `,"LastEvaluatedKey":{"hour":{"S":"2026-01-01T00"},"at":{"S":"#p"}}`
			}
		}
		return answer(r, http.StatusOK, `{"Items":[`+strings.Join(items, ",")+`]`+more+`}`), nil
	})
	s, err := dynamostore.NewRevocations(dynamodb.NewFromConfig(cfg), "r")
	must(t, err)
	s.Now = clock.Now
	var seen []int64
	must(t, s.Entries(t.Context(), clock.Now(), func(e revocation.Entry) bool { seen = append(seen, e.At.Unix()-clock.Now().Unix()); return true }))
	if fmt.Sprint(seen) != "[0 1 2 3]" || queries != 4 {
		t.Errorf("saw %v in %d queries, want [0 1 2 3] in 4", seen, queries)
	}
}
