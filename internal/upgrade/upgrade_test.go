package upgrade

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/members"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// TestReleases runs each test over a copy of what each release left in each place.
func TestReleases(t *testing.T) {
	moto := testenv.Moto(t).Endpoint
	for _, release := range releases(t) {
		for _, place := range places {
			for name, test := range map[string]func(t *testing.T, g *golden, s *state, clock *clocktest.Clock){
				"read": testRead, "feed": testFeed, "move": testMove, "move at once": testMoveAtOnce, "newer documents": testNewerDocuments, "newer grants": testNewerGrants,
			} {
				t.Run(release+"/"+place+"/"+name, func(t *testing.T) {
					g, s, clock := load(t, moto, release, place)
					test(t, g, s, clock)
				})
			}
		}
	}
}

// renew refreshes by all that the client has, as the client does: under the address that it knows.
func (s *service) renew(t *testing.T, g *golden, h held, address string) answer {
	t.Helper()
	path, by := oauth.PathRefresh, how{}
	switch h.Client {
	case "desk":
		by.proof = g.deskKey(t).Proof("POST", address+path, s.clock.Now())
	case "till":
		by.certificate = certificate
	case "cart":
		path = oauth.PathToken
	case "vault":
		path, by = oauth.PathToken, how{id: "vault", secret: h.Secret}
	}
	return s.post(t, path, by, "grant_type", "refresh_token", "client_id", h.Client, "refresh_token", h.Refresh)
}

// iss is whom a token names as its issuer.
func iss(t *testing.T, raw string) string {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	must(t, err)
	var c struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Mode     string `json:"refresh_mode"`
	}
	must(t, json.Unmarshal(data, &c))
	if c.Mode != "" && c.Audience != c.Issuer {
		t.Errorf("a refresh token of %s is for %s", c.Issuer, c.Audience)
	}
	return c.Issuer
}

// takes sees to it that an access token is taken, or not: by the verifier and by introspection.
func (s *service) takes(t *testing.T, g *golden, what, access string, want bool) {
	t.Helper()
	_, err := s.tokens.Verify(t.Context(), access)
	var bad *token.InvalidError
	if want && err != nil || !want && !errors.As(err, &bad) {
		t.Errorf("the access token, %s: %v", what, err)
	}
	a := s.post(t, oauth.PathIntrospect, how{id: "api", secret: g.APISecret}, "token", access)
	if a.status != http.StatusOK || a.Active != want {
		t.Errorf("the access token, %s, introspected: %d %s", what, a.status, a.body)
	}
}

// honours sees to it that a service takes what is out and is good, and nothing that is over; who refreshes gets tokens of
// the service's own name.
func (s *service) honours(t *testing.T, g *golden) {
	t.Helper()
	for _, h := range g.Held {
		s.takes(t, g, h.Client+": "+h.What, h.Access, !h.AccessOver)
	}
	for _, h := range g.Held {
		if h.RefreshOver {
			continue
		}
		a := s.renew(t, g, h, g.Issuer)
		if a.status != http.StatusOK {
			t.Errorf("%s: %s: the refresh token: %d %s", h.Client, h.What, a.status, a.body)
			continue
		}
		s.takes(t, g, h.Client+" refreshed", a.AccessToken, true)
		for _, raw := range []string{a.AccessToken, a.RefreshToken} {
			if raw != "" && iss(t, raw) != s.issuer {
				t.Errorf("%s was given a token of %s by %s", h.Client, iss(t, raw), s.issuer)
			}
		}
		if h.Client == "cart" && a.RefreshToken == "" {
			t.Error("a rotating refresh token has no successor")
		}
	}
	for _, h := range g.Held { // last, for one that is used twice ends its grant
		if !h.RefreshOver {
			continue
		}
		if a := s.renew(t, g, h, g.Issuer); a.Error != oauth.InvalidGrant {
			t.Errorf("%s: %s: the refresh token: %d %s", h.Client, h.What, a.status, a.body)
		}
	}
}

