package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// row is what came of a client's going through the flow: features and what it said of each.
type row map[string]any

// features are what clients are put through, and what has to come of it. ISSUER is the issuer.
var features = []struct{ name, want string }{
	{"discovery", "ISSUER" + oauth.PathToken},        // the token endpoint, found in the metadata (RFC 8414)
	{"sign-in", "orders:read orders:write"},          // client_credentials, by Basic: the scope that it was told of
	{"sign-in by post", "orders:write"},              // the same with the secret in the form, and with a scope
	{"password", "orders:read"},                      // a user's sign-in
	{"called", "orders:read orders:write"},           // what the sample API was told, called by the client's own means
	{"narrower", "orders:read"},                      // a refresh with less scope (RFC 6749 §6)
	{"wider again", "orders:read orders:write"},      // and one with all that was granted
	{"more than granted", "invalid_scope"},           // and one with more; golang.org/x/oauth2 asks for it at a sign-in
	{"without the secret", "orders:write"},           // a refresh at /oauth2/refresh
	{"introspected", "true false"},                   // an access token, and a refresh token, which is none (RFC 7662)
	{"revoked", "revoked"},                           // what is said of an access token whose refresh token was revoked (RFC 7009)
	{"wrong secret", "invalid_client"},               // the code, as the client reports it
	{"status", "401"},                                // and the HTTP status
	{"description", "Client authentication failed."}, // and the description
}

// clientRow is a client, and why it has nothing to say of some features.
type clientRow struct {
	name string
	na   map[string]string
}

var clients = []clientRow{
	{"golang.org/x/oauth2", map[string]string{
		"discovery": "it has none; the URLs are configured", "narrower": "a TokenSource sends no scope with a refresh",
		"introspected": "it has no introspection", "revoked": "it has no revocation",
	}},
	{"simple-oauth2", map[string]string{
		"discovery": "it has none; the paths are configured", "introspected": "it has no introspection",
	}},
	{"@badgateway/oauth2-client", nil},
	{"openid-client", nil},
	{"oauth4webapi", nil},
	{"Authlib", map[string]string{"status": "its OAuthError has none"}},
	{"requests-oauthlib", map[string]string{
		"discovery": "it has none; the URLs are configured", "introspected": "it has no introspection", "revoked": "it has no revocation",
	}},
	{"curl", nil},
}

// TestClients has clients that know nothing of Latchkey go through what each supports: one process a language, all at once.
func TestClients(t *testing.T) {
	t.Parallel()
	i := startIssuer(t, keyring.ES256)
	given := i.table(t)
	rows := map[string]func(t *testing.T) map[string]row{
		"Go": func(t *testing.T) map[string]row { return map[string]row{"golang.org/x/oauth2": xoauth2(t, given)} },
		"Node.js": func(t *testing.T) (got map[string]row) {
			node(t, "clients.mjs", given, &got)
			return got
		},
		"Python": func(t *testing.T) map[string]row {
			cases := i.cases(t)
			with := maps.Clone(given)
			tokens := map[string]string{}
			for _, c := range cases {
				tokens[c.name] = c.token
			}
			with["tokens"] = tokens
			var got struct {
				Rows     map[string]row
				Verdicts map[string]verdict // joserfc's
			}
			script{main: "clients.py", files: map[string]string{"clients.py": beside(t, "clients.py")}}.run(t, with, &got)
			i.judge(t, cases, got.Verdicts)
			return got.Rows
		},
		"shell": func(t *testing.T) map[string]row {
			if _, err := exec.LookPath("curl"); err != nil {
				const missing = "no curl on this machine"
				if os.Getenv("LATCHKEY_CI") != "" {
					t.Fatal(missing)
				}
				t.Skip(missing)
			}
			return map[string]row{"curl": curl(t, given)}
		},
	}
	names := map[string]bool{}
	for _, c := range clients {
		names[c.name] = true
	}
	for language, run := range rows {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			got := run(t)
			for name := range got {
				if !names[name] {
					t.Errorf("%s has no row", name)
				}
			}
			for _, c := range clients {
				if r, here := got[c.name]; here {
					if token, ok := r["revoked"]; ok {
						r["revoked"] = i.inspect(token)
					}
					c.compare(t, r, i.URL)
				}
			}
		})
	}
}

