package doctor

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const (
	// idPrefix begins the ids of the clients made here.
	idPrefix = "doctor-"
	// secretLife is how long their secrets last, should one be left behind.
	secretLife = 10 * time.Minute
	// noAPI is the audience of tokens that are for no API.
	noAPI = "urn:latchkey:doctor"
	// longest is the highest cap on access tokens that a deployment can have.
	longest = 24 * time.Hour
	// pace is how often it is tried whether a revocation is obeyed.
	pace = time.Second
)

// flow is one run of the whole flow.
type flow struct {
	*Examination
	id, secret      string
	audience        string
	scope           oauth.Scope
	access, refresh string
}

// flow makes a client, has it go through the whole flow, and deletes it, whatever has become of the rest.
func (e *Examination) flow(ctx context.Context) {
	const check = "flow"
	switch {
	case e.Clients == nil:
		e.skip(check, "%s", e.WithoutFlow)
		return
	case e.mute != "":
		e.skip(check, "%s", e.mute)
		return
	case e.off().Abs() > MaxSkew:
		e.skip(check, "the clock is off: what is made could not be taken back")
		return
	}
	f := &flow{Examination: e, audience: e.Audience, scope: e.Scope}
	if f.audience == "" || e.API == "" {
		f.audience = noAPI
	}
	if len(f.scope) == 0 {
		f.scope = oauth.Scope{"doctor:read", "doctor:write"}
	}
	f.id = idPrefix + strings.ToLower(rand.Text()[:16])
	if !f.create(ctx) {
		return
	}
	defer f.remove(context.WithoutCancel(ctx))
	for _, step := range []struct {
		what string
		do   func(context.Context) bool
	}{
		{"signing in", f.signIn}, {"verifying", f.verify}, {"calling the API", f.call}, {"refreshing", f.renew},
		{"revoking", f.revoke}, {"waiting for it to be obeyed", f.refused},
	} {
		e.busy("%s", step.what)
		if ctx.Err() != nil || !step.do(ctx) {
			return
		}
	}
}

// bound gives a step its time.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*limit)
}

func (f *flow) create(ctx context.Context) bool {
	const check = "flow.client"
	f.busy("making a client")
	ctx, cancel := bound(ctx)
	defer cancel()
	_, secret, err := f.Clients.Create(ctx, client.Spec{
		ID: f.id, Name: "made by latchkey doctor, to be deleted", Scopes: f.scope, Audiences: []string{f.audience}, SecretLifetime: secretLife,
	})
	if err != nil {
		f.trouble(check, "dynamodb:PutItem, GetItem and DeleteItem on the clients table, and PutItem and GetItem on that of revocations", "", err)
		return false
	}
	f.secret = secret
	f.ok(check, "made %s, for this flow alone", f.id)
	return true
}

// remove deletes the client, and with it whatever it was given.
func (f *flow) remove(ctx context.Context) {
	const check = "flow.clean-up"
	f.busy("deleting the client")
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := f.Clients.Delete(ctx, f.id); err != nil && !errors.Is(err, client.ErrNotFound) {
		f.fail(check, "`latchkey client delete "+f.id+"`", "the client %s is still there, and its secret good for %s at the most: %v", f.id, span(secretLife), err)
		return
	}
	f.ok(check, "deleted %s, and ended its tokens", f.id)
}

// signedIn is a token endpoint's answer.
type signedIn struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
}

// ask sends a form to one of the issuer's endpoints, with the client's secret if that is to be shown.
func (f *flow) ask(ctx context.Context, path string, secret bool, form url.Values) (*answer, signedIn, error) {
	header := http.Header{}
	if secret {
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(f.id+":"+f.secret)))
	}
	a, err := f.post(ctx, f.Issuer+path, header, form)
	if err != nil {
		return nil, signedIn{}, err
	}
	var s signedIn
	_ = json.Unmarshal(a.body, &s) // an answer of another form has none of these, which is seen
	return a, s, nil
}

// describe says in words what an endpoint answered, with the error's code and nothing else of what it sent.
func describe(a *answer, s signedIn) string {
	if s.Error == "" || len(s.Error) > 64 {
		return fmt.Sprint(a.status)
	}
	return fmt.Sprintf("%d %s", a.status, s.Error)
}

