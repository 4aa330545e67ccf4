package adminsock

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/latchkey-auth/latchkey/pkg/issuer"
)

var _ issuer.Store = (*Store)(nil)

// Issuer implements issuer.Store.
func (s *Store) Issuer(ctx context.Context, url string) (*issuer.Stored, error) {
	a, err := s.call(ctx, "issuer", request{ID: url})
	if err != nil {
		return nil, err
	}
	return a.issuer(url)
}

// CreateIssuer implements issuer.Store.
func (s *Store) CreateIssuer(ctx context.Context, r *issuer.Record) error {
	return s.writeIssuer(ctx, "create-issuer", r, 0)
}

// UpdateIssuer implements issuer.Store.
func (s *Store) UpdateIssuer(ctx context.Context, r *issuer.Record, revision int64) error {
	return s.writeIssuer(ctx, "update-issuer", r, revision)
}

func (s *Store) writeIssuer(ctx context.Context, operation string, r *issuer.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = s.call(ctx, operation, request{Revision: revision, Document: document})
	return err
}

// DeleteIssuer implements issuer.Store.
func (s *Store) DeleteIssuer(ctx context.Context, url string, revision int64) error {
	_, err := s.call(ctx, "delete-issuer", request{ID: url, Revision: revision})
	return err
}

// Issuers implements issuer.Store, in the order of the store that is served. Records come one by one, so that yield may have
// been called before an error is returned.
func (s *Store) Issuers(ctx context.Context, yield func(*issuer.Stored) bool) error {
	lines, err := s.open(ctx, "issuers", request{})
	if err != nil {
		return err
	}
	defer lines.Close()
	for {
		a, err := lines.next(ctx)
		if err != nil || a.End {
			return err
		}
		var named struct {
			URL string `json:"issuer"`
		}
		if err := json.Unmarshal(a.Document, &named); err != nil {
			return fmt.Errorf("the answer of `latchkey dev`: %w", err)
		}
		u, err := a.issuer(named.URL)
		if err != nil {
			return err
		}
		if !yield(u) {
			return nil
		}
	}
}

func (a *answer) issuer(url string) (*issuer.Stored, error) {
	r, err := issuer.Unmarshal(url, a.Document)
	if err != nil {
		return nil, err
	}
	return &issuer.Stored{Record: *r, Revision: a.Revision}, nil
}

// handleIssuers adds the operations on single issuers.
func handleIssuers(handle func(name string, operation func(context.Context, request) (answer, error)), b issuer.Store) {
	handle("issuer", func(ctx context.Context, q request) (answer, error) {
		u, err := b.Issuer(ctx, q.ID)
		if err != nil {
			return answer{}, err
		}
		return issuerAnswer(u)
	})
	handle("create-issuer", func(ctx context.Context, q request) (answer, error) {
		r, err := issuerDocument(q)
		if err != nil {
			return answer{}, err
		}
		return answer{}, b.CreateIssuer(ctx, r)
	})
	handle("update-issuer", func(ctx context.Context, q request) (answer, error) {
		r, err := issuerDocument(q)
		if err != nil {
			return answer{}, err
		}
		return answer{}, b.UpdateIssuer(ctx, r, q.Revision)
	})
	handle("delete-issuer", func(ctx context.Context, q request) (answer, error) {
		return answer{}, b.DeleteIssuer(ctx, q.ID, q.Revision)
	})
}

func issuerDocument(q request) (*issuer.Record, error) {
	var r issuer.Record
	if err := json.Unmarshal(q.Document, &r); err != nil {
		return nil, fmt.Errorf("the record: %w", err)
	}
	return &r, nil
}

// listIssuers writes a line for each record and one for the end, without which the list is not whole.
func listIssuers(w http.ResponseWriter, r *http.Request, b Backend) {
	last := answer{End: true}
	if _, err := readRequest(w, r); err != nil {
		_ = write(w, failure(err))
		return
	}
	var broken error
	err := b.Issuers(r.Context(), func(u *issuer.Stored) bool {
		var line answer
		if line, broken = issuerAnswer(u); broken == nil {
			broken = write(w, line)
		}
		return broken == nil
	})
	if err == nil {
		err = broken
	}
	if err != nil {
		last = failure(err)
	}
	_ = write(w, last) // who has gone away needs no answer
}

func issuerAnswer(u *issuer.Stored) (answer, error) {
	document, err := u.Record.Marshal()
	return answer{Revision: u.Revision, Document: document}, err
}
