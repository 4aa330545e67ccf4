package dynamostore

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
)

const assertionsKey = "id" // partition key of the assertions table: a hash

// AssertionStore is an assertion.Uses. Who uses it needs dynamodb:PutItem on the table, and nothing else on AWS.
type AssertionStore struct{ assertions table }

var _ assertion.Uses = (*AssertionStore)(nil)

// NewAssertions makes an AssertionStore on the table of that name. It makes no call.
func NewAssertions(db *dynamodb.Client, name string) (*AssertionStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the assertions table is empty")
	}
	return &AssertionStore{table{db: db, name: name, key: assertionsKey, label: "assertions table"}}, nil
}

// UseAssertion implements assertion.Uses: one conditional write. DynamoDB deletes late, so an item that has expired stands in
// nobody's way.
func (s *AssertionStore) UseAssertion(ctx context.Context, key string, now, expires time.Time) (bool, error) {
	written := s.assertions.keyOf(key)
	writeID := rand.Text()
	written[attrWriteID] = &types.AttributeValueMemberS{Value: writeID}
	written[attrExpiresAt] = numberOf(expires.Unix())
	condition := "attribute_not_exists(" + assertionsKey + ") OR " + attrExpiresAt + " < :now"
	_, err := s.assertions.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           &s.assertions.name,
		Item:                                written,
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           attributes{":now": numberOf(now.Unix())},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, plainHTTP)
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		return true, nil
	case !errors.As(err, &failed):
		return false, s.assertions.translate("PutItem", err)
	}
	// The SDK sends a request again whose answer was lost: what stands in the way may be ours.
	old, ok := failed.Item[attrWriteID].(*types.AttributeValueMemberS)
	return ok && old.Value == writeID, nil
}
