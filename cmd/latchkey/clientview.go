package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// clientJSON is what --json prints: documented in clientHelp, and a promise to scripts.
type clientJSON struct {
	ID               string            `json:"client_id"`
	Secret           string            `json:"client_secret,omitempty"`
	Name             string            `json:"client_name,omitempty"`
	Scope            string            `json:"scope"`
	Audiences        []string          `json:"audiences"`
	Grants           []string          `json:"grant_types"`
	Introspects      []string          `json:"introspects,omitempty"`
	ForwardsAddress  bool              `json:"forwards_user_address,omitempty"`
	Keys             string            `json:"jwks,omitempty"`
	TokenEndpoint    bool              `json:"token_endpoint_audience,omitempty"`
	Identities       []client.Identity `json:"identities,omitempty"`
	AssertionIssuers []string          `json:"assertion_issuers,omitempty"`
	RefreshMode      token.Mode        `json:"refresh_mode"`
	AccessLifetime   int64             `json:"access_token_lifetime"`
	RefreshLifetime  int64             `json:"refresh_token_lifetime"`
	GrantLifetime    int64             `json:"grant_lifetime"`
	Disabled         bool              `json:"disabled"`
	Epoch            int64             `json:"epoch"`
	CreatedAt        string            `json:"created_at"`
	UpdatedAt        string            `json:"updated_at"`
	Secrets          []secretJSON      `json:"secrets"`
	Narrowed         *bool             `json:"narrowed,omitempty"`
}

type secretJSON struct {
	CreatedAt string `json:"created_at"`
	ExpiresAt string `json:"expires_at,omitempty"`
}

// describe shows a record without the hashes of its secrets; secret is a new one, or empty.
func (a *app) describe(r *client.Record, secret string) clientJSON {
	last := a.lifetimes(r)
	d := clientJSON{
		ID: r.ID, Secret: secret, Name: r.Name, Scope: r.Scopes.String(), Audiences: r.Audiences, Grants: r.Grants,
		Introspects: r.Introspects, ForwardsAddress: r.ForwardsUserAddress,
		Keys: describeKeys(r.Keys), TokenEndpoint: r.TokenEndpointAudience, Identities: r.Identities, AssertionIssuers: r.AssertionIssuers,
		RefreshMode:    r.RefreshMode,
		AccessLifetime: int64(last.access / time.Second), RefreshLifetime: int64(last.refresh / time.Second),
		GrantLifetime: int64(last.grant / time.Second),
		Disabled:      r.Disabled, Epoch: r.Epoch, CreatedAt: stamp(r.CreatedAt), UpdatedAt: stamp(r.UpdatedAt), Secrets: []secretJSON{},
	}
	for _, s := range a.liveSecrets(r) {
		d.Secrets = append(d.Secrets, secretJSON{stamp(s.CreatedAt), stamp(s.ExpiresAt)})
	}
	return d
}

func (a *app) liveSecrets(r *client.Record) []client.StoredSecret {
	now := a.now().Unix()
	return slices.DeleteFunc(slices.Clone(r.Secrets), func(s client.StoredSecret) bool {
		return s.ExpiresAt != 0 && s.ExpiresAt <= now
	})
}

// printSecret shows a secret the one time that it is shown.
func (a *app) printSecret(r *client.Record, secret string) {
	fmt.Fprintf(a.stdout, "  client id      %s\n  client secret  %s\n\n", r.ID, secret)
	fmt.Fprintln(a.stdout, "Keep the secret now: only a hash of it is stored, and it can't be shown again.")
}