func (f *flow) signIn(ctx context.Context) bool {
	const check = "flow.sign-in"
	ctx, cancel := bound(ctx)
	defer cancel()
	a, s, err := f.ask(ctx, oauth.PathToken, true, url.Values{"grant_type": {oauth.GrantClientCredentials}})
	switch {
	case err != nil:
		f.fail(check, logOf("token"), "%s: %v", oauth.PathToken, err)
	case a.status == http.StatusUnauthorized && s.Error == string(oauth.InvalidClient):
		f.fail(check, "is it this deployment's clients table?", "the issuer does not know the client that was just made")
	case a.status != http.StatusOK || s.Access == "" || s.Refresh == "":
		f.fail(check, logOf("token"), "%s answers %s", oauth.PathToken, describe(a, s))
	default:
		f.access, f.refresh = s.Access, s.Refresh
		f.ok(check, "an access token and a refresh token")
		return true
	}
	return false
}

// judge verifies an access token as a backend does, with what is published and nothing else.
func (f *flow) judge(ctx context.Context, raw string) (*token.Access, error) {
	quiet := slog.New(slog.DiscardHandler)
	keys, err := remotekeys.New(remotekeys.Config{URL: f.Issuer + oauth.PathJWKS, HTTPClient: f.HTTP, Now: f.Now, Log: quiet})
	if err != nil {
		return nil, err
	}
	source, err := remotefeed.New(remotefeed.Config{URL: f.Issuer + revocation.PathFeed, HTTPClient: f.HTTP})
	if err != nil {
		return nil, err
	}
	view, err := revocation.NewView(revocation.ViewConfig{
		Source: source, Window: feedview.Config{MaxStaleness: revocation.MaxStaleness}.Window(longest), Now: f.Now, Log: quiet,
	})
	if err != nil {
		return nil, err
	}
	v, err := token.NewAccessVerifier(token.Config{
		Issuer: f.Issuer, Audiences: []string{f.audience}, Keys: keys, MaxLifetime: longest, Revocations: view, Now: f.Now,
	})
	if err != nil {
		return nil, err
	}
	return v.Verify(ctx, raw)
}

func (f *flow) verify(ctx context.Context) bool {
	const check = "flow.verify"
	ctx, cancel := bound(ctx)
	defer cancel()
	access, err := f.judge(ctx, f.access)
	switch {
	case err != nil:
		f.fail(check, "a verifier that has the JWKS and the feed alone comes to the same", "the token that was just issued: %v", err)
		return false
	case access.ClientID != f.id || access.Scope.String() != f.scope.String():
		f.fail(check, "", "the token that was just issued is for another client or scope than was asked for")
		return false
	}
	f.ok(check, "valid by the JWKS and the feed, for %s", span(access.ExpiresAt.Sub(f.Now())))
	return true
}

// lets reports whether an API let a request through to its backend, whatever that said of it.
func lets(status int) bool {
	return status != http.StatusUnauthorized && status != http.StatusForbidden && status < http.StatusInternalServerError
}

// try calls the API with a token, or with none.
func (f *flow) try(ctx context.Context, raw string) (int, error) {
	header := http.Header{}
	if raw != "" {
		header.Set("Authorization", "Bearer "+raw)
	}
	a, err := f.get(ctx, f.API, header)
	if err != nil {
		return 0, err
	}
	return a.status, nil
}

// altered is a token with another signature.
func altered(raw string) string {
	last, other := strings.LastIndexByte(raw, '.')+1, byte('A')
	if raw[last] == other {
		other = 'B'
	}
	return raw[:last] + string(other) + raw[last+1:]
}

