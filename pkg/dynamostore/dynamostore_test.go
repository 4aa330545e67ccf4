package dynamostore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// endpointVariable names one more DynamoDB to test against, such as a DynamoDB Local.
const endpointVariable = "LATCHKEY_TEST_DYNAMODB_ENDPOINT"

// endpoints calls test for each DynamoDB there is.
func endpoints(t *testing.T, test func(t *testing.T, endpoint string)) {
	t.Run("moto", func(t *testing.T) { test(t, testenv.Moto(t).Endpoint) })
	t.Run("dynalite", func(t *testing.T) { test(t, testenv.Dynalite(t)) })
	if endpoint := os.Getenv(endpointVariable); endpoint != "" {
		t.Run("given", func(t *testing.T) { test(t, endpoint) })
	}
}

func TestStore(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		db := racing(t, endpoint)
		storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, db, tables(t, db)) })
	})
}

// racing is a client for a test in which several write at the same time. moto looks at a write's condition and writes in two
// steps, on many threads, without a lock: now and then it lets two writers win. So its requests arrive in any order, but one
// at a time; the others' arrive at once.
func racing(t *testing.T, endpoint string) *dynamodb.Client {
	cfg := testenv.AWSConfig(endpoint)
	if strings.HasSuffix(t.Name(), "/moto") {
		cfg.HTTPClient = oneAtATime()
	}
	return dynamodb.NewFromConfig(cfg)
}

// tables makes tables of the test's own.
func tables(t *testing.T, db *dynamodb.Client) dynamostore.Tables {
	t.Helper()
	name := "latchkey-test-" + rand.Text()
	made := dynamostore.Tables{Clients: name + "-clients", Keys: name + "-keys", Revocations: name + "-revocations"}
	t.Cleanup(func() {
		for _, name := range []string{made.Clients, made.Keys, made.Revocations} {
			if _, err := db.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
	})
	if err := dynamostore.CreateTables(t.Context(), db, made); err != nil {
		t.Fatal(err)
	}
	return made
}

func open(t *testing.T, db *dynamodb.Client, tables dynamostore.Tables) *dynamostore.Store {
	t.Helper()
	s, err := dynamostore.New(db, tables)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(id string) *client.Record {
	return &client.Record{
		Version: client.RecordVersion, ID: id, Audiences: []string{"https://api.example.com"},
		Grants: []string{oauth.GrantClientCredentials}, RefreshMode: token.ModeBearer, Epoch: 1, Handle: "c_handle",
	}
}

func keys(t *testing.T) *keyring.PublicDocument {
	t.Helper()
	key, err := keyring.Generate(keyring.ES256, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	ring := keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	d, err := ring.Public()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCreateTablesTwice(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		db := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
		names := tables(t, db)
		s := open(t, db, names)
		must(t, s.CreateClient(t.Context(), record("kept")))
		must(t, dynamostore.CreateTables(t.Context(), db, names))
		_, err := s.Client(t.Context(), "kept")
		must(t, err)
		out, err := db.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &names.Clients})
		must(t, err)
		if out.Table.BillingModeSummary == nil || out.Table.BillingModeSummary.BillingMode != types.BillingModePayPerRequest {
			t.Errorf("billing is %+v; want it on demand", out.Table.BillingModeSummary)
		}
	})
}

func TestEmptyNames(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig("http://127.0.0.1:1"))
	for _, names := range []dynamostore.Tables{{}, {Clients: "c", Keys: "k"}, {Keys: "k", Revocations: "r"}, {Clients: "c", Revocations: "r"}} {
		if _, err := dynamostore.New(db, names); err == nil {
			t.Errorf("New(%+v) took an empty name", names)
		}
		if err := dynamostore.CreateTables(t.Context(), db, names); err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("CreateTables(%+v): %v", names, err)
		}
	}
}

