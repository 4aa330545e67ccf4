// Package dynamostore keeps clients, users, public keys and revocations in DynamoDB.
//
//	store, err := dynamostore.New(dynamodb.NewFromConfig(cfg), dynamostore.Tables{Clients: "…", Keys: "…", …})
//
// A table holds one kind of document. An item is its key, a revision, the document as JSON, and an id of the write that
// made it. Reads are strongly consistent; each write is one conditional write of one item, and nothing here uses a
// transaction. A function that calls Client alone needs dynamodb:GetItem on the clients table and nothing else.
package dynamostore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/internal/awserr"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// Attributes of the items.
const (
	clientsKey = "client_id" // partition key of the clients table
	keysKey    = "id"        // partition key of the keys table

	attrRevision = "revision" // N: 1, and one more with each write
	attrDocument = "document" // S: JSON with a version of its own
	attrWriteID  = "write_id" // S: random, by which a write that is sent twice knows itself
)

// publicKeysID is the key of the one item of the keys table.
const publicKeysID = "public"

// Tables names the tables. All names are required.
type Tables struct {
	Clients     string
	Keys        string
	Revocations string
}

// Store is a client.Store, a keyring.PublicStore and a revocation.Log.
//
// Errors other than those interfaces' own say what failed without naming accounts, resources, endpoints or requests.
type Store struct {
	*ClientStore
	*KeyStore
	*RevocationStore
}

// New makes a Store. It makes no call.
func New(db *dynamodb.Client, tables Tables) (*Store, error) {
	clients, err := NewClients(db, tables.Clients)
	if err != nil {
		return nil, err
	}
	keys, err := NewKeys(db, tables.Keys)
	if err != nil {
		return nil, err
	}
	revocations, err := NewRevocations(db, tables.Revocations)
	if err != nil {
		return nil, err
	}
	return &Store{clients, keys, revocations}, nil
}

// ClientStore is the half of a Store that is about clients, for a function that may use that table alone.
type ClientStore struct{ clients table }

// NewClients makes a ClientStore on the table of that name. It makes no call.
func NewClients(db *dynamodb.Client, name string) (*ClientStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the clients table is empty")
	}
	return &ClientStore{table{db: db, name: name, key: clientsKey, label: "clients table"}}, nil
}

// KeyStore is the half of a Store that is about public keys.
type KeyStore struct{ keys table }

// NewKeys makes a KeyStore on the table of that name. It makes no call.
func NewKeys(db *dynamodb.Client, name string) (*KeyStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the keys table is empty")
	}
	return &KeyStore{table{db: db, name: name, key: keysKey, label: "keys table"}}, nil
}

var (
	_ client.Store        = (*ClientStore)(nil)
	_ keyring.PublicStore = (*KeyStore)(nil)
)

// Client implements client.Store.
func (s *ClientStore) Client(ctx context.Context, id string) (*client.Stored, error) {
	if !client.ValidID(id) { // DynamoDB takes no empty key and none longer than 2 KB
		return nil, client.ErrNotFound
	}
	found, err := s.clients.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, client.ErrNotFound
	}
	return found.client(id)
}

// CreateClient implements client.Store.
func (s *ClientStore) CreateClient(ctx context.Context, r *client.Record) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = s.clients.put(ctx, r.ID, document, 0)
	if errors.Is(err, errRefused) {
		return client.ErrExists
	}
	return err
}

// UpdateClient implements client.Store.
func (s *ClientStore) UpdateClient(ctx context.Context, r *client.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	// No item has a revision below 1. As 0 means "none yet" to put, it has to be kept from it.
	if revision == 0 {
		revision = -1
	}
	present, err := s.clients.put(ctx, r.ID, document, revision)
	return clientRefusal(present, err)
}

// DeleteClient implements client.Store. Should the answer to a deletion be lost on the way, the SDK asks again, and the
// answer is client.ErrNotFound.
func (s *ClientStore) DeleteClient(ctx context.Context, id string, revision int64) error {
	if !client.ValidID(id) {
		return client.ErrNotFound
	}
	present, err := s.clients.delete(ctx, id, revision)
	return clientRefusal(present, err)
}

