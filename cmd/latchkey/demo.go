package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// The demo client, and what the authorizer in front of the laptop's GET /whoami accepts. The audience is a name and no
// address, so that tokens and clients stay good when the port changes.
const (
	demoID    = "demo"
	demoScope = "orders:read orders:write"

	demoUsername  = "ada"
	demoUserScope = "orders:read" // less than the client's: a token has what both have

	devAudience = "https://api.latchkey.example"
)

// demo is DIR/demo.json: what a program needs to try the flow.
type demo struct {
	Issuer          string `json:"issuer"`
	TokenEndpoint   string `json:"token_endpoint"`
	RefreshEndpoint string `json:"refresh_endpoint"`
	APIURL          string `json:"api_url"` // what to call with a token: the sample API, or one of the upstream's
	ClientID        string `json:"client_id"`
	ClientSecret    string `json:"client_secret"`
	Username        string `json:"username"`
	Password        string `json:"password"`

	scope    oauth.Scope // what the demo client has by now
	disabled bool
	called   string // what a call of the API is
	users    bool   // users sign in through it
}

const demoFile = "demo.json"

// makeDemo sees to it that there is a demo client whose secret demo.json has, and a demo user. The store has no secret, so one
// that is lost is replaced; what else an operator has changed of the client stays as it is.
func makeDemo(ctx context.Context, reg *client.Registry, users *user.Registry, dir, issuer string, up *upstream, now time.Time) (*demo, error) {
	path := filepath.Join(dir, demoFile)
	secret, password := readDemo(path)
	record, err := reg.Get(ctx, demoID)
	switch {
	case errors.Is(err, client.ErrNotFound):
		scope, errScope := oauth.ParseScope(demoScope)
		if errScope != nil {
			return nil, errScope
		}
		record, secret, err = reg.Create(ctx, client.Spec{
			ID: demoID, Name: "Demo client of this laptop", Scopes: scope, Audiences: []string{devAudience},
			Grants: []string{oauth.GrantClientCredentials, oauth.GrantRefreshToken, oauth.GrantPassword},
		})
	case err == nil && !record.HasSecret(secret, now):
		record, secret, err = reg.RotateSecret(ctx, demoID, client.Rotation{})
	}
	if err != nil {
		return nil, fmt.Errorf("the demo client: %w", err)
	}
	if password, err = makeDemoUser(ctx, users, password); err != nil {
		return nil, fmt.Errorf("the demo user: %w", err)
	}
	d := &demo{
		Issuer: issuer, TokenEndpoint: issuer + oauth.PathToken, RefreshEndpoint: issuer + oauth.PathRefresh,
		APIURL: issuer + pathWhoami, ClientID: demoID, ClientSecret: secret,
		Username: demoUsername, Password: password,
		scope: record.Scopes, disabled: record.Disabled, users: record.Allows(oauth.GrantPassword),
	}
	d.called = "Call the API with the access token: 200, and what the backend is told"
	if up != nil {
		d.called = "Call the API with the access token: whatever it answers"
		d.APIURL = up.sample(issuer)
	}
	data, err := json.MarshalIndent(d, "", "  ") //nolint:gosec // the demo client's secret is what the file is for
	if err != nil {
		return nil, err
	}
	return d, writeFile(path, append(data, '\n'))
}

// makeDemoUser does the same for the demo user and the password.
func makeDemoUser(ctx context.Context, users *user.Registry, password string) (string, error) {
	record, err := users.Get(ctx, demoUsername)
	switch {
	case errors.Is(err, user.ErrNotFound):
		scope, errScope := oauth.ParseScope(demoUserScope)
		if errScope != nil {
			return "", errScope
		}
		password = rand.Text()
		_, err = users.Create(ctx, user.Spec{
			Username: demoUsername, Name: "Demo user of this laptop", Scopes: scope, Password: password,
		})
	case err == nil && !record.HasPassword(password):
		password = rand.Text()
		_, err = users.SetPassword(ctx, demoUsername, password)
	}
	return password, err
}

// readDemo returns the secrets of an earlier run, empty where there is none that can be read: then they are made anew.
func readDemo(path string) (secret, password string) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", ""
	}
	var d demo
	if json.Unmarshal(data, &d) != nil || d.ClientID != demoID {
		return "", ""
	}
	return d.ClientSecret, d.Password
}

// writeFile puts a file in place whole or not at all, readable by its owner alone.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // it may be gone already; the error that counts is err
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// step is one of the flow's, with commands that are pasted one by one into bash or zsh and need curl and sed alone.
type step struct {
	title    string
	commands []string
}

