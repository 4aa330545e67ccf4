package dynamostore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

// Attributes of the sign-ins table, besides expires_at, by which DynamoDB deletes.
const (
	signInsKey = "id"    // partition key: a keyed hash
	attrTries  = "tries" // N
	attrNext   = "next"  // N: seconds since 1970, absent for at once
)

// SignInStore is a backoff.Store. Who uses it needs dynamodb:GetItem, dynamodb:UpdateItem, dynamodb:PutItem and
// dynamodb:DeleteItem on the table. A write that the SDK sends twice, its answer lost, may count twice: it is forgotten in
// time as all counts are.
type SignInStore struct{ tries table }

var _ backoff.Store = (*SignInStore)(nil)

// NewSignIns makes a SignInStore on the table of that name. It makes no call.
func NewSignIns(db *dynamodb.Client, name string) (*SignInStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the sign-ins table is empty")
	}
	return &SignInStore{table{db: db, name: name, key: signInsKey, label: "sign-ins table"}}, nil
}

// Tries implements backoff.Store.
func (s *SignInStore) Tries(ctx context.Context, key string) (backoff.Count, error) {
	out, err := s.tries.db.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &s.tries.name, Key: s.tries.keyOf(key), ConsistentRead: aws.Bool(true),
	}, plainHTTP)
	if err != nil {
		return backoff.Count{}, s.tries.translate("GetItem", err)
	}
	return s.count(out.Item)
}

// AddTry implements backoff.Store.
func (s *SignInStore) AddTry(ctx context.Context, key string, most int64, now, expires time.Time) (backoff.Count, bool, error) {
	updated, err := s.update(ctx, key,
		"SET "+attrExpiresAt+" = :expires ADD "+attrTries+" :one",
		"attribute_not_exists("+signInsKey+") OR "+attrTries+" < :most AND "+attrExpiresAt+" > :now",
		attributes{":one": numberOf(1), ":most": numberOf(most), ":now": numberOf(now.Unix()), ":expires": numberOf(expires.Unix())})
	if err == nil {
		c, err := s.count(updated)
		return c, true, err
	}
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return backoff.Count{}, false, s.tries.translate("UpdateItem", err)
	}
	if len(failed.Item) == 0 { // an emulator that doesn't return it
		c, err := s.Tries(ctx, key)
		return c, false, err
	}
	c, err := s.count(failed.Item)
	return c, false, err
}

// SwapTries implements backoff.Store.
func (s *SignInStore) SwapTries(ctx context.Context, key string, seen, next backoff.Count) (bool, error) {
	condition, values := "attribute_not_exists("+signInsKey+")", attributes(nil)
	if seen != (backoff.Count{}) {
		condition = attrTries + " = :tries AND " + attrExpiresAt + " = :expires"
		values = attributes{":tries": numberOf(seen.N), ":expires": numberOf(seen.Expires.Unix())}
		if seen.Next.IsZero() {
			condition += " AND attribute_not_exists(#next)"
		} else {
			condition += " AND #next = :next"
			values[":next"] = numberOf(seen.Next.Unix())
		}
	}
	in := s.put(key, next)
	in.ConditionExpression, in.ExpressionAttributeValues = &condition, values
	if seen != (backoff.Count{}) {
		in.ExpressionAttributeNames = map[string]string{"#next": attrNext} // a reserved word
	}
	_, err := s.tries.db.PutItem(ctx, in, plainHTTP)
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &failed):
		return false, nil
	}
	return false, s.tries.translate("PutItem", err)
}

// TakeTry implements backoff.Store.
func (s *SignInStore) TakeTry(ctx context.Context, key string) error {
	_, err := s.update(ctx, key, "ADD "+attrTries+" :less", attrTries+" > :none", attributes{":less": numberOf(-1), ":none": numberOf(0)})
	var failed *types.ConditionalCheckFailedException
	if err == nil || errors.As(err, &failed) {
		return nil
	}
	return s.tries.translate("UpdateItem", err)
}

// SetTries implements backoff.Store.
func (s *SignInStore) SetTries(ctx context.Context, key string, c backoff.Count) error {
	if c == (backoff.Count{}) {
		_, err := s.tries.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.tries.name, Key: s.tries.keyOf(key)}, plainHTTP)
		if err != nil {
			return s.tries.translate("DeleteItem", err)
		}
		return nil
	}
	if _, err := s.tries.db.PutItem(ctx, s.put(key, c), plainHTTP); err != nil {
		return s.tries.translate("PutItem", err)
	}
	return nil
}

func (s *SignInStore) put(key string, c backoff.Count) *dynamodb.PutItemInput {
	written := s.tries.keyOf(key)
	written[attrTries] = numberOf(c.N)
	written[attrExpiresAt] = numberOf(c.Expires.Unix())
	if !c.Next.IsZero() {
		written[attrNext] = numberOf(c.Next.Unix())
	}
	return &dynamodb.PutItemInput{TableName: &s.tries.name, Item: written}
}

func (s *SignInStore) update(ctx context.Context, key, update, condition string, values attributes) (attributes, error) {
	out, err := s.tries.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.tries.name, Key: s.tries.keyOf(key),
		UpdateExpression: &update, ConditionExpression: &condition, ExpressionAttributeValues: values,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, plainHTTP)
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// count reads an item, none being no count.
func (s *SignInStore) count(a attributes) (backoff.Count, error) {
	if len(a) == 0 {
		return backoff.Count{}, nil
	}
	number := func(name string) (int64, error) {
		n, ok := a[name].(*types.AttributeValueMemberN)
		if !ok {
			return 0, fmt.Errorf("dynamostore: an item of the %s is damaged: its %s is missing or malformed", s.tries.label, name)
		}
		return strconv.ParseInt(n.Value, 10, 64)
	}
	tries, err1 := number(attrTries)
	expires, err2 := number(attrExpiresAt)
	if err := errors.Join(err1, err2); err != nil {
		return backoff.Count{}, err
	}
	c := backoff.Count{N: tries, Expires: time.Unix(expires, 0)}
	if a[attrNext] != nil {
		next, err := number(attrNext)
		if err != nil {
			return backoff.Count{}, err
		}
		c.Next = time.Unix(next, 0)
	}
	return c, nil
}
