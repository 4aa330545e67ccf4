package dynamostore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
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
	revocationsKey  = "day" // partition key of the revocations table: 2026-11-23, in UTC
	revocationsSort = "at"  // its sort key: milliseconds in 13 digits, #, kind and key, #, N

	attrExpiresAt = "expires_at" // N: seconds since 1970; TTL
	attrCount     = "count"      // N: what a client has revoked on a day, of items that count

	dayLayout   = "2006-01-02"
	day         = 24 * time.Hour
	alwaysDay   = "always" // the partition of entries that are never forgotten
	daysAtOnce  = 8        // partitions that are read at the same time, at most
	answerItems = 5_000    // of an answer at most, so that those of several days take little memory
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
	// MaxSkew has Append ask DynamoDB for the time before it writes, and write nothing if the entry's stamp is further from
	// that: what is said can't be taken back, and an entry that is stamped long before it is told escapes verifiers that are
	// up to date. For whoever runs on a person's machine, whose clock nobody keeps. It needs dynamodb:GetItem on the table.
	// Zero: no check.
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
	partition := e.At.UTC().Format(dayLayout)
	if e.Kind.Always() {
		partition = alwaysDay
	}
	item := attributes{
		revocationsKey:  &types.AttributeValueMemberS{Value: partition},
		revocationsSort: &types.AttributeValueMemberS{Value: sortKey(e)},
	}
	if !e.Kind.Always() {
		item[attrExpiresAt] = &types.AttributeValueMemberN{Value: strconv.FormatInt(e.At.Add(revocation.Retention).Unix(), 10)}
	}
	if s.MaxSkew != 0 {
		// Of an item that there is not, which is the cheapest read there is.
		out, err := s.revocations.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.revocations.name, Key: attributes{
			revocationsKey: &types.AttributeValueMemberS{Value: "clock"}, revocationsSort: &types.AttributeValueMemberS{Value: "0"},
		}}, plainHTTP)
		if err != nil {
			return s.revocations.translate("GetItem", err)
		}
		if err := s.checkClock(e, out.ResultMetadata, "nothing was said: set it, and do it again"); err != nil {
			return err
		}
	}
	out, err := s.revocations.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.revocations.name, Item: item}, plainHTTP)
	if err != nil {
		return s.revocations.translate("PutItem", err)
	}
	if s.MaxSkew != 0 {
		// It may have taken long to get there.
		return s.checkClock(e, out.ResultMetadata, "verifiers may miss what was said: do it again")
	}
	return nil
}

// checkClock compares an entry's stamp with the time at which DynamoDB answered.
func (s *RevocationStore) checkClock(e revocation.Entry, answer middleware.Metadata, then string) error {
	there, ok := awsmiddleware.GetServerTime(answer)
	if !ok {
		return errors.New("dynamostore: DynamoDB's answer has no time, by which the clock of this machine could be checked")
	}
	if skew := there.Sub(e.At); skew > s.MaxSkew || skew < -s.MaxSkew {
		return fmt.Errorf("dynamostore: the clock of this machine is %s off, so that %s", skew.Round(time.Second).Abs(), then)
	}
	return nil
}

// quotaPrefix begins the partitions that count what clients revoke, one a day: the sort key is the client's id.
const quotaPrefix = "quota#"

// CountRevocations implements revoke.Quota: one conditional write, after which the item counts n more. It needs
// dynamodb:UpdateItem on the partitions that begin with quota#. An answer that was lost counts twice.
func (s *RevocationStore) CountRevocations(ctx context.Context, clientID, date string, n, most int) (bool, error) {
	begin, err := time.Parse(dayLayout, date)
	if err != nil || n > most {
		return false, err
	}
	_, err = s.revocations.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.revocations.name,
		Key: attributes{
			revocationsKey:  &types.AttributeValueMemberS{Value: quotaPrefix + date},
			revocationsSort: &types.AttributeValueMemberS{Value: clientID},
		},
		UpdateExpression:         aws.String("SET #expires = :expires ADD #count :n"),
		ConditionExpression:      aws.String("attribute_not_exists(#count) OR #count <= :room"),
		ExpressionAttributeNames: map[string]string{"#count": attrCount, "#expires": attrExpiresAt},
		ExpressionAttributeValues: attributes{
			":n": numberOf(int64(n)), ":room": numberOf(int64(most - n)), ":expires": numberOf(begin.Add(3 * day).Unix()),
		},
	}, plainHTTP)
	if refused := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &refused) {
		return false, nil
	}
	if err != nil {
		return false, s.revocations.translate("UpdateItem", err)
	}
	return true, nil
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
	return revocation.Parse(fields[1][:1] + " " + fields[1][1:] + " " + fields[2] + " " + strconv.FormatInt(at/1000, 10))
}

