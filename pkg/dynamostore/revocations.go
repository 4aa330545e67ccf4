package dynamostore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// An item of the revocations table is its key and when it may be deleted. The sort key holds all of the entry, its N too:
// two bounds said of one handle in one second are two items, and neither can take the other's place.
const (
	revocationsKey  = "hour" // partition key of the revocations table: 2026-11-23T09, in UTC
	revocationsSort = "at"   // its sort key: milliseconds in 13 digits, #, kind and key, #, N

	attrExpiresAt = "expires_at" // N: seconds since 1970; TTL

	hourLayout  = "2006-01-02T15"
	alwaysHour  = "always" // the partition of entries that are never forgotten
	hoursAtOnce = 16       // partitions that are read at the same time
)

// RevocationStore is the part of a Store that is about revocations: a revocation.Log. Who reads it needs dynamodb:Query
// and dynamodb:DescribeTable on the table, who appends to it dynamodb:PutItem.
//
// The log's name is made of the table's ARN and the time at which it was made: nothing has to be written to have it, and
// a table that was restored from a backup, which is always a new one, has another.
type RevocationStore struct {
	revocations table
	// Now is asked up to which hour there can be entries. Nil: time.Now.
	Now func() time.Time
	// MaxSkew has Append check an entry's stamp against DynamoDB's clock, and fail if they are further apart: an entry that
	// is stamped long before it is told escapes verifiers that are up to date. For whoever runs on a person's machine, whose
	// clock nobody keeps. Zero: no check.
	MaxSkew time.Duration
}

var _ revocation.Log = (*RevocationStore)(nil)

// NewRevocations makes a RevocationStore on the table of that name. It makes no call.
func NewRevocations(db *dynamodb.Client, name string) (*RevocationStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the revocations table is empty")
	}
	return &RevocationStore{revocations: table{db: db, name: name, key: revocationsKey, sort: revocationsSort, label: "revocations table"}}, nil
}

func (s *RevocationStore) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Append implements revocation.Appender: one unconditional write, which does no harm when it is repeated. It refuses an
// entry that is stamped more than an hour ahead of Now, because nobody would read it until then.
func (s *RevocationStore) Append(ctx context.Context, e revocation.Entry) error {
	e, err := revocation.Parse(e.String())
	if err != nil {
		return err
	}
	if e.At.After(s.now().Add(time.Hour)) {
		return fmt.Errorf("dynamostore: the revocation is stamped %s, more than an hour from now: a clock is wrong", e.At.UTC().Format(time.RFC3339))
	}
	hour := e.At.UTC().Format(hourLayout)
	if e.Kind.Always() {
		hour = alwaysHour
	}
	item := attributes{
		revocationsKey:  &types.AttributeValueMemberS{Value: hour},
		revocationsSort: &types.AttributeValueMemberS{Value: sortKey(e)},
	}
	if !e.Kind.Always() {
		item[attrExpiresAt] = &types.AttributeValueMemberN{Value: strconv.FormatInt(e.At.Add(revocation.Retention).Unix(), 10)}
	}
	out, err := s.revocations.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.revocations.name, Item: item}, plainHTTP)
	if err != nil {
		return s.revocations.translate("PutItem", err)
	}
	return s.checkClock(e, out.ResultMetadata)
}

// checkClock compares an entry's stamp with the time at which DynamoDB took it in.
func (s *RevocationStore) checkClock(e revocation.Entry, answer middleware.Metadata) error {
	if s.MaxSkew == 0 {
		return nil
	}
	taken, ok := awsmiddleware.GetServerTime(answer)
	if !ok {
		return errors.New("dynamostore: DynamoDB's answer has no time, by which the clock of this machine could be checked")
	}
	if skew := taken.Sub(e.At); skew > s.MaxSkew || skew < -s.MaxSkew {
		return fmt.Errorf("dynamostore: the clock of this machine is %s off, so that verifiers may miss what was said: set it, and say it again",
			skew.Round(time.Second).Abs())
	}
	return nil
}

// sortKey is in the order of time, and then total.
func sortKey(e revocation.Entry) string {
	return fmt.Sprintf("%013d#%c%s#%d", e.At.UnixMilli(), e.Kind, base64.RawURLEncoding.EncodeToString(e.Key[:]), e.N)
}

func parseSortKey(s string) (revocation.Entry, error) {
	fields := strings.Split(s, "#")
	if len(fields) != 3 || fields[1] == "" {
		return revocation.Entry{}, errors.New("its sort key is malformed")
	}
	at, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return revocation.Entry{}, errors.New("its sort key has no time")
	}
	return revocation.Parse(fmt.Sprintf("%s %s %s %d", fields[1][:1], fields[1][1:], fields[2], at/1000))
}