// clientRefusal turns what became of a conditional write into client.Store's terms.
func clientRefusal(present bool, err error) error {
	switch {
	case !errors.Is(err, errRefused):
		return err
	case present:
		return client.ErrConflict
	default:
		return client.ErrNotFound
	}
}

// Clients implements client.Store, in no order. It reads the table page by page: a record that is written meanwhile may
// be seen as it was or as it is.
func (s *ClientStore) Clients(ctx context.Context, yield func(*client.Stored) bool) error {
	pages := dynamodb.NewScanPaginator(s.clients.db, &dynamodb.ScanInput{
		TableName:      &s.clients.name,
		ConsistentRead: aws.Bool(true),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, plainHTTP)
		if err != nil {
			return s.clients.translate("Scan", err)
		}
		for _, found := range page.Items {
			id, ok := found[clientsKey].(*types.AttributeValueMemberS)
			if !ok {
				return fmt.Errorf("dynamostore: an item of the %s is damaged: it has no %s", s.clients.label, clientsKey)
			}
			item, err := s.clients.read(id.Value, found)
			if err != nil {
				return err
			}
			record, err := item.client(id.Value)
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

// PublicKeys implements keyring.PublicStore.
func (s *KeyStore) PublicKeys(ctx context.Context) (*keyring.PublicDocument, int64, error) {
	found, err := s.keys.get(ctx, publicKeysID)
	if err != nil {
		return nil, 0, err
	}
	if found == nil {
		return nil, 0, keyring.ErrNoKeys
	}
	d, err := keyring.ParsePublicDocument(found.document)
	if err != nil {
		return nil, 0, err
	}
	return d, found.revision, nil
}

// PutPublicKeys implements keyring.PublicStore.
func (s *KeyStore) PutPublicKeys(ctx context.Context, d *keyring.PublicDocument, revision int64) error {
	document, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = s.keys.put(ctx, publicKeysID, document, revision)
	if errors.Is(err, errRefused) {
		return keyring.ErrConflict
	}
	return err
}

// table is a table with what is the same for all its items.
type table struct {
	db    *dynamodb.Client
	name  string
	key   string // the attribute that is the partition key
	sort  string // the attribute that is the sort key, empty for none
	label string // for error texts: a name may be an ARN
}

// attributes are an item as DynamoDB has it.
type attributes = map[string]types.AttributeValue

// translate makes an error of the SDK one that may be shown.
func (t table) translate(operation string, err error) error {
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		return fmt.Errorf("DynamoDB %s: there is no such %s in this account and Region", operation, t.label)
	}
	return awserr.Translate("DynamoDB "+operation+" on the "+t.label, err)
}

func (t table) keyOf(id string) attributes {
	return attributes{t.key: &types.AttributeValueMemberS{Value: id}}
}

// item is an item as it was read.
type item struct {
	revision int64
	document []byte
	writeID  string
}

func (i *item) client(id string) (*client.Stored, error) {
	r, err := client.Unmarshal(id, i.document)
	if err != nil {
		return nil, err
	}
	return &client.Stored{Record: *r, Revision: i.revision}, nil
}

func (t table) read(id string, a attributes) (*item, error) {
	damaged := func(attr string) error {
		return fmt.Errorf("dynamostore: item %s of the %s is damaged: its %s is missing or malformed", id, t.label, attr)
	}
	document, ok := a[attrDocument].(*types.AttributeValueMemberS)
	if !ok {
		return nil, damaged(attrDocument)
	}
	number, ok := a[attrRevision].(*types.AttributeValueMemberN)
	if !ok {
		return nil, damaged(attrRevision)
	}
	revision, err := strconv.ParseInt(number.Value, 10, 64)
	if err != nil {
		return nil, damaged(attrRevision)
	}
	i := &item{revision: revision, document: []byte(document.Value)}
	if w, ok := a[attrWriteID].(*types.AttributeValueMemberS); ok { // an item without one can be read as well
		i.writeID = w.Value
	}
	return i, nil
}

// get reads an item; nil means that there is none.
func (t table) get(ctx context.Context, id string) (*item, error) {
	out, err := t.db.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      &t.name,
		Key:            t.keyOf(id),
		ConsistentRead: aws.Bool(true),
	}, plainHTTP)
	if err != nil {
		return nil, t.translate("GetItem", err)
	}
	if len(out.Item) == 0 {
		return nil, nil
	}
	return t.read(id, out.Item)
}

