package adminsock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// Store is the store that another process serves: a client.Store, a user.Store, a keyring.PublicStore and a
// revocation.Log. The sentinel errors of those come over unchanged; of others, the text does.
type Store struct{ http *http.Client }

var (
	_ client.Store        = (*Store)(nil)
	_ keyring.PublicStore = (*Store)(nil)
)

// Dial returns the store that is served at path, or ErrNotRunning if none is. Close it.
func Dial(path string) (*Store, error) {
	c, err := dial(path)
	if err != nil {
		return nil, err
	}
	_ = c.Close() // it was to see whether somebody answers
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 8,
	}
	return &Store{&http.Client{Transport: transport}}, nil
}

// Close closes the connections that are not in use.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// Client implements client.Store.
func (s *Store) Client(ctx context.Context, id string) (*client.Stored, error) {
	a, err := s.call(ctx, "client", request{ID: id})
	if err != nil {
		return nil, err
	}
	return a.client(id)
}

// CreateClient implements client.Store.
func (s *Store) CreateClient(ctx context.Context, r *client.Record) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = s.call(ctx, "create-client", request{Document: document})
	return err
}

// UpdateClient implements client.Store.
func (s *Store) UpdateClient(ctx context.Context, r *client.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = s.call(ctx, "update-client", request{Revision: revision, Document: document})
	return err
}

// DeleteClient implements client.Store.
func (s *Store) DeleteClient(ctx context.Context, id string, revision int64) error {
	_, err := s.call(ctx, "delete-client", request{ID: id, Revision: revision})
	return err
}

// PublicKeys implements keyring.PublicStore.
func (s *Store) PublicKeys(ctx context.Context) (*keyring.PublicDocument, int64, error) {
	a, err := s.call(ctx, "public-keys", request{})
	if err != nil {
		return nil, 0, err
	}
	d, err := keyring.ParsePublicDocument(a.Document)
	if err != nil {
		return nil, 0, err
	}
	return d, a.Revision, nil
}

// PutPublicKeys implements keyring.PublicStore.
func (s *Store) PutPublicKeys(ctx context.Context, d *keyring.PublicDocument, revision int64) error {
	document, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = s.call(ctx, "put-public-keys", request{Revision: revision, Document: document})
	return err
}

// Clients implements client.Store, in the order of the store that is served. Records come one by one, so that yield may
// have been called before an error is returned.
func (s *Store) Clients(ctx context.Context, yield func(*client.Stored) bool) error {
	lines, err := s.open(ctx, "clients", request{})
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
			ID string `json:"client_id"`
		}
		if err := json.Unmarshal(a.Document, &named); err != nil {
			return fmt.Errorf("the answer of `latchkey dev`: %w", err)
		}
		c, err := a.client(named.ID)
		if err != nil {
			return err
		}
		if !yield(c) {
			return nil
		}
	}
}

func (a *answer) client(id string) (*client.Stored, error) {
	r, err := client.Unmarshal(id, a.Document)
	if err != nil {
		return nil, err
	}
	return &client.Stored{Record: *r, Revision: a.Revision}, nil
}

// call makes an operation that has one answer.
func (s *Store) call(ctx context.Context, operation string, q request) (*answer, error) {
	lines, err := s.open(ctx, operation, q)
	if err != nil {
		return nil, err
	}
	defer lines.Close()
	return lines.next(ctx)
}

// answers are the lines that come back.
type answers struct {
	*bufio.Scanner
	body interface{ Close() error }
}

func (s *Store) open(ctx context.Context, operation string, q request) (*answers, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://latchkey"+prefix+operation, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(r) //nolint:bodyclose // closed by answers.Close
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	lines := &answers{Scanner: bufio.NewScanner(resp.Body), body: resp.Body}
	lines.Buffer(nil, maxMessage+4096) // a document that was let in, and its envelope
	if resp.StatusCode != http.StatusOK {
		lines.Close()
		return nil, fmt.Errorf("the running `latchkey dev` is of another release (it answers %s): stop it and start it anew", resp.Status)
	}
	return lines, nil
}

// next reads a line. The answer's failure is an error.
func (l *answers) next(ctx context.Context) (*answer, error) {
	if !l.Scan() {
		err := l.Err()
		if err == nil {
			err = errors.New("its answer ends too soon")
		}
		return nil, unreachable(ctx, err)
	}
	var a answer
	if err := json.Unmarshal(l.Bytes(), &a); err != nil {
		return nil, fmt.Errorf("the answer of `latchkey dev`: %w", err)
	}
	if err := a.err(); err != nil {
		return nil, err
	}
	return &a, nil
}

// Close ends the answer, wanted or not.
func (l *answers) Close() { _ = l.body.Close() }

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) { // its text names a URL that nobody knows
		err = u.Err
	}
	return fmt.Errorf("`latchkey dev` does not answer: %w", err)
}
