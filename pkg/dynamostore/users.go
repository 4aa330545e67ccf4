package dynamostore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/pkg/user"
)

const usersKey = "username" // partition key of the users table: in normal form, so that names are unique

// UserStore is a user.Store. A function that signs users in needs dynamodb:GetItem and, to store passwords hashed anew,
// dynamodb:PutItem on the table.
type UserStore struct{ users table }

var _ user.Store = (*UserStore)(nil)

// NewUsers makes a UserStore on the table of that name. It makes no call.
func NewUsers(db *dynamodb.Client, name string) (*UserStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the users table is empty")
	}
	return &UserStore{table{db: db, name: name, key: usersKey, label: "users table"}}, nil
}

// User implements user.Store.
func (s *UserStore) User(ctx context.Context, username string) (*user.Stored, error) {
	if !possibleUsername(username) {
		return nil, user.ErrNotFound
	}
	found, err := s.users.get(ctx, username)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, user.ErrNotFound
	}
	return found.user(username)
}

// possibleUsername tells what DynamoDB takes as a key.
func possibleUsername(name string) bool { return name != "" && len(name) <= user.MaxUsernameLen }

// CreateUser implements user.Store.
func (s *UserStore) CreateUser(ctx context.Context, r *user.Record) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = s.users.put(ctx, r.Username, document, 0)
	if errors.Is(err, errRefused) {
		return user.ErrExists
	}
	return err
}

// UpdateUser implements user.Store.
func (s *UserStore) UpdateUser(ctx context.Context, r *user.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	present, err := s.users.replace(ctx, r.Username, document, revision, r.Handle)
	return userRefusal(present, err)
}

// DeleteUser implements user.Store. Should the answer to a deletion be lost on the way, the SDK asks again, and the answer is
// user.ErrNotFound.
func (s *UserStore) DeleteUser(ctx context.Context, username string, revision int64) error {
	if !possibleUsername(username) {
		return user.ErrNotFound
	}
	present, err := s.users.delete(ctx, username, revision)
	return userRefusal(present, err)
}

// userRefusal turns what became of a conditional write into user.Store's terms.
func userRefusal(present bool, err error) error {
	switch {
	case !errors.Is(err, errRefused):
		return err
	case present:
		return user.ErrConflict
	default:
		return user.ErrNotFound
	}
}

// Users implements user.Store, in no order. It reads the table page by page: a record that is written meanwhile may be seen
// as it was or as it is.
func (s *UserStore) Users(ctx context.Context, yield func(*user.Stored) bool) error {
	pages := dynamodb.NewScanPaginator(s.users.db, &dynamodb.ScanInput{TableName: &s.users.name, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, plainHTTP)
		if err != nil {
			return s.users.translate("Scan", err)
		}
		for _, found := range page.Items {
			name, ok := found[usersKey].(*types.AttributeValueMemberS)
			if !ok {
				return fmt.Errorf("dynamostore: an item of the %s is damaged: it has no %s", s.users.label, usersKey)
			}
			item, err := s.users.read(name.Value, found)
			if err != nil {
				return err
			}
			record, err := item.user(name.Value)
			if err != nil {
				return err
			}
			if !yield(record) {
				return nil
			}
		}
	}
	return nil
}

func (i *item) user(username string) (*user.Stored, error) {
	r, err := user.Unmarshal(username, i.document)
	if err != nil {
		return nil, err
	}
	return &user.Stored{Record: *r, Revision: i.revision}, nil
}
