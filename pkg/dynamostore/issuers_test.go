package dynamostore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
)

// issuerTables makes tables of the test's own.
func issuerTables(t *testing.T, db *dynamodb.Client) (*dynamostore.IssuerStore, *dynamostore.AssertionStore) {
	t.Helper()
	name := "latchkey-test-" + rand.Text()
	must(t, dynamostore.CreateIssuerTables(t.Context(), db, name+"-issuers", name+"-assertions"))
	t.Cleanup(func() {
		for _, table := range []string{name + "-issuers", name + "-assertions"} {
			if _, err := db.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table}); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
	})
	issuers, err := dynamostore.NewIssuers(db, name+"-issuers")
	must(t, err)
	assertions, err := dynamostore.NewAssertions(db, name+"-assertions")
	must(t, err)
	return issuers, assertions
}

func TestIssuers(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		cfg := testenv.AWSConfig(endpoint)
		if strings.HasSuffix(t.Name(), "/moto") {
			cfg.HTTPClient = oneAtATime() // see TestStore
		}
		db := dynamodb.NewFromConfig(cfg)
		storetest.RunIssuers(t, func(t *testing.T) issuer.Store { s, _ := issuerTables(t, db); return s })
		storetest.RunAssertions(t, func(t *testing.T) assertion.Uses { _, s := issuerTables(t, db); return s })
	})
}

// TestAssertionCalls counts what the use of an assertion costs, the first and the second.
func TestAssertionCalls(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		proxy := testenv.Proxy(t, endpoint)
		_, s := issuerTables(t, dynamodb.NewFromConfig(testenv.AWSConfig(proxy.Endpoint)))
		proxy.Reset()
		now := time.Unix(1_790_000_000, 0)
		for i := range 2 {
			first, err := s.UseAssertion(t.Context(), "a", now, now.Add(time.Minute))
			must(t, err)
			if first != (i == 0) {
				t.Errorf("use %d is the first: %v", i+1, first)
			}
		}
		if got := fmt.Sprint(proxy.Counts()); got != "map[DynamoDB.PutItem:2]" {
			t.Errorf("two uses make the calls %v", got)
		}
	})
}

func TestNoIssuerTables(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig("http://127.0.0.1:1"))
	if _, err := dynamostore.NewIssuers(db, ""); err == nil {
		t.Error("NewIssuers took an empty name")
	}
	if _, err := dynamostore.NewAssertions(db, ""); err == nil {
		t.Error("NewAssertions took an empty name")
	}
}
