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
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

// userTables makes tables of the test's own.
func userTables(t *testing.T, db *dynamodb.Client) (*dynamostore.UserStore, *dynamostore.SignInStore) {
	t.Helper()
	name := "latchkey-test-" + rand.Text()
	must(t, dynamostore.CreateUserTables(t.Context(), db, name+"-users", name+"-signins"))
	t.Cleanup(func() {
		for _, table := range []string{name + "-users", name + "-signins"} {
			if _, err := db.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table}); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
	})
	users, err := dynamostore.NewUsers(db, name+"-users")
	must(t, err)
	signIns, err := dynamostore.NewSignIns(db, name+"-signins")
	must(t, err)
	return users, signIns
}

func TestUsers(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		cfg := testenv.AWSConfig(endpoint)
		if strings.HasSuffix(t.Name(), "/moto") {
			cfg.HTTPClient = oneAtATime() // see TestStore
		}
		db := dynamodb.NewFromConfig(cfg)
		storetest.RunUsers(t, func(t *testing.T) user.Store { s, _ := userTables(t, db); return s })
		storetest.RunSignIns(t, func(t *testing.T) backoff.Store { _, s := userTables(t, db); return s })
	})
}

// TestSignInCalls counts what a sign-in costs.
func TestSignInCalls(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		proxy := testenv.Proxy(t, endpoint)
		_, s := userTables(t, dynamodb.NewFromConfig(testenv.AWSConfig(proxy.Endpoint)))
		limiter := &backoff.Limiter{Store: s, Key: func(context.Context) ([]byte, error) { return make([]byte, 32), nil }}
		proxy.Reset()
		try, err := limiter.Begin(t.Context(), backoff.Who{Name: "ada", Client: "orders-app", Source: "192.0.2.1:1"})
		must(t, err)
		if got := fmt.Sprint(proxy.Counts()); got != "map[DynamoDB.UpdateItem:4]" {
			t.Errorf("a try makes the calls %v", got)
		}
		proxy.Reset()
		must(t, try.Succeeded(t.Context()))
		if got := fmt.Sprint(proxy.Counts()); got != "map[DynamoDB.DeleteItem:1 DynamoDB.PutItem:1 DynamoDB.UpdateItem:3]" {
			t.Errorf("that it was right makes the calls %v", got)
		}
	})
}

func TestNoUserTables(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig("http://127.0.0.1:1"))
	if _, err := dynamostore.NewUsers(db, ""); err == nil {
		t.Error("NewUsers took an empty name")
	}
	if _, err := dynamostore.NewSignIns(db, ""); err == nil {
		t.Error("NewSignIns took an empty name")
	}
	testUnreachable := func(err error) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%v; want a failure that names no endpoint", err)
		}
	}
	signIns, err := dynamostore.NewSignIns(db, "none")
	must(t, err)
	_, _, err = signIns.AddTry(t.Context(), "a", 1, time.Now(), time.Now())
	testUnreachable(err)
	_, err = signIns.SwapTries(t.Context(), "a", backoff.Count{}, backoff.Count{N: 1})
	testUnreachable(err)
	testUnreachable(signIns.TakeTry(t.Context(), "a"))
	testUnreachable(signIns.SetTries(t.Context(), "a", backoff.Count{}))
}