// signsIn sees to it that who could sign in can, and that what had its use has no other.
func (s *service) signsIn(t *testing.T, g *golden) {
	t.Helper()
	ok := func(what string, a answer) {
		t.Helper()
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		} else if got := iss(t, a.AccessToken); got != s.issuer {
			t.Errorf("%s: a token of %s", what, got)
		}
	}
	ok("by a secret", s.post(t, oauth.PathToken, how{id: "shop", secret: g.Secret}, "grant_type", oauth.GrantClientCredentials))
	web := how{id: "web", secret: g.WebSecret}
	ok("by a password", s.post(t, oauth.PathToken, web, "grant_type", oauth.GrantPassword, "username", "ada", "password", g.Password))
	ok("by another issuer's word", s.post(t, oauth.PathToken, web, "grant_type", oauth.GrantJWTBearer, "assertion", g.IDToken))
	if a := s.byAssertion(t, g.Assertions[0]); a.Error != oauth.InvalidClient {
		t.Errorf("by an assertion that had its use: %d %s", a.status, a.body)
	}
	ok("by an assertion", s.byAssertion(t, g.Assertions[1]))
}

func testRead(t *testing.T, g *golden, s *state, clock *clocktest.Clock) {
	var ids []string
	must(t, s.Clients(t.Context(), func(c *client.Stored) bool { ids = append(ids, c.ID); return true }))
	if len(ids) != len(g.Clients) {
		t.Errorf("%d clients can be read, there are %d", len(ids), len(g.Clients))
	}
	svc := serve(t, s, clock, g.Issuer)
	var before, now any
	must(t, json.Unmarshal(g.JWKS, &before))
	must(t, json.Unmarshal([]byte(svc.get(t, g.Issuer, oauth.PathJWKS)), &now))
	if b, n := text(t, before), text(t, now); b != n {
		t.Errorf("the JWKS is\n%s\nwas\n%s", n, b)
	}
	svc.honours(t, g)
	svc.signsIn(t, g)

	// The keys that were to sign later do.
	clock.Move(keyring.DefaultAccessLead)
	for _, r := range rotators(s, clock, keyring.ES256) {
		done, err := r.Run(t.Context(), false)
		must(t, err)
		if done.Made != "" {
			t.Error("a key was made, and none was due")
		}
	}
	svc = serve(t, s, clock, g.Issuer)
	a := svc.post(t, oauth.PathToken, how{id: "shop", secret: g.Secret}, "grant_type", oauth.GrantClientCredentials)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	svc.takes(t, g, "by the key that waited", a.AccessToken, true)
	if header, _, _ := strings.Cut(a.AccessToken, "."); strings.HasPrefix(g.Held[0].Access, header) {
		t.Error("the key that waited does not sign")
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return string(data)
}

// While functions are replaced one by one, those of this release read the feed that the other one serves.
func testFeed(t *testing.T, g *golden, s *state, clock *clocktest.Clock) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(g.Feed)
	}))
	defer server.Close()
	source, err := remotefeed.New(remotefeed.Config{URL: server.URL})
	must(t, err)
	view, err := revocation.NewView(revocation.ViewConfig{Source: source, Window: 48 * time.Hour, Now: clock.Now, Log: discard})
	must(t, err)
	tokens, err := token.NewAccessVerifier(token.Config{
		Issuer: g.Issuer, Audiences: []string{audience}, Revocations: view, Now: clock.Now,
		Keys: keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: s, Log: discard, Now: clock.Now}),
	})
	must(t, err)
	over := 0
	for _, h := range g.Held {
		if _, err := tokens.Verify(t.Context(), h.Access); (err != nil) != h.AccessOver {
			t.Errorf("%s, %s: %v", h.Client, h.What, err)
		}
		if h.AccessOver {
			over++
		}
	}
	if over < 3 {
		t.Errorf("%d tokens are over", over)
	}
}

const newName = "https://auth.example.org"

