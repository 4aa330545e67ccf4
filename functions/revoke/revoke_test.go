package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/secretkeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// TestOnAWS: what a deployment has in its tables and its one secret suffices, wherever the refresh keys sign.
func TestOnAWS(t *testing.T) {
	t.Run("secretsmanager", func(t *testing.T) { onAWS(t, keyring.HS256) })
	t.Run("kms", func(t *testing.T) { onAWS(t, keyring.ES256) })
}

func onAWS(t *testing.T, refreshing keyring.Algorithm) {
	endpoint := testenv.Moto(t).Endpoint
	cfg := testenv.AWSConfig(endpoint)
	vars := variables()
	vars["AWS_ENDPOINT_URL"], vars["ALLOW_HTTP"], vars["AWS_REGION"] = endpoint, "true", testenv.Region
	tables := dynamostore.Tables{Clients: vars["CLIENTS_TABLE"], Keys: vars["KEYS_TABLE"], Revocations: vars["REVOCATIONS_TABLE"]}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db := dynamodb.NewFromConfig(cfg)
	must(dynamostore.CreateTables(t.Context(), db, tables))
	store, err := dynamostore.New(db, tables)
	must(err)
	_, secret, err := (&client.Registry{Store: store}).Create(t.Context(), client.Spec{ID: "shop", Audiences: []string{"urn:api"}})
	must(err)

	now := time.Now().Truncate(time.Second)
	signer := func(d *keyring.Document) keyring.SigningKey {
		key, err := keyring.NewSource(keyring.SourceConfig{Load: constant(d)}).SigningKey(t.Context())
		must(err)
		return key
	}
	ring := func(use keyring.Use, alg keyring.Algorithm) *keyring.Document {
		key, err := keyring.Generate(alg, now.Add(-time.Hour))
		must(err)
		return &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
	}
	access, refresh := ring(keyring.UseAccess, keyring.ES256), ring(keyring.UseRefresh, refreshing)
	public, err := access.Public()
	must(err)
	must(store.PutPublicKeys(t.Context(), public, 0))
	stored := refresh
	if refreshing != keyring.HS256 { // as in KMS: the public half is here, the private one is not
		private, err := x509.ParsePKCS8PrivateKey(refresh.Keys[0].Private)
		must(err)
		der, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		must(err)
		key, err := keyring.FromKMS("key/1", refreshing, der, now.Add(-time.Hour))
		must(err)
		stored = &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseRefresh, Keys: []keyring.Key{key}}
	}
	secrets := secretsmanager.NewFromConfig(cfg)
	name := vars["REFRESH_KEYS_SECRET"]
	_, err = secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name})
	must(err)
	must(secretkeys.New(secrets, name, keyring.UseRefresh).Create(t.Context(), stored))

	g := token.Grant{GrantID: "g_1", ClientID: "shop", Subject: "shop", AuthTime: now, Epochs: token.Epochs{{Handle: "c_1", N: 1}}}
	issuer := vars["ISSUER"]
	accessToken, err := (&token.Access{
		Grant: g, Issuer: issuer, Audience: []string{"urn:api"}, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ID: "j1",
	}).Sign(t.Context(), signer(access))
	must(err)
	refreshToken, err := (&token.Refresh{
		Grant: g, Issuer: issuer, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ID: "j2", Resources: []string{"urn:api"},
		Mode: token.ModeBearer, GrantEnds: now.Add(time.Hour), AccessLifetime: time.Hour,
	}).Sign(t.Context(), signer(refresh))
	must(err)

	var log bytes.Buffer
	handler, err := newHandler(lookup(vars), jsonlog.New(&log))
	must(err)
	for _, raw := range []string{accessToken, refreshToken} {
		event, err := json.Marshal(map[string]any{
			"version": "2.0", "rawPath": "/oauth2/revoke",
			"headers": map[string]string{
				"content-type":  "application/x-www-form-urlencoded",
				"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("shop:"+secret)),
			},
			"requestContext": map[string]any{"http": map[string]string{"method": "POST", "path": "/oauth2/revoke"}},
			"body":           url.Values{"token": {raw}}.Encode(),
		})
		must(err)
		answer, err := handler.Invoke(t.Context(), event)
		must(err)
		if !strings.Contains(string(answer), `"statusCode":200`) {
			t.Errorf("answer %s, log %s", answer, &log)
		}
	}
	said := map[revocation.Key]bool{}
	must(store.Entries(t.Context(), now.Add(-time.Minute), time.Time{}, func(e revocation.Entry) bool {
		said[e.Key] = true
		return true
	}))
	if len(said) != 2 || !said[revocation.Token("j1", now).Key] || !said[revocation.Grant("g_1", now).Key] {
		t.Errorf("said %v, log %s", said, &log)
	}
}

func constant(d *keyring.Document) func(context.Context) (*keyring.Document, error) {
	return func(context.Context) (*keyring.Document, error) { return d, nil }
}