// TestCalls counts what each operation costs.
func TestCalls(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		direct := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
		names := tables(t, direct)
		proxy := testenv.Proxy(t, endpoint)
		s := open(t, dynamodb.NewFromConfig(testenv.AWSConfig(proxy.Endpoint)), names)
		costs := func(what string, call func() error, want string) {
			t.Helper()
			proxy.Reset()
			if err := call(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if got := fmt.Sprint(proxy.Counts()); got != want {
				t.Errorf("%s made the calls %v; want %v", what, got, want)
			}
		}
		ctx := t.Context()
		costs("create", func() error { return s.CreateClient(ctx, record("c-1")) }, "map[DynamoDB.PutItem:1]")
		costs("get", func() error { _, err := s.Client(ctx, "c-1"); return err }, "map[DynamoDB.GetItem:1]")
		costs("get what can't be", func() error {
			if _, err := s.Client(ctx, "C 1"); !errors.Is(err, client.ErrNotFound) {
				return fmt.Errorf("%w; want %w", err, client.ErrNotFound)
			}
			return nil
		}, "map[]")
		costs("update", func() error { return s.UpdateClient(ctx, record("c-1"), 1) }, "map[DynamoDB.PutItem:1]")
		costs("list", func() error { return s.Clients(ctx, func(*client.Stored) bool { return true }) }, "map[DynamoDB.Scan:1]")
		costs("delete", func() error { return s.DeleteClient(ctx, "c-1", 2) }, "map[DynamoDB.DeleteItem:1]")
		costs("put keys", func() error { return s.PutPublicKeys(ctx, keys(t), 0) }, "map[DynamoDB.PutItem:1]")
		costs("get keys", func() error { _, _, err := s.PublicKeys(ctx); return err }, "map[DynamoDB.GetItem:1]")

		// DynamoDB returns at most 1 MB at once. Who has seen enough reads no further.
		for i := range 8 {
			id := fmt.Sprintf("large-%d", i)
			document, err := record(id).Marshal()
			must(t, err)
			_, err = direct.PutItem(ctx, &dynamodb.PutItemInput{TableName: &names.Clients, Item: map[string]types.AttributeValue{
				"client_id": text(id), "revision": number("1"), "document": text(string(document)),
				"ballast": text(strings.Repeat("b", 300_000)),
			}})
			must(t, err)
		}
		scans := func(most, wantSeen int) int {
			t.Helper()
			proxy.Reset()
			seen := 0
			must(t, s.Clients(ctx, func(*client.Stored) bool { seen++; return seen < most }))
			if seen != wantSeen {
				t.Errorf("saw %d records; want %d", seen, wantSeen)
			}
			return proxy.Counts()["DynamoDB.Scan"]
		}
		if got := scans(1, 1); got != 1 {
			t.Errorf("looking at one record took %d scans; want 1", got)
		}
		if got := scans(9, 8); got < 3 {
			t.Errorf("2.4 MB took %d scans; want 3 at least", got)
		}
	})
}

// TestReadsAreConsistent looks at what is asked of DynamoDB: no emulator has stale reads.
func TestReadsAreConsistent(t *testing.T) {
	var bodies bytes.Buffer
	cfg := testenv.AWSConfig("http://dynamodb.invalid")
	cfg.HTTPClient = clientFunc(func(r *http.Request) (*http.Response, error) {
		if _, err := io.Copy(&bodies, r.Body); err != nil {
			return nil, err
		}
		return answer(r, http.StatusOK, `{"Items":[]}`), nil
	})
	s := open(t, dynamodb.NewFromConfig(cfg), dynamostore.Tables{Clients: "c", Keys: "k", Revocations: "r"})
	_, err := s.Client(t.Context(), "c-1")
	wantIs(t, err, client.ErrNotFound)
	must(t, s.Clients(t.Context(), func(*client.Stored) bool { return true }))
	_, _, err = s.PublicKeys(t.Context())
	wantIs(t, err, keyring.ErrNoKeys)
	if got := strings.Count(bodies.String(), `"ConsistentRead":true`); got != 3 {
		t.Errorf("%d of 3 reads were consistent: %s", got, &bodies)
	}
}

// TestLostAnswer drops the answer to a write that was carried out. The SDK sends it again, and it must not be taken for
// somebody else's.
func TestLostAnswer(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		direct := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
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
		s := open(t, dynamodb.NewFromConfig(cfg), tables(t, direct))
		lost := func(err error) {
			t.Helper()
			must(t, err)
			if lose.Load() >= 0 || sent.Load() < 2 {
				t.Fatal("no answer was lost")
			}
			lose.Store(1)
			sent.Store(0)
		}
		lose.Store(1)
		lost(s.CreateClient(t.Context(), record("c-1")))
		lost(s.UpdateClient(t.Context(), record("c-1"), 1))
		lost(s.PutPublicKeys(t.Context(), keys(t), 0))
		lost(s.PutPublicKeys(t.Context(), keys(t), 1))
		got, err := s.Client(t.Context(), "c-1")
		lost(err)
		if got.Revision != 2 {
			t.Errorf("the record is at revision %d; want 2", got.Revision)
		}
		// A write of the same by another is not ours.
		lose.Store(0)
		wantIs(t, s.CreateClient(t.Context(), record("c-1")), client.ErrExists)
		wantIs(t, s.UpdateClient(t.Context(), record("c-1"), 1), client.ErrConflict)
	})
}

