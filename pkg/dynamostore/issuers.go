package dynamostore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
)

const issuersKey = "issuer" // partition key of the issuers table: a URL

// IssuerStore is an issuer.Store. A function that verifies their tokens needs dynamodb:GetItem on the table.
type IssuerStore struct{ issuers table }

var _ issuer.Store = (*IssuerStore)(nil)

// NewIssuers makes an IssuerStore on the table of that name. It makes no call.
func NewIssuers(db *dynamodb.Client, name string) (*IssuerStore, error) {
	if name == "" {
		return nil, errors.New("dynamostore: the name of the issuers table is empty")
	}
	return &IssuerStore{table{db: db, name: name, key: issuersKey, label: "issuers table"}}, nil
}

// Issuer implements issuer.Store.
func (s *IssuerStore) Issuer(ctx context.Context, url string) (*issuer.Stored, error) {
	if !possibleURL(url) {
		return nil, issuer.ErrNotFound
	}
	found, err := s.issuers.get(ctx, url)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, issuer.ErrNotFound
	}
	return found.issuer(url)
}

// possibleURL tells what DynamoDB takes as a key.
func possibleURL(url string) bool { return url != "" && len(url) <= assertion.MaxURL }

// CreateIssuer implements issuer.Store.
func (s *IssuerStore) CreateIssuer(ctx context.Context, r *issuer.Record) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = s.issuers.put(ctx, r.URL, document, 0)
	if errors.Is(err, errRefused) {
		return issuer.ErrExists
	}
	return err
}

// UpdateIssuer implements issuer.Store.
func (s *IssuerStore) UpdateIssuer(ctx context.Context, r *issuer.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	present, err := s.issuers.replace(ctx, r.URL, document, revision, r.Handle)
	return issuerRefusal(present, err)
}

// DeleteIssuer implements issuer.Store. Should the answer to a deletion be lost on the way, the SDK asks again, and the answer is
// issuer.ErrNotFound.
func (s *IssuerStore) DeleteIssuer(ctx context.Context, url string, revision int64) error {
	if !possibleURL(url) {
		return issuer.ErrNotFound
	}
	present, err := s.issuers.delete(ctx, url, revision)
	return issuerRefusal(present, err)
}

// issuerRefusal turns what became of a conditional write into issuer.Store's terms.
func issuerRefusal(present bool, err error) error {
	switch {
	case !errors.Is(err, errRefused):
		return err
	case present:
		return issuer.ErrConflict
	default:
		return issuer.ErrNotFound
	}
}

// Issuers implements issuer.Store, in no order. It reads the table page by page: a record that is written meanwhile may be seen
// as it was or as it is.
func (s *IssuerStore) Issuers(ctx context.Context, yield func(*issuer.Stored) bool) error {
	pages := dynamodb.NewScanPaginator(s.issuers.db, &dynamodb.ScanInput{TableName: &s.issuers.name, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, plainHTTP)
		if err != nil {
			return s.issuers.translate("Scan", err)
		}
		for _, found := range page.Items {
			name, ok := found[issuersKey].(*types.AttributeValueMemberS)
			if !ok {
				return fmt.Errorf("dynamostore: an item of the %s is damaged: it has no %s", s.issuers.label, issuersKey)
			}
			item, err := s.issuers.read(name.Value, found)
			if err != nil {
				return err
			}
			record, err := item.issuer(name.Value)
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

func (i *item) issuer(url string) (*issuer.Stored, error) {
	r, err := issuer.Unmarshal(url, i.document)
	if err != nil {
		return nil, err
	}
	return &issuer.Stored{Record: *r, Revision: i.revision}, nil
}
