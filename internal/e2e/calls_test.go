package e2e

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// AWS is called, and the revocation feed polled, as time goes by and not as requests come in.
func TestRefreshCallsDependOnTimeAlone(t *testing.T) {
	signed := 2_200 // all the steps four times; the emulator's KMS takes 8 ms a signature
	if testenv.Long() {
		signed = 10_000
	}
	for name, c := range map[string]struct {
		mode      mode
		refreshes int
	}{
		"secretsmanager": {mode{"secretsmanager", "secretsmanager", "ES256"}, 10_000},
		"kms":            {mode{"kms", "secretsmanager", "ES256"}, signed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one waits for KMS most of the time
			d := deploy(t, c.mode)
			secret := d.register(client.Spec{ID: "shop"})
			held := d.signIn("shop", secret).field("refresh_token")
			if held == "" {
				t.Fatalf("no refresh token\n%s", d.token.Logs())
			}
			// A first refresh, so that the function has read its keys.
			if r := d.renew("shop", held); r.Status != http.StatusOK {
				t.Fatalf("%d %s\n%s", r.Status, r.Body, d.refresh.Logs())
			}
			d.aws.Reset()
			d.feed.polls.Store(0)

			// Some hours, in uneven steps: bursts within a second, and pauses longer than the reload interval.
			steps := []time.Duration{0, 0, 0, time.Second, 0, 20 * time.Second, 0, 0, 2 * time.Minute, 0, 7 * time.Minute}
			const batch = 50
			reloads, sinceReload := 0, time.Duration(0)
			polls, sincePoll := int64(0), time.Duration(0)
			begun := time.Now()
			for i := range c.refreshes {
				if i%batch == 0 {
					step := steps[(i/batch)%len(steps)]
					d.pass(step)
					if sinceReload += step; sinceReload >= keyring.ReloadInterval {
						reloads++
						sinceReload = 0
					}
					if sincePoll += step; sincePoll >= revocation.PollInterval {
						polls++
						sincePoll = 0
					}
				}
				if r := d.renew("shop", held); r.Status != http.StatusOK {
					t.Fatalf("refresh %d: %d %s\n%s", i, r.Status, r.Body, d.refresh.Logs())
				}
			}
			took := time.Since(begun)
			want := map[string]int{"SecretsManager.GetSecretValue": 2 * reloads} // one secret of access keys, one of refresh keys
			if c.mode.accessKeys == "kms" {
				want["KMS.Sign"] = c.refreshes
			}
			got := d.aws.Counts()
			// The real clock runs as well: it may carry a reload over the edge of a step.
			extra := 2 * (int(took/keyring.ReloadInterval) + 1)
			if n := got["SecretsManager.GetSecretValue"] - want["SecretsManager.GetSecretValue"]; n < -extra || n > extra {
				t.Errorf("%d key reads, want %d", got["SecretsManager.GetSecretValue"], want["SecretsManager.GetSecretValue"])
			}
			extraPolls := int64(took/revocation.PollInterval) + 1
			if n := d.feed.polls.Load() - polls; n < -extraPolls || n > extraPolls {
				t.Errorf("%d polls of the feed, want %d", d.feed.polls.Load(), polls)
			}
			delete(got, "SecretsManager.GetSecretValue")
			delete(want, "SecretsManager.GetSecretValue")
			if !maps.Equal(got, want) {
				t.Errorf("%d refreshes called AWS %v besides reading keys, want %v", c.refreshes, got, want)
			}
			t.Logf("%d refreshes over %v by the function's clock: %d key reloads, %v; %d polls of the feed, %d bytes, for which it called %v; %v a refresh, freezing and thawing included",
				c.refreshes, d.moved, reloads, d.aws.Counts(), d.feed.polls.Load(), d.feed.bytes.Load(), d.feedAWS.Counts(), took/time.Duration(c.refreshes))

			if c.mode.accessKeys == "kms" {
				return
			}
			// AWS goes down. Refreshes go on, past the time at which keys are to be read again.
			d.aws.Stop()
			for i := range 1000 {
				if i == 500 {
					d.pass(keyring.ReloadInterval)
				}
				if r := d.renew("shop", held); r.Status != http.StatusOK {
					t.Fatalf("AWS down, refresh %d: %d %s\n%s", i, r.Status, r.Body, d.refresh.Logs())
				}
			}
			// For an hour: then it is an outage, and said to be one.
			d.pass(keyring.MaxStale)
			if r := d.renew("shop", held); r.Status != http.StatusServiceUnavailable || r.field("error") != "temporarily_unavailable" {
				t.Errorf("AWS down for over an hour: %d %s", r.Status, r.Body)
			}
			d.aws.Start()
			d.pass(time.Minute)
			if r := d.renew("shop", held); r.Status != http.StatusOK {
				t.Errorf("AWS up again: %d %s", r.Status, r.Body)
			}
		})
	}
}

// A sign-in reads one record at most, and none when the client was seen lately with its right secret.
func TestSignInCalls(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	secret := d.register(client.Spec{ID: "shop"})
	other := d.register(client.Spec{ID: "other"})
	d.signIn("other", other) // the keys are read
	reads := func(id, secret string, status int) int {
		t.Helper()
		d.aws.Reset()
		if r := d.signIn(id, secret); r.Status != status {
			t.Errorf("%s: %d %s", id, r.Status, r.Body)
		}
		counts := d.aws.Counts()
		n := counts["DynamoDB.GetItem"]
		delete(counts, "DynamoDB.GetItem")
		if len(counts) > 0 {
			t.Errorf("%s: other calls: %v", id, counts)
		}
		return n
	}
	if n := reads("shop", secret, 200); n != 1 {
		t.Errorf("a client not seen lately: %d reads", n)
	}
	for range 5 {
		if n := reads("shop", secret, 200); n != 0 {
			t.Errorf("a client seen lately: %d reads", n)
		}
	}
	d.pass(client.RecordTTL)
	if n := reads("shop", secret, 200); n != 1 {
		t.Errorf("after the record's time: %d reads", n)
	}
	wrong, _ := client.NewSecret(time.Now())
	total := 0
	for range 20 {
		total += reads("shop", wrong, 401)
	}
	if total > 2 { // one a second, by a clock that runs on
		t.Errorf("20 wrong secrets: %d reads", total)
	}
	if n := reads("shop", secret[:len(secret)-1]+"!", 401); n != 0 {
		t.Errorf("a mistyped secret: %d reads", n)
	}
	if n := reads("Not An Id", secret, 401); n != 0 {
		t.Errorf("an impossible id: %d reads", n)
	}
	total = 0
	for range 20 {
		total += reads("nobody", wrong, 401)
	}
	if total < 1 || total > 2 { // as of one that there is
		t.Errorf("an unknown client, 20 times: %d reads", total)
	}
	// A new secret works at once, though the record in memory is older.
	d.pass(client.RereadInterval)
	_, rotated, err := d.clients.RotateSecret(t.Context(), "shop", client.Rotation{Grace: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if n := reads("shop", rotated, 200); n != 1 {
		t.Errorf("a new secret: %d reads", n)
	}
	if n := reads("shop", secret, 200); n != 0 {
		t.Errorf("the old one within its grace: %d reads", n)
	}
}
