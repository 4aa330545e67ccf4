package dynamostore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/pkg/rotating"
)

const grantsKey = "grant_id" // partition key of the grants table

// GrantStore is a rotating.Store. An item's revision is the generation of the grant's newest token. Who uses it needs
// dynamodb:PutItem, dynamodb:DeleteItem and, to tell why a write was refused, dynamodb:GetItem on the table.
type GrantStore struct{ grants table }

var _ rotating.Store = (*GrantStore)(nil)

// NewGrants makes a GrantStore on the table of that name. It makes no call.
func NewGrants(db *dynamodb.Client, name string) (*GrantStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the grants table is empty")
	}
	return &GrantStore{table{db: db, name: name, key: grantsKey, label: "grants table"}}, nil
}

// CreateGrant implements rotating.Store.
func (s *GrantStore) CreateGrant(ctx context.Context, r *rotating.Record) error {
	stands, err := s.put(ctx, r, "attribute_not_exists("+grantsKey+")", nil)
	switch {
	case err != nil:
		return err
	case stands == nil || stands.TokenID != r.TokenID:
		return rotating.ErrExists
	}
	return nil
}

// RotateGrant implements rotating.Store.
func (s *GrantStore) RotateGrant(ctx context.Context, next *rotating.Record, now time.Time) (*rotating.Record, error) {
	// The one write here that reads nothing first: what a newer release wrote in another version is not to be lost by it.
	stands, err := s.put(ctx, next, attrRevision+" = :before AND "+attrExpiresAt+" > :now AND begins_with("+attrDocument+", :version)", attributes{
		":before": numberOf(next.Generation - 1), ":now": numberOf(now.Unix()), ":version": &types.AttributeValueMemberS{Value: rotating.Prefix},
	})
	if err == nil && stands == nil {
		return nil, rotating.ErrNotFound
	}
	return stands, err
}

// DeleteGrant implements rotating.Store.
func (s *GrantStore) DeleteGrant(ctx context.Context, id string) error {
	_, err := s.grants.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.grants.name, Key: s.grants.keyOf(id)}, plainHTTP)
	if err != nil {
		return s.grants.translate("DeleteItem", err)
	}
	return nil
}

// put writes r under a condition and returns what stands then: r; or, if the condition did not hold, what is there, nil for
// nothing. That too may be r: the SDK sends a request again whose answer was lost, and r's token id, which is random, tells
// that the first one had been carried out.
func (s *GrantStore) put(ctx context.Context, r *rotating.Record, condition string, values attributes) (*rotating.Record, error) {
	document, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	written := s.grants.keyOf(r.GrantID)
	written[attrRevision] = numberOf(r.Generation)
	written[attrDocument] = &types.AttributeValueMemberS{Value: string(document)}
	written[attrExpiresAt] = numberOf(r.Ends().Unix())
	_, err = s.grants.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           &s.grants.name,
		Item:                                written,
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, plainHTTP)
	if err == nil {
		return r, nil
	}
	old, err := s.grants.refused(ctx, "PutItem", r.GrantID, err)
	if !errors.Is(err, errRefused) {
		return nil, err
	}
	if old == nil {
		return nil, nil
	}
	return rotating.Unmarshal(r.GrantID, old.revision, old.document)
}

func numberOf(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