// printRecord says in words what a client may do.
func (a *app) printRecord(r *client.Record) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%s: %s\n", r.ID, state(r))
	if r.Name != "" {
		line("name", "%s", plain(r.Name))
	}
	line("scope", "%s", orDash(r.Scopes.String()))
	for i, aud := range r.Audiences {
		switch {
		case i > 0:
			line("", "%s", aud)
		case len(r.Audiences) > 1:
			line("audiences", "%s (the default)", aud)
		default:
			line("audience", "%s", aud)
		}
	}
	for i, aud := range r.Introspects {
		line(map[bool]string{true: "introspects"}[i == 0], "%s", aud)
	}
	if r.Keys != "" {
		line("signs in by", "assertions that it signs by its keys, %s", describeKeys(r.Keys))
	}
	if r.TokenEndpointAudience {
		line("", "(which may be for the token endpoint's URL)")
	}
	for _, i := range r.Identities {
		line("signs in as", "%s", describeIdentity(i))
	}
	for i, url := range r.AssertionIssuers {
		line(map[bool]string{true: "comes with"}[i == 0], "tokens of %s", url)
	}
	line("grant types", "%s", strings.Join(r.Grants, " "))
	if r.Allows(oauth.GrantPassword) {
		line("users", "sign in through it, and it sees their passwords (RFC 9700 section 2.4: not to be used)")
		if r.ForwardsUserAddress {
			line("", "(it tells where they are, by which tries are counted)")
		}
	}
	last := a.lifetimes(r)
	line("access tokens", "last %s", inWords(last.access))
	switch {
	case !r.Allows(oauth.GrantRefreshToken):
		line("refresh", "no: it signs in again for each access token")
	case r.RefreshMode == token.ModeBearer:
		line("refresh", "bearer: with the refresh token and its id, without its secret")
	case r.RefreshMode == token.ModeDPoP:
		line("refresh", "dpop: with the refresh token, its id and a proof of the key that it signed in with")
	case r.RefreshMode == token.ModeMTLS:
		line("refresh", "mtls: with the refresh token and its id, over a connection with the certificate that it signed in with")
	case r.RefreshMode == token.ModeRotating:
		line("refresh", "rotating: with a refresh token that works once, at %s only", oauth.PathToken)
	default:
		line("refresh", "secret: with the refresh token and its secret, at %s only", oauth.PathToken)
	}
	if r.Allows(oauth.GrantRefreshToken) {
		line("refresh tokens", "end %s after they were issued, and %s after sign-in in any case", inWords(last.refresh), inWords(last.grant))
		if r.RefreshLifetime() > r.GrantDuration() {
			line("", "(its record says %s for a refresh token, which ends with its grant)", inWords(r.RefreshLifetime()))
		}
	}
	switch {
	case !a.laptop:
		line("", "(the deployment's caps may be shorter)")
	case last.access < r.AccessLifetime() || last.grant < r.GrantDuration():
		line("", "(its record says more than `latchkey dev` gives: tokens %s, grants %s)", inWords(r.AccessLifetime()), inWords(r.GrantDuration()))
	}
	secrets := a.liveSecrets(r)
	switch {
	case len(secrets) == 0 && (r.Keys != "" || len(r.Identities) > 0):
		line("secrets", "none, and none is needed")
	case len(secrets) == 0:
		line("secrets", "none is good: `latchkey client rotate-secret %s` makes one", r.ID)
	}
	for i, s := range secrets {
		ends := "never ends"
		if s.ExpiresAt != 0 {
			ends = "ends " + a.when(s.ExpiresAt)
		}
		line(map[bool]string{true: "secrets"}[i == 0], "made %s, %s", stamp(s.CreatedAt), ends)
	}
	line("epoch", "%d (grows when something is taken from the client)", r.Epoch)
	line("created", "%s", a.when(r.CreatedAt))
	line("changed", "%s", a.when(r.UpdatedAt))
	_ = w.Flush() // an error of stdout's, which nothing can be done about
}

// lifetimes are how long what a client gets lasts.
type lifetimes struct{ access, refresh, grant time.Duration }

// lifetimes returns those that hold: on the laptop by its caps, which are the defaults; on AWS as far as the record says.
func (a *app) lifetimes(r *client.Record) lifetimes {
	l := lifetimes{r.AccessLifetime(), r.RefreshLifetime(), r.GrantDuration()}
	if a.laptop {
		longest := grant.DefaultGrantCap
		if r.RefreshMode == token.ModeBearer {
			longest = grant.DefaultBearerGrantCap
		}
		l.access, l.grant = min(l.access, grant.DefaultAccessCap), min(l.grant, longest)
	}
	l.refresh = min(l.refresh, l.grant)
	return l
}

// when writes a time both ways.
func (a *app) when(unix int64) string {
	return fmt.Sprintf("%s (%s)", stamp(unix), relative(time.Unix(unix, 0), a.now()))
}

func state(r *client.Record) string {
	if r.Disabled {
		return "disabled"
	}
	return "enabled"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
