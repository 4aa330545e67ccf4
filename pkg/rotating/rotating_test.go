package rotating_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func TestRecord(t *testing.T) {
	r := rotating.Of(&token.Refresh{
		Grant: token.Grant{GrantID: "g_1"}, ID: "t7", Generation: 7, IssuedAt: time.Unix(100, 0), ExpiresAt: time.Unix(200, 0),
	})
	if want := time.Unix(200, 0).Add(token.Leeway); !r.Ends().Equal(want) {
		t.Errorf("it ends at %v, want %v", r.Ends(), want)
	}
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"version":1,"grant_id":"g_1","generation":7,"jti":"t7","iat":100,"exp":200}`; string(data) != want {
		t.Errorf("stored as %s, want %s", data, want)
	}
	got, err := rotating.Unmarshal("g_1", 7, data)
	if diff := cmp.Diff(r, got); err != nil || diff != "" {
		t.Errorf("%v, read back (-want +got):\n%s", err, diff)
	}
	for old, new := range map[string]string{
		`{`: ``, `"version":1`: `"version":2`, `"g_1"`: `"g_2"`, `:7`: `:8`, `"t7"`: `""`,
	} {
		if _, err := rotating.Unmarshal("g_1", 7, []byte(strings.Replace(string(data), old, new, 1))); err == nil || !strings.Contains(err.Error(), "g_1") {
			t.Errorf("%s instead of %s: %v; want an error that names the grant", new, old, err)
		}
	}
}

// restored is a table in which a grant's record is as it was long ago.
type restored struct {
	record  rotating.Record
	said    []revocation.Entry
	deleted string
}

func (s *restored) CreateGrant(context.Context, *rotating.Record) error { return rotating.ErrExists }

func (s *restored) RotateGrant(context.Context, *rotating.Record, time.Time) (*rotating.Record, error) {
	return &s.record, nil
}

func (s *restored) DeleteGrant(_ context.Context, id string) error {
	s.deleted = id
	return nil
}

func (s *restored) Append(_ context.Context, e revocation.Entry) error {
	s.said = append(s.said, e)
	return nil
}

// TestRestoredTable: a token that is ahead of its record shows that the record is of an earlier time. Whoever holds an old
// token could go on by it, so that the grant ends.
func TestRestoredTable(t *testing.T) {
	now := time.Unix(1000, 0)
	s := &restored{record: rotating.Record{GrantID: "g_1", Generation: 3, TokenID: "t3", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}}
	g := rotating.Grants{Store: s, Revocations: s, Now: func() time.Time { return now }}
	held := &token.Refresh{Grant: token.Grant{GrantID: "g_1"}, ID: "t10", Generation: 10, IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	next := *held
	next.ID, next.Generation = "t11", 11
	_, err := g.Rotate(t.Context(), held, &next)
	var over *token.InvalidError
	if !errors.As(err, &over) || over.Reason != token.ReasonReused {
		t.Errorf("got %v", err)
	}
	if len(s.said) != 1 || s.said[0] != revocation.Grant("g_1", now) || s.deleted != "g_1" {
		t.Errorf("said %v, deleted %q", s.said, s.deleted)
	}
}
