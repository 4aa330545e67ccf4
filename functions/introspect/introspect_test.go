package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// TestOnAWS: clients and public keys in the tables, and the feed over HTTP, suffice.
func TestOnAWS(t *testing.T) {
	endpoint := testenv.Moto(t).Endpoint
	vars := variables()
	vars["AWS_ENDPOINT_URL"], vars["ALLOW_HTTP"], vars["AWS_REGION"] = endpoint, "true", testenv.Region
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
	tables := dynamostore.Tables{Clients: vars["CLIENTS_TABLE"], Keys: vars["KEYS_TABLE"], Revocations: "revocations"}
	must(dynamostore.CreateTables(t.Context(), db, tables))
	store, err := dynamostore.New(db, tables)
	must(err)
	_, secret, err := (&client.Registry{Store: store}).Create(t.Context(), client.Spec{
		ID: "api", Audiences: []string{"urn:api"}, Introspects: []string{"urn:api"},
	})
	must(err)
	now := time.Now().Truncate(time.Second)
	key, err := keyring.Generate(keyring.ES256, now.Add(-time.Hour))
	must(err)
	ring := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	public, err := ring.Public()
	must(err)
	must(store.PutPublicKeys(t.Context(), public, 0))
	feed := httptest.NewServer(revocation.NewFeed(revocation.FeedConfig{Source: store}))
	defer feed.Close()
	vars["REVOCATIONS_URL"] = feed.URL
	must(store.Append(t.Context(), revocation.Grant("g_2", now)))

	signer, err := keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return ring, nil },
	}).SigningKey(t.Context())
	must(err)
	var log bytes.Buffer
	handler, err := newHandler(lookup(vars), jsonlog.New(&log), nil)
	must(err)
	for grant, active := range map[string]bool{"g_1": true, "g_2": false} {
		raw, err := (&token.Access{
			Grant: token.Grant{
				GrantID: grant, ClientID: "shop", Subject: "shop", AuthTime: now, Epochs: token.Epochs{{Handle: "c_1", N: 1}},
			},
			Issuer: vars["ISSUER"], Audience: []string{"urn:api"}, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ID: "j1",
		}).Sign(t.Context(), signer)
		must(err)
		event, err := json.Marshal(map[string]any{
			"version": "2.0", "rawPath": "/oauth2/introspect",
			"headers": map[string]string{
				"content-type":  "application/x-www-form-urlencoded",
				"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+secret)),
			},
			"requestContext": map[string]any{"http": map[string]string{"method": "POST", "path": "/oauth2/introspect"}},
			"body":           url.Values{"token": {raw}}.Encode(),
		})
		must(err)
		data, err := handler.Invoke(t.Context(), event)
		must(err)
		var answer struct {
			StatusCode int
			Body       string
		}
		var said struct{ Active *bool }
		must(json.Unmarshal(data, &answer))
		must(json.Unmarshal([]byte(answer.Body), &said))
		if answer.StatusCode != 200 || said.Active == nil || *said.Active != active {
			t.Errorf("%s: %s, log %s", grant, data, &log)
		}
	}
}
