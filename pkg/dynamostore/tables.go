package dynamostore

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// tableWait bounds how long CreateTables waits for one table. AWS takes some ten seconds, an emulator none.
const tableWait = 2 * time.Minute

// CreateTables makes the tables that are not there yet, billed on demand, and returns when all can be used. It is for
// emulators and experiments: what the template makes is protected, encrypted and backed up, what this makes is not.
func CreateTables(ctx context.Context, db *dynamodb.Client, tables Tables) error {
	s, err := New(db, tables)
	if err != nil {
		return err
	}
	for _, t := range []table{s.clients, s.keys, s.revocations} {
		if err := t.create(ctx); err != nil {
			return err
		}
	}
	return nil
}

// CreateGrantsTable does the same for the grants table.
func CreateGrantsTable(ctx context.Context, db *dynamodb.Client, name string) error {
	s, err := NewGrants(db, name)
	if err != nil {
		return err
	}
	return s.grants.create(ctx)
}

// CreateUserTables does the same for the tables of users and of their sign-ins.
func CreateUserTables(ctx context.Context, db *dynamodb.Client, users, signIns string) error {
	u, err := NewUsers(db, users)
	if err != nil {
		return err
	}
	s, err := NewSignIns(db, signIns)
	if err != nil {
		return err
	}
	if err := u.users.create(ctx); err != nil {
		return err
	}
	return s.tries.create(ctx)
}

// CreateIssuerTables does the same for the tables of issuers and of the assertions that had their use.
func CreateIssuerTables(ctx context.Context, db *dynamodb.Client, issuers, assertions string) error {
	i, err := NewIssuers(db, issuers)
	if err != nil {
		return err
	}
	a, err := NewAssertions(db, assertions)
	if err != nil {
		return err
	}
	if err := i.issuers.create(ctx); err != nil {
		return err
	}
	return a.assertions.create(ctx)
}

func (t table) create(ctx context.Context) error {
	input := &dynamodb.CreateTableInput{
		TableName:            &t.name,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &t.key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &t.key, KeyType: types.KeyTypeHash}},
	}
	if t.sort != "" {
		input.AttributeDefinitions = append(input.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: &t.sort, AttributeType: types.ScalarAttributeTypeS})
		input.KeySchema = append(input.KeySchema, types.KeySchemaElement{AttributeName: &t.sort, KeyType: types.KeyTypeRange})
	}
	_, err := t.db.CreateTable(ctx, input, plainHTTP)
	if inUse := (*types.ResourceInUseException)(nil); err != nil && !errors.As(err, &inUse) {
		return t.translate("CreateTable", err)
	}
	waiter := dynamodb.NewTableExistsWaiter(t.db, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 100*time.Millisecond, 2*time.Second
		o.ClientOptions = append(o.ClientOptions, plainHTTP)
	})
	if err := waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: &t.name}, tableWait); err != nil {
		return t.translate("DescribeTable", err)
	}
	return nil
}