// steps are the whole flow. Each command is one line.
func (d *demo) steps() []step {
	const status = `-w '\nHTTP %{http_code}\n'`
	part := d.scope.String()
	if len(d.scope) > 1 {
		part = d.scope[0]
	}
	refresh := func(scope string) string {
		return fmt.Sprintf(`curl -s -d grant_type=refresh_token -d client_id=%s -d "refresh_token=$REFRESH" --data-urlencode %s %s; echo`,
			d.ClientID, quoteShell("scope="+scope), d.RefreshEndpoint)
	}
	member := func(name string) string { return fmt.Sprintf(`sed 's/.*"%s":"\([^"]*\)".*/\1/'`, name) }
	steps := []step{
		{"Sign in with the secret: an access token for the API, and a refresh token", []string{
			fmt.Sprintf(`ANSWER=$(curl -s -u %s -d grant_type=client_credentials %s); echo "$ANSWER"`,
				quoteShell(d.ClientID+":"+d.ClientSecret), d.TokenEndpoint),
			fmt.Sprintf(`ACCESS=$(echo "$ANSWER" | %s); REFRESH=$(echo "$ANSWER" | %s)`, member("access_token"), member("refresh_token")),
		}},
		{d.called, []string{
			fmt.Sprintf(`curl -s %s -H "Authorization: Bearer $ACCESS" %s`, status, d.APIURL),
		}},
		{"Call it without a token: 401", []string{
			fmt.Sprintf(`curl -s %s %s`, status, d.APIURL),
		}},
		{"Refresh: a new access token, with neither the secret nor the store", []string{
			fmt.Sprintf(`ANSWER=$(curl -s -d grant_type=refresh_token -d client_id=%s -d "refresh_token=$REFRESH" %s); echo "$ANSWER"`,
				d.ClientID, d.RefreshEndpoint),
			fmt.Sprintf(`ACCESS=$(echo "$ANSWER" | %s)`, member("access_token")),
		}},
		{"Refresh with a part of the scope", []string{refresh(part)}},
		{"… and with all of it again", []string{refresh(d.scope.String())}},
		{"Call the API with the token altered in one letter: 401", []string{
			// The claims begin with {" and so their base64url with eyJ.
			fmt.Sprintf(`curl -s %s -H "Authorization: Bearer $(echo "$ACCESS" | sed 's/\.eyJ/.eyK/')" %s`, status, d.APIURL),
		}},
	}
	if d.users {
		steps = append(steps, step{"Sign in with a user's credentials, too: tokens for the user, with the scope that both have", []string{
			fmt.Sprintf(`curl -s -u %s -d grant_type=password -d username=%s --data-urlencode %s %s; echo`,
				quoteShell(d.ClientID+":"+d.ClientSecret), d.Username, quoteShell("password="+d.Password), d.TokenEndpoint),
		}})
	}
	return steps
}

// quoteShell quotes for sh where that is needed.
func quoteShell(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:=./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// welcome is what `latchkey dev` prints once it answers.
func (d *demo) welcome(dir string, command func(string) string, up *upstream, rules string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Latchkey runs on %s, all that it keeps is in %s. Ctrl-C stops it.\n\n", d.Issuer, dir)
	for _, r := range served(up) {
		fmt.Fprintf(&out, "  %-4s %-42s %s\n", r.method, r.path, r.what)
	}
	if up != nil {
		out.WriteString(up.describe(rules))
	} else {
		fmt.Fprintf(&out, "  %-4s %-42s the flow, to see and to try: %s/\n", "GET", "/", d.Issuer)
	}
	fmt.Fprintf(&out, "\nThe demo client and user, also in %s:\n", filepath.Join(dir, demoFile))
	fmt.Fprintf(&out, "  client id      %s\n  client secret  %s\n", d.ClientID, d.ClientSecret)
	if d.users {
		fmt.Fprintf(&out, "  username       %s\n  password       %s\n", d.Username, d.Password)
	}
	if d.disabled {
		fmt.Fprintf(&out, "  The client is disabled: `%s` lets it sign in.\n", command("client enable "+d.ClientID))
	}
	fmt.Fprintf(&out, "\nThe flow, to be pasted line by line into another shell:\n")
	for i, s := range d.steps() {
		fmt.Fprintf(&out, "%d. %s\n", i+1, s.title)
		for _, c := range s.commands {
			fmt.Fprintf(&out, "    %s\n", c)
		}
	}
	fmt.Fprintf(&out, "The other commands work meanwhile, such as `%s` and `echo \"$ACCESS\" | %s`.\n",
		command("client list"), command("token inspect"))
	return out.String()
}
