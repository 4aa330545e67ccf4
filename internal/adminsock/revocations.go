package adminsock

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

var _ revocation.Log = (*Store)(nil)

// entriesLine is how many revocations a line of the answer holds at most: some 40 KB, far below maxMessage.
const entriesLine = 1000

// Append implements revocation.Appender.
func (s *Store) Append(ctx context.Context, e revocation.Entry) error {
	_, err := s.call(ctx, "append", request{Entry: e.String()})
	return err
}

// FeedID implements revocation.Log.
func (s *Store) FeedID(ctx context.Context) (string, error) {
	a, err := s.call(ctx, "feed-id", request{})
	if err != nil {
		return "", err
	}
	return a.ID, nil
}

// Entries implements revocation.Log.
func (s *Store) Entries(ctx context.Context, from, until time.Time, yield func(revocation.Entry) bool) error {
	// Entries have whole seconds.
	q := request{From: from.Add(time.Second - 1).Unix()}
	if !until.IsZero() {
		q.Until = until.Add(time.Second - 1).Unix()
	}
	return s.entries(ctx, "entries", q, yield)
}

// Always implements revocation.Log.
func (s *Store) Always(ctx context.Context) ([]revocation.Entry, error) {
	var list []revocation.Entry
	err := s.entries(ctx, "always", request{}, func(e revocation.Entry) bool {
		list = append(list, e)
		return true
	})
	return list, err
}

func (s *Store) entries(ctx context.Context, operation string, q request, yield func(revocation.Entry) bool) error {
	lines, err := s.open(ctx, operation, q)
	if err != nil {
		return err
	}
	defer lines.Close()
	for {
		a, err := lines.next(ctx)
		if err != nil || a.End {
			return err
		}
		for _, text := range a.Entries {
			e, err := revocation.Parse(text)
			if err != nil {
				return fmt.Errorf("the answer of `latchkey dev`: %w", err)
			}
			if !yield(e) {
				return nil
			}
		}
	}
}

// entries writes lines of revocations and one for the end, without which they are not all.
func entries(w http.ResponseWriter, r *http.Request, read func(q request, yield func(revocation.Entry) bool) error) {
	q, err := readRequest(w, r)
	if err != nil {
		_ = write(w, failure(err))
		return
	}
	var line []string
	var broken error
	flush := func() bool {
		if len(line) > 0 {
			broken = write(w, answer{Entries: line})
			line = line[:0]
		}
		return broken == nil
	}
	err = read(q, func(e revocation.Entry) bool {
		line = append(line, e.String())
		return len(line) < entriesLine || flush()
	})
	last := answer{End: true}
	if err != nil {
		last = failure(err)
	} else if !flush() {
		return // who has gone away needs no answer
	}
	_ = write(w, last)
}

// entriesOf reads those of a time.
func entriesOf(w http.ResponseWriter, r *http.Request, b Backend) {
	entries(w, r, func(q request, yield func(revocation.Entry) bool) error {
		var until time.Time
		if q.Until != 0 {
			until = time.Unix(q.Until, 0)
		}
		return b.Entries(r.Context(), time.Unix(q.From, 0), until, yield)
	})
}

// entriesAlways reads those that are never forgotten.
func entriesAlways(w http.ResponseWriter, r *http.Request, b Backend) {
	entries(w, r, func(_ request, yield func(revocation.Entry) bool) error {
		list, err := b.Always(r.Context())
		for _, e := range list {
			if !yield(e) {
				break
			}
		}
		return err
	})
}