// A move to another domain, in the steps of docs/move-domain.md. While functions are replaced one by one, those of two steps run
// side by side: what one of them makes, the other takes.
func testMove(t *testing.T, g *golden, s *state, clock *clocktest.Clock) {
	old := g.Issuer
	steps := []*service{
		serve(t, s, clock, old),
		serve(t, s, clock, old, newName),
		serve(t, s, clock, newName, old),
		serve(t, s, clock, old, newName), // a roll-back
		serve(t, s, clock, newName, old),
	}
	family := map[string]held{} // the newest tokens of a client's family
	for _, h := range g.Held {
		if !h.RefreshOver {
			family[h.Client] = h
		}
	}
	for i := 1; i < len(steps); i++ {
		for _, svc := range steps[i-1 : i+1] { // one as it was, then one that is replaced
			for id, h := range family {
				// Clients are told of the new address when they are; both are taken as soon as both lead here.
				for _, address := range []string{old, newName} {
					if i == 1 && address == newName {
						continue
					}
					a := svc.renew(t, g, h, address)
					if a.status != http.StatusOK {
						t.Fatalf("step %d, %s at %s: %d %s", i, id, address, a.status, a.body)
					}
					h.Access = a.AccessToken
					if a.RefreshToken != "" {
						h.Refresh = a.RefreshToken
					}
					for _, other := range steps[i-1 : i+1] {
						other.takes(t, g, id+" refreshed", h.Access, true)
					}
					if iss(t, h.Access) != svc.issuer {
						t.Errorf("step %d: a token of %s by %s", i, iss(t, h.Access), svc.issuer)
					}
				}
				family[id] = h
			}
		}
	}
	now := steps[len(steps)-1]
	for _, h := range g.Held {
		if h.Client == "shop" && !h.AccessOver {
			now.takes(t, g, h.What, h.Access, true)
		}
	}
	now.signsIn(t, g)
	var metadata oauth.Metadata
	must(t, json.Unmarshal([]byte(now.get(t, newName, oauth.PathMetadata)), &metadata))
	for _, path := range []string{oauth.PathMetadata, oauth.PathOpenIDConfiguration, oauth.PathJWKS} {
		if now.get(t, old, path) != now.get(t, newName, path) {
			t.Errorf("%s is another document under the old name", path)
		}
	}
	if metadata.Issuer != newName || metadata.TokenEndpoint != newName+oauth.PathToken {
		t.Errorf("the metadata name %s and %s", metadata.Issuer, metadata.TokenEndpoint)
	}

	// At last the old name is dropped: what names it is over, and so is its address.
	last := serve(t, s, clock, newName)
	last.takes(t, g, "of the old name", g.Held[0].Access, false)
	if a := last.renew(t, g, g.Held[0], newName); a.Error != oauth.InvalidGrant {
		t.Errorf("a refresh token of the old name: %d %s", a.status, a.body)
	}
	last.takes(t, g, "of the new name", family["cart"].Access, true)
	cart := last.renew(t, g, family["cart"], newName)
	if cart.status != http.StatusOK {
		t.Errorf("a refresh token of the new name: %d %s", cart.status, cart.body)
	}
	if a := last.byAssertion(t, g.Assertions[2]); a.Error != oauth.InvalidClient {
		t.Errorf("an assertion for the old name: %d %s", a.status, a.body)
	}
	if a := last.renew(t, g, family["desk"], old); a.Error != oauth.InvalidDPoPProof {
		t.Errorf("a proof for the old address: %d %s", a.status, a.body)
	}
}

// Without the first step, functions that were not replaced yet refuse what those make that were: why there is one.
func testMoveAtOnce(t *testing.T, g *golden, s *state, clock *clocktest.Clock) {
	before, after := serve(t, s, clock, g.Issuer), serve(t, s, clock, newName, g.Issuer)
	after.honours(t, g)
	a := after.post(t, oauth.PathToken, how{id: "shop", secret: g.Secret}, "grant_type", oauth.GrantClientCredentials)
	before.takes(t, g, "of the new name", a.AccessToken, false)
}