// errRefused says that a write's condition did not hold. It never leaves this package.
var errRefused = errors.New("the condition did not hold")

// put writes an item over that revision, 0 meaning that there is none yet. If the condition did not hold, the error is
// errRefused, and present says whether there was an item.
func (t table) put(ctx context.Context, id string, document []byte, revision int64) (present bool, err error) {
	condition, values := atRevision(revision)
	if revision == 0 {
		condition, values = "attribute_not_exists("+t.key+")", nil
	}
	return t.putIf(ctx, id, document, revision, condition, values)
}

// replace is put over a record that has a handle, which JSON escapes nothing of: revisions begin anew with an id that is given
// again, and a record of that id which was read before must not come back.
func (t table) replace(ctx context.Context, id string, document []byte, revision int64, handle string) (present bool, err error) {
	condition, values := atRevision(revision)
	values[":handle"] = &types.AttributeValueMemberS{Value: `"handle":"` + handle + `"`}
	return t.putIf(ctx, id, document, revision, condition+" AND contains("+attrDocument+", :handle)", values)
}

// putIf is put under a condition.
func (t table) putIf(ctx context.Context, id string, document []byte, revision int64, condition string, values attributes) (present bool, err error) {
	written := t.keyOf(id)
	written[attrRevision] = &types.AttributeValueMemberN{Value: strconv.FormatInt(revision+1, 10)}
	written[attrDocument] = &types.AttributeValueMemberS{Value: string(document)}
	writeID := rand.Text()
	written[attrWriteID] = &types.AttributeValueMemberS{Value: writeID}
	_, err = t.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           &t.name,
		Item:                                written,
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, plainHTTP)
	if err == nil {
		return true, nil
	}
	old, err := t.refused(ctx, "PutItem", id, err)
	if old != nil && old.writeID == writeID {
		// The SDK sends a request again whose answer was lost. The first one had been carried out.
		return true, nil
	}
	return old != nil, err
}

// delete removes an item of that revision. It fails as put does.
func (t table) delete(ctx context.Context, id string, revision int64) (present bool, err error) {
	condition, values := atRevision(revision)
	_, err = t.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName:                           &t.name,
		Key:                                 t.keyOf(id),
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, plainHTTP)
	if err == nil {
		return true, nil
	}
	old, err := t.refused(ctx, "DeleteItem", id, err)
	return old != nil, err
}

// atRevision is the condition of writing over a revision.
func atRevision(revision int64) (string, attributes) {
	return attrRevision + " = :revision",
		attributes{":revision": &types.AttributeValueMemberN{Value: strconv.FormatInt(revision, 10)}}
}

// refused returns the item that stood in the way of a conditional write, nil for none, and errRefused; or, if the write
// failed for another reason, that.
func (t table) refused(ctx context.Context, operation, id string, err error) (*item, error) {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return nil, t.translate(operation, err)
	}
	var old *item
	if len(failed.Item) > 0 {
		old, err = t.read(id, failed.Item)
	} else {
		// There was no item, or this is an emulator that doesn't return it.
		old, err = t.get(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return old, errRefused
}

// plainHTTP spares emulators the check of a checksum that they don't send, which the SDK reports as an error at each
// answer. Where there is TLS, and so always on AWS, the check stays.
func plainHTTP(o *dynamodb.Options) {
	if o.BaseEndpoint != nil && strings.HasPrefix(*o.BaseEndpoint, "http://") {
		o.DisableValidateResponseChecksum = true
	}
}
