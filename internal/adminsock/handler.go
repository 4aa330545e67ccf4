package adminsock

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// Handler serves a store to whoever may connect: it checks no credentials.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	handle := func(name string, operation func(context.Context, request) (answer, error)) {
		mux.HandleFunc("POST "+prefix+name, func(w http.ResponseWriter, r *http.Request) {
			var a answer
			q, err := readRequest(w, r)
			if err == nil {
				a, err = operation(r.Context(), q)
			}
			if err != nil {
				a = failure(err)
			}
			_ = write(w, a)
		})
	}
	handle("client", func(ctx context.Context, q request) (answer, error) {
		c, err := b.Client(ctx, q.ID)
		if err != nil {
			return answer{}, err
		}
		return clientAnswer(c)
	})
	handle("create-client", func(ctx context.Context, q request) (answer, error) {
		var r client.Record
		if err := json.Unmarshal(q.Document, &r); err != nil {
			return answer{}, fmt.Errorf("the record: %w", err)
		}
		return answer{}, b.CreateClient(ctx, &r)
	})
	handle("update-client", func(ctx context.Context, q request) (answer, error) {
		var r client.Record
		if err := json.Unmarshal(q.Document, &r); err != nil {
			return answer{}, fmt.Errorf("the record: %w", err)
		}
		return answer{}, b.UpdateClient(ctx, &r, q.Revision)
	})
	handle("delete-client", func(ctx context.Context, q request) (answer, error) {
		return answer{}, b.DeleteClient(ctx, q.ID, q.Revision)
	})
	handle("public-keys", func(ctx context.Context, _ request) (answer, error) {
		d, revision, err := b.PublicKeys(ctx)
		if err != nil {
			return answer{}, err
		}
		document, err := json.Marshal(d)
		return answer{Revision: revision, Document: document}, err
	})
	handle("put-public-keys", func(ctx context.Context, q request) (answer, error) {
		var d keyring.PublicDocument
		if err := json.Unmarshal(q.Document, &d); err != nil {
			return answer{}, fmt.Errorf("the public keys: %w", err)
		}
		return answer{}, b.PutPublicKeys(ctx, &d, q.Revision)
	})
	handle("append", func(ctx context.Context, q request) (answer, error) {
		e, err := revocation.Parse(q.Entry)
		if err != nil {
			return answer{}, err
		}
		return answer{}, b.Append(ctx, e)
	})
	handle("feed-id", func(ctx context.Context, _ request) (answer, error) {
		id, err := b.FeedID(ctx)
		return answer{ID: id}, err
	})
	handleUsers(handle, b)
	handleIssuers(handle, b)
	mux.HandleFunc("POST "+prefix+"issuers", func(w http.ResponseWriter, r *http.Request) { listIssuers(w, r, b) })
	mux.HandleFunc("POST "+prefix+"users", func(w http.ResponseWriter, r *http.Request) { listUsers(w, r, b) })
	mux.HandleFunc("POST "+prefix+"entries", func(w http.ResponseWriter, r *http.Request) { entriesOf(w, r, b) })
	mux.HandleFunc("POST "+prefix+"always", func(w http.ResponseWriter, r *http.Request) { entriesAlways(w, r, b) })
	mux.HandleFunc("POST "+prefix+"clients", func(w http.ResponseWriter, r *http.Request) { list(w, r, b) })
	return mux
}

// list writes a line for each record and one for the end, without which the list is not whole.
func list(w http.ResponseWriter, r *http.Request, b Backend) {
	last := answer{End: true}
	if _, err := readRequest(w, r); err != nil {
		_ = write(w, failure(err))
		return
	}
	var broken error
	err := b.Clients(r.Context(), func(c *client.Stored) bool {
		var line answer
		if line, broken = clientAnswer(c); broken == nil {
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

func clientAnswer(c *client.Stored) (answer, error) {
	document, err := c.Record.Marshal()
	return answer{Revision: c.Revision, Document: document}, err
}

func readRequest(w http.ResponseWriter, r *http.Request) (request, error) {
	var q request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMessage)).Decode(&q); err != nil {
		return q, fmt.Errorf("the request: %w", err)
	}
	return q, nil
}

// write writes one line.
func write(w http.ResponseWriter, a answer) error {
	w.Header().Set("Content-Type", "application/jsonl")
	return json.NewEncoder(w).Encode(a)
}