// What a newer release adds to a document outlives a roll-back, and what it writes in another version is left alone.
func testNewerDocuments(t *testing.T, g *golden, s *state, clock *clocktest.Clock) {
	ctx := t.Context()
	later := members.Later{"later": json.RawMessage(`{"a":[1]}`)}
	same := func(what string, got members.Later) {
		t.Helper()
		if text(t, got) != text(t, later) {
			t.Errorf("%s has %s, had %s", what, text(t, got), text(t, later))
		}
	}

	c, err := s.Client(ctx, "shop")
	must(t, err)
	c.Later = later
	must(t, s.UpdateClient(ctx, &c.Record, c.Revision))
	after, err := (&client.Registry{Store: s, Revocations: s, Now: clock.Now}).SetDisabled(ctx, "shop", true)
	must(t, err)
	same("the client that was returned", after.Later)
	c, err = s.Client(ctx, "shop")
	must(t, err)
	same("the client", c.Later)

	u, err := s.User(ctx, "ada")
	must(t, err)
	u.Later = later
	must(t, s.UpdateUser(ctx, &u.Record, u.Revision))
	_, err = (&user.Registry{Store: s, Revocations: s, Now: clock.Now}).SetDisabled(ctx, "ada", true)
	must(t, err)
	u, err = s.User(ctx, "ada")
	must(t, err)
	same("the user", u.Later)

	i, err := s.Issuer(ctx, "https://accounts.example.com")
	must(t, err)
	i.Later = later
	must(t, s.UpdateIssuer(ctx, &i.Record, i.Revision))
	_, err = (&issuer.Registry{Store: s, Revocations: s, Now: clock.Now}).RevokeTokens(ctx, i.URL)
	must(t, err)
	i, err = s.Issuer(ctx, i.URL)
	must(t, err)
	same("the issuer", i.Later)

	// Another version: nothing is read, written over or deleted by whoever does not know it.
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "version 2, this release reads 1") {
			t.Errorf("%s: %v", what, err)
		}
	}
	c.Version, u.Version, i.Version = 2, 2, 2
	must(t, s.UpdateClient(ctx, &c.Record, c.Revision))
	must(t, s.UpdateUser(ctx, &u.Record, u.Revision))
	must(t, s.UpdateIssuer(ctx, &i.Record, i.Revision))
	clients, users, issuers := client.Registry{Store: s, Now: clock.Now}, user.Registry{Store: s, Now: clock.Now}, issuer.Registry{Store: s, Now: clock.Now}
	_, err = clients.SetDisabled(ctx, "shop", false)
	refused("enabling the client", err)
	refused("deleting it", clients.Delete(ctx, "shop"))
	_, err = users.SetDisabled(ctx, "ada", false)
	refused("enabling the user", err)
	refused("deleting it", users.Delete(ctx, "ada"))
	_, err = issuers.RevokeTokens(ctx, i.URL)
	refused("the issuer", err)
	refused("removing it", issuers.Remove(ctx, i.URL))
	a := serve(t, s, clock, g.Issuer).post(t, oauth.PathToken, how{id: "shop", secret: g.Secret}, "grant_type", oauth.GrantClientCredentials)
	if a.status != http.StatusServiceUnavailable && a.status != http.StatusInternalServerError {
		t.Errorf("a client that can't be read signs in: %d %s", a.status, a.body)
	}

	for _, r := range rotators(s, clock, keyring.ES256) {
		d, revision, err := r.Vault.Read(ctx)
		must(t, err)
		kept := d.Keys[len(d.Keys)-1].ID
		d.Later, d.Keys[len(d.Keys)-1].Later = later, later
		must(t, r.Vault.Replace(ctx, d, revision))
		next, err := r.Plan(ctx)
		must(t, err)
		same("the keys that are planned", next.Later)
		clock.Move(4 * time.Hour) // else there is one pending
		if done, err := r.Run(ctx, true); err != nil || done.Made == "" {
			t.Fatalf("%+v, %v", done, err)
		}
		_, err = r.Emergency(ctx)
		must(t, err)
		d, err = r.Vault.Load(ctx)
		must(t, err)
		same("the keys", d.Later)
		for _, k := range d.Keys {
			if k.ID == kept {
				same("the key", k.Later)
				kept = ""
			}
		}
		if kept != "" {
			t.Error("the key is gone")
		}
	}

	public, revision, err := s.PublicKeys(ctx)
	must(t, err)
	public.Version = 2
	must(t, s.PutPublicKeys(ctx, public, revision))
	_, err = rotators(s, clock, keyring.ES256)[0].Publish(ctx, nil)
	refused("publishing", err)
}

// The record of a grant is written without being read. One of another version is left alone all the same.
func testNewerGrants(t *testing.T, g *golden, s *state, clock *clocktest.Clock) {
	a, ok := s.store.(*awsStore)
	if !ok {
		return // the laptop's store reads before it writes
	}
	documents := func() (all []string) {
		for _, item := range a.dump(t).Tables["grants"] {
			all = append(all, item["document"]["S"])
		}
		slices.Sort(all)
		return all
	}
	k := a.dump(t)
	for _, item := range k.Tables["grants"] {
		item["document"]["S"] = strings.Replace(item["document"]["S"], `"version":1`, `"version":2`, 1)
	}
	k.Secrets = nil
	a.restore(t, k)
	before := documents()
	svc, tried := serve(t, s, clock, g.Issuer), 0
	for _, h := range g.Held {
		if h.Client == "cart" && !h.RefreshOver {
			tried++
			if got := svc.renew(t, g, h, g.Issuer); got.status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s", h.What, got.status, got.body)
			}
		}
	}
	if after := documents(); tried < 3 || !slices.Equal(before, after) {
		t.Errorf("after %d tries the grants are %q, were %q", tried, after, before)
	}
}