func TestDamagedItems(t *testing.T) {
	db := dynamodb.NewFromConfig(testenv.AWSConfig(testenv.Dynalite(t)))
	names := tables(t, db)
	s := open(t, db, names)
	good, err := record("c-1").Marshal()
	must(t, err)
	for name, item := range map[string]map[string]types.AttributeValue{
		"no document":        {"revision": number("1")},
		"no revision":        {"document": text(string(good))},
		"revision as text":   {"revision": text("1"), "document": text(string(good))},
		"fraction":           {"revision": number("1.5"), "document": text(string(good))},
		"document as number": {"revision": number("1"), "document": number("1")},
		"not JSON":           {"revision": number("1"), "document": text("{")},
		"another's":          {"revision": number("1"), "document": text(strings.Replace(string(good), "c-1", "c-2", 1))},
	} {
		t.Run(name, func(t *testing.T) {
			item["client_id"] = text("c-1")
			_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &names.Clients, Item: item})
			must(t, err)
			for what, call := range map[string]func() error{
				"Client":  func() error { _, err := s.Client(t.Context(), "c-1"); return err },
				"Clients": func() error { return s.Clients(t.Context(), func(*client.Stored) bool { return true }) },
			} {
				err := call()
				if err == nil || errors.Is(err, client.ErrNotFound) || !strings.Contains(err.Error(), "c-1") {
					t.Errorf("%s: %v; want an error that names c-1", what, err)
				}
			}
		})
	}
	// Nothing but revision and document is needed to read an item.
	_, err = db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &names.Clients, Item: map[string]types.AttributeValue{
		"client_id": text("c-1"), "revision": number("41"), "document": text(string(good)), "later": text("more"),
	}})
	must(t, err)
	must(t, s.UpdateClient(t.Context(), record("c-1"), 41))
}

// secretish matches what no error text may hold.
var secretish = regexp.MustCompile(`arn:|\d{12}|AKIA|127\.0\.0\.1|localhost|https?:|amazonaws|(?i)request ?id|[0-9A-Z]{40,}`)