// Entries implements revocation.Log. It reads the partitions of the hours from then until an hour from now, some at the
// same time, each strongly consistent.
func (s *RevocationStore) Entries(ctx context.Context, from time.Time, yield func(revocation.Entry) bool) error {
	now := s.now()
	if oldest := now.Add(-revocation.Retention); from.Before(oldest) {
		from = oldest
	}
	// When the reader has seen enough, or there is an error, nothing more is asked. What was asked is not broken off.
	wanted, enough := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer enough()

	type partition struct {
		entries []revocation.Entry
		err     error
	}
	// A channel for each partition under way keeps their order; the outer one's capacity bounds how many there are.
	under := make(chan chan partition, hoursAtOnce)
	read := func(hour string, from time.Time) bool {
		p := make(chan partition, 1)
		select {
		case under <- p:
		case <-wanted.Done():
			return false
		}
		running.Go(func() {
			entries, err := s.partition(ctx, wanted, hour, from)
			p <- partition{entries, err}
		})
		return true
	}
	running.Go(func() {
		defer close(under)
		going := read(alwaysHour, time.Unix(0, 0))
		for hour := from.Truncate(time.Hour); going && !hour.After(now.Add(time.Hour)); hour = hour.Add(time.Hour) {
			going = read(hour.UTC().Format(hourLayout), from)
		}
	})

	var always []revocation.Entry
	first := true
	for p := range under {
		got := <-p
		if got.err != nil {
			return got.err
		}
		if first {
			always, first = got.entries, false
			continue
		}
		for _, e := range got.entries {
			for len(always) > 0 && !always[0].At.After(e.At) {
				if !yield(always[0]) {
					return nil
				}
				always = always[1:]
			}
			if !yield(e) {
				return nil
			}
		}
	}
	if err := ctx.Err(); err != nil { // then not all was asked for
		return s.revocations.translate("Query", err)
	}
	for _, e := range always {
		if !yield(e) {
			return nil
		}
	}
	return nil
}

// partition reads an hour's entries from a time on, page by page until wanted ends.
func (s *RevocationStore) partition(ctx, wanted context.Context, hour string, from time.Time) ([]revocation.Entry, error) {
	least := max(0, from.Add(time.Second-1).Unix()) * 1000 // entries have whole seconds
	pages := dynamodb.NewQueryPaginator(s.revocations.db, &dynamodb.QueryInput{
		TableName:                &s.revocations.name,
		KeyConditionExpression:   aws.String("#hour = :hour AND #at >= :from"),
		ProjectionExpression:     aws.String("#at"),
		ExpressionAttributeNames: map[string]string{"#hour": revocationsKey, "#at": revocationsSort},
		ExpressionAttributeValues: attributes{
			":hour": &types.AttributeValueMemberS{Value: hour},
			":from": &types.AttributeValueMemberS{Value: fmt.Sprintf("%013d", least)},
		},
		ConsistentRead: aws.Bool(true),
	})
	var entries []revocation.Entry
	for pages.HasMorePages() {
		if err := wanted.Err(); err != nil {
			return nil, s.revocations.translate("Query", err)
		}
		page, err := pages.NextPage(ctx, plainHTTP)
		if err != nil {
			return nil, s.revocations.translate("Query", err)
		}
		entries = slices.Grow(entries, len(page.Items))
		for _, item := range page.Items {
			at, _ := item[revocationsSort].(*types.AttributeValueMemberS)
			if at == nil {
				return nil, fmt.Errorf("dynamostore: an item of the %s is damaged: it has no %s", s.revocations.label, revocationsSort)
			}
			e, err := parseSortKey(at.Value)
			if err != nil {
				return nil, fmt.Errorf("dynamostore: item %s of the %s is damaged: %w", at.Value, s.revocations.label, err)
			}
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// FeedID implements revocation.Log.
func (s *RevocationStore) FeedID(ctx context.Context) (string, error) {
	out, err := s.revocations.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.revocations.name}, plainHTTP)
	if err != nil {
		return "", s.revocations.translate("DescribeTable", err)
	}
	if out.Table == nil || out.Table.TableArn == nil || out.Table.CreationDateTime == nil {
		return "", fmt.Errorf("dynamostore: DynamoDB does not say when the %s was made", s.revocations.label)
	}
	// Hashed, because the ARN holds the account's number.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", *out.Table.TableArn, out.Table.CreationDateTime.UnixMilli()))
	return base64.RawURLEncoding.EncodeToString(sum[:16]), nil
}