// table registers the client that all sign in as, and returns what they are given.
func (i *issuer) table(t *testing.T) map[string]any {
	t.Helper()
	var demo struct{ Username, Password string }
	if err := json.Unmarshal([]byte(beside(t, i.dir+"/demo.json")), &demo); err != nil {
		t.Fatal(err)
	}
	var made struct {
		Secret string `json:"client_secret"`
	}
	out, err := exec.Command(i.bin, "client", "create", "shop", "--dir", i.dir, "--json", "--scope", "orders:read orders:write",
		"--grant", oauth.GrantClientCredentials, "--grant", oauth.GrantRefreshToken, "--grant", oauth.GrantPassword,
		"--introspects", audience).Output()
	if err != nil || json.Unmarshal(out, &made) != nil {
		t.Fatalf("client create: %v\n%s", err, out)
	}
	wrong, _ := client.NewSecret(time.Now())
	return map[string]any{
		"issuer": i.URL, "metadata": i.URL + oauth.PathMetadata, "client_id": "shop", "client_secret": made.Secret, "wrong_secret": wrong,
		"username": demo.Username, "password": demo.Password, "whoami_url": i.WhoamiURL, "audience": audience, "algorithm": i.key.Algorithm,
	}
}

// inspect is what the tool says of an access token: why it is bad.
func (i *issuer) inspect(token any) string {
	cmd := exec.Command(i.bin, "token", "inspect", "--json", "--dir", i.dir)
	cmd.Stdin = strings.NewReader(fmt.Sprint(token))
	out, _ := cmd.Output() // of a bad token it is an error
	var said struct{ Reason string }
	if json.Unmarshal(out, &said) != nil {
		return string(out)
	}
	return said.Reason
}

// compare holds a row to the features, each of which it has or says why not.
func (c clientRow) compare(t *testing.T, got row, issuer string) {
	t.Helper()
	for _, f := range features {
		said, has := got[f.name]
		why, na := c.na[f.name]
		switch want := strings.Replace(f.want, "ISSUER", issuer, 1); {
		case na && has:
			t.Errorf("%s: %s: %v, though %s", c.name, f.name, said, why)
		case na:
			t.Logf("%s: %s: n/a: %s", c.name, f.name, why)
		case !has || fmt.Sprint(said) != want:
			t.Errorf("%s: %s: %v, want %s", c.name, f.name, said, want)
		}
	}
}