// TestErrorsTellNothing has a real SDK client fail in each way there is.
func TestErrorsTellNothing(t *testing.T) {
	const requestID = "B2Q1ZK0V8Q4VJ0LVTE9I7ST1RFVV4KQNSO5AEMVJF66Q9ASUAAJG"
	awsError := func(code, message string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			resp := answer(r, http.StatusBadRequest, fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q}`, code, message))
			resp.Header.Set("X-Amzn-Requestid", requestID)
			return resp, nil
		}
	}
	call := func(cfg aws.Config) error {
		s := open(t, dynamodb.NewFromConfig(cfg), dynamostore.Tables{
			Clients: "arn:aws:dynamodb:eu-central-1:123456789012:table/clients", Keys: "k", Revocations: "r",
		})
		_, err := s.Client(t.Context(), "c-1")
		return err
	}
	for _, test := range []struct {
		name   string
		client clientFunc
		want   string
	}{
		{"access denied", awsError("AccessDeniedException", "User: arn:aws:sts::123456789012:assumed-role/token-role/AKIAEXAMPLE is "+
			"not authorized to perform: dynamodb:GetItem on resource: arn:aws-us-gov:dynamodb:eu-central-1:123456789012:table/clients "+
			"because no identity-based policy allows the dynamodb:GetItem action"),
			"DynamoDB GetItem on the clients table: the role or user in use is not allowed to do this (AccessDeniedException)"},
		{"account and request", awsError("SomethingElse", "account 123456789012, request "+requestID+", see https://dynamodb.eu-central-1.amazonaws.com/x"),
			"DynamoDB GetItem on the clients table: SomethingElse"},
		{"no table", awsError("ResourceNotFoundException", "Requested resource not found: Table: arn:aws:dynamodb:eu-central-1:123456789012:table/c"),
			"DynamoDB GetItem: there is no such clients table in this account and Region"},
		{"not ours", func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusBadGateway, "<html>127.0.0.1</html>"), nil
		},
			"DynamoDB GetItem on the clients table: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testenv.AWSConfig("https://dynamodb.eu-central-1.amazonaws.com")
			cfg.HTTPClient = test.client
			wantText(t, call(cfg), test.want)
		})
	}
	t.Run("refused", func(t *testing.T) {
		wantText(t, call(testenv.AWSConfig("http://127.0.0.1:1")), "no answer: connection refused")
	})
	t.Run("hung up", func(t *testing.T) {
		proxy := testenv.Proxy(t, "http://127.0.0.1:1")
		proxy.Stop()
		wantText(t, call(testenv.AWSConfig(proxy.Endpoint)), "DynamoDB GetItem on the clients table: ")
	})
	t.Run("no name", func(t *testing.T) {
		wantText(t, call(testenv.AWSConfig("http://localhost.invalid:8000")), "the endpoint's name could not be resolved")
	})
	t.Run("no credentials", func(t *testing.T) {
		cfg := testenv.AWSConfig("http://127.0.0.1:1")
		cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("role arn:aws:iam::123456789012:role/x at http://169.254.169.254: RequestID: 1")
		})
		wantText(t, call(cfg), "no AWS credentials were found")
	})
	for name, cause := range map[string]error{"cancelled": context.Canceled, "deadline": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			cfg := testenv.AWSConfig("https://dynamodb.eu-central-1.amazonaws.com")
			cfg.HTTPClient = clientFunc(func(*http.Request) (*http.Response, error) { return nil, cause })
			err := call(cfg)
			wantText(t, err, cause.Error())
			if !errors.Is(err, cause) {
				t.Errorf("errors.Is does not find %v", cause)
			}
		})
	}
}

func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v; want it to contain %q", err, want)
	}
	for _, format := range []string{"%v", "%+v", "%s", "%q"} {
		if leak := secretish.FindString(fmt.Sprintf(format, err)); leak != "" {
			t.Errorf("%q in the text: %v", leak, err)
		}
	}
}

// TestNoNoise looks at what the SDK logs, with a logger as programs have it, of an emulator that sends no checksums.
func TestNoNoise(t *testing.T) {
	endpoints(t, func(t *testing.T, endpoint string) {
		var log bytes.Buffer
		cfg := testenv.AWSConfig(endpoint)
		cfg.HTTPClient = clientFunc(func(r *http.Request) (*http.Response, error) {
			resp, err := http.DefaultClient.Do(r)
			if err == nil {
				resp.Header.Del("X-Amz-Crc32")
			}
			return resp, err
		})
		cfg.Logger = logging.NewStandardLogger(&log)
		db := dynamodb.NewFromConfig(cfg)
		quiet := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
		s := open(t, db, tables(t, quiet))
		must(t, s.CreateClient(t.Context(), record("c-1")))
		_, err := s.Client(t.Context(), "c-1")
		must(t, err)
		must(t, s.UpdateClient(t.Context(), record("c-1"), 1))
		must(t, s.Clients(t.Context(), func(*client.Stored) bool { return true }))
		wantIs(t, s.CreateClient(t.Context(), record("c-1")), client.ErrExists)
		wantIs(t, s.DeleteClient(t.Context(), "c-1", 1), client.ErrConflict)
		must(t, s.DeleteClient(t.Context(), "c-1", 2))
		wantIs(t, s.DeleteClient(t.Context(), "c-1", 2), client.ErrNotFound)
		_, err = s.Client(t.Context(), "c-1")
		wantIs(t, err, client.ErrNotFound)
		if log.Len() > 0 {
			t.Errorf("the SDK logged:\n%s", &log)
		}
	})
}

func text(s string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: s} }
func number(n string) types.AttributeValue { return &types.AttributeValueMemberN{Value: n} }

// clientFunc is an aws.HTTPClient.
type clientFunc func(*http.Request) (*http.Response, error)

func (f clientFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// oneAtATime returns a client that sends a request when the answer to the one before is there.
func oneAtATime() clientFunc {
	var mu sync.Mutex
	return func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		return http.DefaultClient.Do(r)
	}
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v; want: %v", err, want)
	}
}
