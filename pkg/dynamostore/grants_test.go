package dynamostore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
)

func TestGrants(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		cfg := testenv.AWSConfig(endpoint)
		if strings.HasSuffix(t.Name(), "/moto") {
			cfg.HTTPClient = oneAtATime() // see TestStore
		}
		db := dynamodb.NewFromConfig(cfg)
		storetest.RunGrants(t, func(t *testing.T) rotating.Store { s, _ := grants(t, db); return s })
	})
}

// grants makes a grants table of the test's own, and returns its name.
func grants(t *testing.T, db *dynamodb.Client) (*dynamostore.GrantStore, string) {
	t.Helper()
	name := "latchkey-test-" + rand.Text() + "-grants"
	must(t, dynamostore.CreateGrantsTable(t.Context(), db, name))
	t.Cleanup(func() {
		if _, err := db.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	s, err := dynamostore.NewGrants(db, name)
	must(t, err)
	return s, name
}

func grantRecord(generation int64, tokenID string) *rotating.Record {
	return &rotating.Record{
		GrantID: "g_1", Generation: generation, TokenID: tokenID,
		IssuedAt: time.Unix(1_790_000_000, 0), ExpiresAt: time.Unix(1_790_003_600, 0),
	}
}

// TestGrantCalls counts what each operation costs, and looks at the attribute by which DynamoDB deletes.
func TestGrantCalls(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		direct := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
		_, name := grants(t, direct)
		proxy := testenv.Proxy(t, endpoint)
		s, err := dynamostore.NewGrants(dynamodb.NewFromConfig(testenv.AWSConfig(proxy.Endpoint)), name)
		must(t, err)
		costs := func(what string, want string, call func() error) {
			t.Helper()
			proxy.Reset()
			must(t, call())
			if got := fmt.Sprint(proxy.Counts()); got != want {
				t.Errorf("%s made the calls %v; want %v", what, got, want)
			}
		}
		ctx, now := t.Context(), time.Unix(1_790_000_000, 0)
		costs("create", "map[DynamoDB.PutItem:1]", func() error { return s.CreateGrant(ctx, grantRecord(1, "a")) })
		costs("rotate", "map[DynamoDB.PutItem:1]", func() error { _, err := s.RotateGrant(ctx, grantRecord(2, "b"), now); return err })
		found, err := direct.GetItem(ctx, &dynamodb.GetItemInput{
			TableName: &name, Key: map[string]types.AttributeValue{"grant_id": &types.AttributeValueMemberS{Value: "g_1"}},
		})
		must(t, err)
		ends, _ := found.Item["expires_at"].(*types.AttributeValueMemberN)
		if ends == nil || ends.Value != "1790003605" {
			t.Errorf("expires_at is %v; want the newest token's end and the leeway", found.Item["expires_at"])
		}
		costs("delete", "map[DynamoDB.DeleteItem:1]", func() error { return s.DeleteGrant(ctx, "g_1") })
	})
}

// TestGrantLostAnswer drops the answer to a write that was carried out. The SDK sends it again.
func TestGrantLostAnswer(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		_, name := grants(t, dynamodb.NewFromConfig(testenv.AWSConfig(endpoint)))
		cfg := testenv.AWSConfig(endpoint)
		var lose, sent atomic.Int64
		cfg.HTTPClient = clientFunc(func(r *http.Request) (*http.Response, error) {
			sent.Add(1)
			resp, err := http.DefaultClient.Do(r)
			if err == nil && lose.Add(-1) >= 0 {
				resp.Body.Close()
				return nil, io.ErrUnexpectedEOF
			}
			return resp, err
		})
		s, err := dynamostore.NewGrants(dynamodb.NewFromConfig(cfg), name)
		must(t, err)
		lost := func(call func() error) {
			t.Helper()
			lose.Store(1)
			sent.Store(0)
			must(t, call())
			if lose.Load() >= 0 || sent.Load() < 2 {
				t.Fatal("no answer was lost")
			}
		}
		lost(func() error { return s.CreateGrant(t.Context(), grantRecord(1, "a")) })
		lost(func() error {
			stands, err := s.RotateGrant(t.Context(), grantRecord(2, "b"), time.Unix(1_790_000_000, 0))
			if err == nil && stands.TokenID != "b" {
				t.Errorf("token %s stands", stands.TokenID)
			}
			return err
		})
		lose.Store(0)
		if err := s.CreateGrant(t.Context(), grantRecord(1, "c")); !errors.Is(err, rotating.ErrExists) {
			t.Errorf("%v; want that there is one", err)
		}
		lost(func() error { return s.DeleteGrant(t.Context(), "g_1") })
	})
}