// call asks the API with the token, without one, and with an altered one. What it lets through of the last two is the worst that
// can be found.
func (f *flow) call(ctx context.Context) bool {
	const (
		check = "flow.api"
		open  = "its routes have no authorizer, or one that does not refuse: take it off the net until they have"
	)
	switch {
	case f.API == "":
		f.skip(check, "no API was named (--api)")
		return true
	case !private(f.API):
		f.skip(check, "no token is sent over plain http")
		return true
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	none, err := f.try(ctx, "")
	var bad, good int
	if err == nil {
		bad, err = f.try(ctx, altered(f.access))
	}
	if err == nil {
		good, err = f.try(ctx, f.access)
	}
	switch {
	case err != nil:
		f.fail(check, "", "%s: %v", f.API, err)
	case lets(none):
		f.fail(check, open, "it lets anyone in: without a token it answers %d", none)
	case lets(bad):
		f.fail(check, open, "it lets anyone in: to a token whose signature is wrong it answers %d", bad)
	case good == http.StatusForbidden || good == http.StatusUnauthorized:
		f.fail(check, "does its authorizer take this audience, and its route this scope? Else name them: --audience, --scope",
			"it answers %d to a valid token for %s with the scope %q", good, f.audience, f.scope)
	case !lets(good):
		f.fail(check, logOf("authorizer")+", and at the backend's", "it answers %d to a valid token", good)
	default:
		f.ok(check, "%d with the token, %d without one, %d with an altered one", good, none, bad)
	}
	return true // the issuer can be looked at all the same
}

func (f *flow) renewal(scope string) url.Values {
	form := url.Values{"grant_type": {oauth.GrantRefreshToken}, "client_id": {f.id}, "refresh_token": {f.refresh}}
	if scope != "" {
		form.Set("scope", scope)
	}
	return form
}

// renew refreshes with a part of the scope, where it has parts.
func (f *flow) renew(ctx context.Context) bool {
	const check = "flow.refresh"
	ctx, cancel := bound(ctx)
	defer cancel()
	less := f.scope[0]
	a, s, err := f.ask(ctx, oauth.PathRefresh, false, f.renewal(less))
	var access *token.Access
	if err == nil && a.status == http.StatusOK {
		access, err = f.judge(ctx, s.Access)
	}
	switch {
	case err != nil:
		f.fail(check, logOf("refresh"), "%s: %v", oauth.PathRefresh, err)
	case access == nil:
		f.fail(check, logOf("refresh"), "%s answers %s", oauth.PathRefresh, describe(a, s))
	case access.Scope.String() != less:
		f.fail(check, "", "asked for the scope %q, it gave a token with %q", less, access.Scope)
	default:
		f.ok(check, "a new access token with the scope %q alone, without the secret", less)
		return true
	}
	return false
}

func (f *flow) revoke(ctx context.Context) bool {
	const check = "flow.revoke"
	ctx, cancel := bound(ctx)
	defer cancel()
	a, s, err := f.ask(ctx, oauth.PathRevoke, true, url.Values{"token": {f.refresh}, "token_type_hint": {"refresh_token"}})
	switch {
	case err != nil:
		f.fail(check, logOf("revoke"), "%s: %v", oauth.PathRevoke, err)
	case a.status != http.StatusOK:
		f.fail(check, logOf("revoke"), "%s answers %s", oauth.PathRevoke, describe(a, s))
	default:
		f.ok(check, "the grant is revoked")
		return true
	}
	return false
}

// refused waits until what was revoked is refused.
func (f *flow) refused(ctx context.Context) bool {
	const check = "flow.refused"
	if f.Patience == 0 {
		f.skip(check, "not waited for (--wait)")
		return true
	}
	begun := f.Now()
	for {
		still, err := f.takes(ctx)
		took := f.Now().Sub(begun)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			f.fail(check, "", "%v", err)
			return false
		case still == "":
			f.ok(check, "after %s", span(took))
			return true
		case took >= f.Patience:
			f.fail(check, "do the functions poll this deployment's feed (RevocationsUrl)? With longer intervals than the defaults, wait longer: --wait",
				"%s still takes what was revoked %s ago", still, span(took))
			return false
		}
		f.busy("waiting for the revocation to be obeyed: %s of %s", span(took), span(f.Patience))
		f.Wait(ctx, pace)
	}
}

// takes says who still takes what was revoked, empty for nobody.
func (f *flow) takes(ctx context.Context) (string, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	a, s, err := f.ask(ctx, oauth.PathRefresh, false, f.renewal(""))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", oauth.PathRefresh, err)
	case a.status == http.StatusOK:
		return oauth.PathRefresh, nil
	case s.Error != string(oauth.InvalidGrant):
		return "", fmt.Errorf("%s answers %s", oauth.PathRefresh, describe(a, s))
	case f.API == "" || !private(f.API):
		return "", nil
	}
	status, err := f.try(ctx, f.access)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", f.API, err)
	case status != http.StatusUnauthorized && status != http.StatusForbidden:
		return f.API, nil
	}
	return "", nil
}