// xoauth2 is golang.org/x/oauth2's row.
func xoauth2(t *testing.T, given map[string]any) row {
	t.Helper()
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, http.DefaultClient)
	text := func(name string) string { return given[name].(string) }
	must := func(token *oauth2.Token, err error) *oauth2.Token {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	refusal := func(token *oauth2.Token, err error) *oauth2.RetrieveError {
		t.Helper()
		var e *oauth2.RetrieveError
		if !errors.As(err, &e) {
			t.Fatalf("%v, %v", token, err)
		}
		return e
	}
	scope := func(token *oauth2.Token) any { return token.Extra("scope") }

	cc := clientcredentials.Config{
		ClientID: text("client_id"), ClientSecret: text("client_secret"), TokenURL: text("issuer") + oauth.PathToken, AuthStyle: oauth2.AuthStyleInHeader,
	}
	grant := must(cc.Token(ctx))
	posting, greedy, wrong := cc, cc, cc
	posting.AuthStyle, posting.Scopes = oauth2.AuthStyleInParams, []string{"orders:write"}
	greedy.Scopes = []string{"orders:delete"}
	wrong.ClientSecret = text("wrong_secret")
	refused := refusal(wrong.Token(ctx))

	config := oauth2.Config{ClientID: cc.ClientID, ClientSecret: cc.ClientSecret, Endpoint: oauth2.Endpoint{TokenURL: cc.TokenURL, AuthStyle: cc.AuthStyle}}
	bare := oauth2.Config{ClientID: cc.ClientID, Endpoint: oauth2.Endpoint{TokenURL: text("issuer") + oauth.PathRefresh, AuthStyle: oauth2.AuthStyleInParams}}
	less := must(posting.Token(ctx))
	var told struct{ Scope string }
	res, err := config.Client(ctx, grant).Get(text("whoami_url"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&told); err != nil {
		t.Fatal(err)
	}
	return row{
		"sign-in": scope(grant), "sign-in by post": scope(less), "called": told.Scope,
		"password":           scope(must(config.PasswordCredentialsToken(ctx, text("username"), text("password")))),
		"wider again":        scope(must(config.TokenSource(ctx, &oauth2.Token{RefreshToken: grant.RefreshToken}).Token())),
		"without the secret": scope(must(bare.TokenSource(ctx, &oauth2.Token{RefreshToken: less.RefreshToken}).Token())),
		"more than granted":  refusal(greedy.Token(ctx)).ErrorCode,
		"wrong secret":       refused.ErrorCode, "status": refused.Response.StatusCode, "description": refused.ErrorDescription,
	}
}

// curl is curl's row: what it has is all that a shell has.
func curl(t *testing.T, given map[string]any) row {
	t.Helper()
	text := func(name string) string { return given[name].(string) }
	run := func(args ...string) (answer map[string]any, status string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "curl", append([]string{"-sS", "--noproxy", "*", "-w", "\n%{http_code}"}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("curl: %v", err)
		}
		body, status, _ := strings.Cut(string(out), "\n")
		if body != "" && json.Unmarshal([]byte(body), &answer) != nil {
			t.Fatalf("curl printed %q", out)
		}
		return answer, status
	}
	post := func(path string, args ...string) map[string]any {
		t.Helper()
		answer, _ := run(append(args, text("issuer")+path)...)
		return answer
	}
	basic := []string{"-u", text("client_id") + ":" + text("client_secret")}
	with := func(args ...string) []string { return append(slices.Clone(basic), args...) }
	refresh := func(token any, args ...string) map[string]any {
		t.Helper()
		return post(oauth.PathToken, with(append(args, "-d", "grant_type=refresh_token", "-d", fmt.Sprint("refresh_token=", token))...)...)
	}
	introspect := func(token any) any {
		t.Helper()
		return post(oauth.PathIntrospect, with("-d", fmt.Sprint("token=", token))...)["active"]
	}

	metadata, _ := run(text("metadata"))
	grant := post(oauth.PathToken, with("-d", "grant_type=client_credentials")...)
	user := post(oauth.PathToken, with("-d", "grant_type=password", "--data-urlencode", "username="+text("username"), "--data-urlencode", "password="+text("password"))...)
	wrong, status := run("-u", text("client_id")+":"+text("wrong_secret"), "-d", "grant_type=client_credentials", text("issuer")+oauth.PathToken)
	called, _ := run("--oauth2-bearer", fmt.Sprint(grant["access_token"]), text("whoami_url"))
	if _, status := run(with("-d", fmt.Sprint("token=", user["refresh_token"]), text("issuer")+oauth.PathRevoke)...); status != "200" {
		t.Errorf("revoke: %s", status)
	}
	return row{
		"discovery": metadata["token_endpoint"], "sign-in": grant["scope"], "password": user["scope"], "called": called["scope"],
		"sign-in by post": post(oauth.PathToken, "-d", "grant_type=client_credentials", "-d", "scope=orders:write",
			"-d", "client_id="+text("client_id"), "-d", "client_secret="+text("client_secret"))["scope"],
		"narrower":          refresh(grant["refresh_token"], "-d", "scope=orders:read")["scope"],
		"wider again":       refresh(grant["refresh_token"], "--data-urlencode", "scope=orders:read orders:write")["scope"],
		"more than granted": refresh(grant["refresh_token"], "-d", "scope=orders:delete")["error"],
		"without the secret": post(oauth.PathRefresh, "-d", "grant_type=refresh_token", "-d", "client_id="+text("client_id"),
			"-d", fmt.Sprint("refresh_token=", grant["refresh_token"]), "-d", "scope=orders:write")["scope"],
		"introspected": fmt.Sprint(introspect(grant["access_token"]), " ", introspect(grant["refresh_token"])),
		"revoked":      user["access_token"],
		"wrong secret": wrong["error"], "status": status, "description": wrong["error_description"],
	}
}
