package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// A rotating refresh token, with the built functions: one write a refresh, the same successor within the grace from a new
// sandbox too, and after it the end of the grant, which the authorizer hears of.
func TestRotating(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	secret := d.register(client.Spec{ID: "shop", RefreshMode: token.ModeRotating})
	first := d.signIn("shop", secret).field("refresh_token")
	rotate := func(held string) answer {
		t.Helper()
		return d.call("POST", oauth.PathToken, url.Values{"grant_type": {"refresh_token"}, "client_id": {"shop"}, "refresh_token": {held}}, "")
	}
	elsewhere := d.call("POST", oauth.PathRefresh, url.Values{"grant_type": {"refresh_token"}, "client_id": {"shop"}, "refresh_token": {first}}, "")
	if elsewhere.is(400); elsewhere.field("error") != "unauthorized_client" || !strings.Contains(elsewhere.body, oauth.PathToken) {
		t.Errorf("at the refresh endpoint: %s", elsewhere.body)
	}

	d.aws.Reset()
	second := rotate(first)
	second.is(200)
	if got := fmt.Sprint(d.aws.Counts()); got != "map[DynamoDB.PutItem:1]" {
		t.Errorf("a refresh made the calls %s; want one write", got)
	}
	d.whoamiIs(200, second.field("access_token"), scope)

	d.startVerifiers()
	d.gateways()
	again := rotate(first)
	again.is(200)
	if again.field("refresh_token") != second.field("refresh_token") {
		t.Error("another successor, after a cold start")
	}
	third := rotate(second.field("refresh_token"))
	third.is(200)

	d.pass(rotating.Grace + 2*time.Second)
	refused := func(what, held string) {
		t.Helper()
		a := rotate(held)
		if a.is(400); a.field("error") != "invalid_grant" {
			t.Errorf("%s: %s", what, a.body)
		}
	}
	d.whoamiIs(200, third.field("access_token"), scope)
	refused("reused", second.field("refresh_token"))
	refused("the newest one after that", third.field("refresh_token"))
	d.pass(30 * time.Second)
	d.whoamiIs(401, third.field("access_token"), "")
	d.scanLogs(secret, first, second.field("refresh_token"), second.field("access_token"))
}