// Entries implements revocation.Log. It reads the partitions of the days from then until an hour from now, strongly
// consistent and some at the same time: one after the other where there are many entries, so that whoever stops early has
// caused no more reads than an answer or two.
func (s *RevocationStore) Entries(ctx context.Context, from, until time.Time, yield func(revocation.Entry) bool) error {
	now := s.now()
	if oldest := now.Add(-revocation.Retention); from.Before(oldest) {
		from = oldest
	}
	if !until.IsZero() && !from.Before(until) {
		return nil // DynamoDB takes no range whose end is before its beginning
	}
	end := now.Add(time.Hour + time.Second)
	last := "~" // after all digits
	if !until.IsZero() {
		last = sortTime(until)
		if until.Before(end) {
			end = until
		}
	}
	width := 1
	for next := from.UTC().Truncate(day); next.Before(end); {
		type answer struct {
			entries []revocation.Entry
			rest    attributes
			err     error
		}
		var partitions []string
		for ; next.Before(end) && len(partitions) < width; next = next.Add(day) {
			partitions = append(partitions, next.Format(dayLayout))
		}
		answers := make([]answer, len(partitions))
		var running sync.WaitGroup
		for i, partition := range partitions {
			running.Go(func() {
				a := &answers[i]
				a.entries, a.rest, a.err = s.query(ctx, partition, sortTime(from), last, nil)
			})
		}
		running.Wait()
		read := 0
		for i, a := range answers {
			for {
				if a.err != nil {
					return a.err
				}
				read += len(a.entries)
				for _, e := range a.entries {
					if !yield(e) {
						return nil
					}
				}
				if a.rest == nil {
					break
				}
				a.entries, a.rest, a.err = s.query(ctx, partitions[i], sortTime(from), last, a.rest)
			}
		}
		if width = min(2*width, daysAtOnce); read > answerItems/2 {
			width = 1
		}
	}
	return nil
}

// Always implements revocation.Log.
func (s *RevocationStore) Always(ctx context.Context) ([]revocation.Entry, error) {
	list, rest, err := s.query(ctx, alwaysDay, "0", "~", nil)
	for err == nil && rest != nil {
		var more []revocation.Entry
		more, rest, err = s.query(ctx, alwaysDay, "0", "~", rest)
		list = append(list, more...)
	}
	return list, err
}

// sortTime is what sort keys of a time begin with, and of no time before. Entries have whole seconds.
func sortTime(t time.Time) string {
	return fmt.Sprintf("%013d", max(0, t.Add(time.Second-1).Unix())*1000)
}

// query reads some of a partition's entries between two sort keys, and returns where the rest begins, nil if there is none.
func (s *RevocationStore) query(ctx context.Context, partition, from, last string, start attributes) ([]revocation.Entry, attributes, error) {
	out, err := s.revocations.db.Query(ctx, &dynamodb.QueryInput{
		TableName:                &s.revocations.name,
		KeyConditionExpression:   aws.String("#day = :day AND #at BETWEEN :from AND :last"),
		ProjectionExpression:     aws.String("#at"),
		ExpressionAttributeNames: map[string]string{"#day": revocationsKey, "#at": revocationsSort},
		ExpressionAttributeValues: attributes{
			":day":  &types.AttributeValueMemberS{Value: partition},
			":from": &types.AttributeValueMemberS{Value: from},
			":last": &types.AttributeValueMemberS{Value: last},
		},
		ExclusiveStartKey: start,
		Limit:             aws.Int32(answerItems),
		ConsistentRead:    aws.Bool(true),
	}, plainHTTP)
	if err != nil {
		return nil, nil, s.revocations.translate("Query", err)
	}
	entries := make([]revocation.Entry, 0, len(out.Items))
	for _, item := range out.Items {
		at, _ := item[revocationsSort].(*types.AttributeValueMemberS)
		if at == nil {
			return nil, nil, fmt.Errorf("dynamostore: an item of the %s is damaged: it has no %s", s.revocations.label, revocationsSort)
		}
		e, err := parseSortKey(at.Value)
		if err != nil {
			return nil, nil, fmt.Errorf("dynamostore: item %s of the %s is damaged: %w", at.Value, s.revocations.label, err)
		}
		entries = append(entries, e)
	}
	if len(out.LastEvaluatedKey) == 0 {
		return entries, nil, nil
	}
	return entries, out.LastEvaluatedKey, nil
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
