package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// TestManySignInsAtOnce has 200 users sign in at once: those that there is no room for are told to come back, memory stays
// bounded, and clients go on signing in by themselves.
func TestManySignInsAtOnce(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("latchkey", "dev", "--port", "0")
	cmd.Dir = t.TempDir()
	p, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	password, err := submatch(`password\s+(\S+)`, p.welcome)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[string]int{}
	ask := func(what string, form url.Values) {
		form.Set("client_id", "demo")
		form.Set("client_secret", p.secret)
		resp, err := http.PostForm(p.issuer+"/oauth2/token", form)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		mu.Lock()
		defer mu.Unlock()
		got[fmt.Sprint(what, " ", resp.Status)]++
		if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
			t.Error("a 503 does not say when to come back")
		}
	}
	before := peakMemory(t, cmd.Process.Pid)
	var done sync.WaitGroup
	for i := range 200 {
		done.Go(func() {
			ask("user", url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {password}})
		})
		if i%4 == 0 {
			done.Go(func() { ask("client", url.Values{"grant_type": {"client_credentials"}}) })
		}
	}
	done.Wait()
	after := peakMemory(t, cmd.Process.Pid)
	t.Logf("%v; at its peak %d MiB before, %d MiB after", got, before>>10, after>>10)
	served, busy := got["user 200 OK"], got["user 503 Service Unavailable"]
	if got["client 200 OK"] != 50 || served == 0 || busy == 0 || served+busy != 200 {
		t.Errorf("%v; want all of the clients' served, and some of the users' told that there is no room", got)
	}
	if grown := after - before; grown > 256<<10 {
		t.Errorf("memory grew by %d MiB", grown>>10)
	}
	if strings.Contains(p.log.String(), password) {
		t.Error("the log has the password")
	}
}

// peakMemory is the most that a process has taken, in KiB; 0 where the system does not tell.
func peakMemory(t *testing.T, pid int) (kib int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	line, err := submatch(`VmHWM:\s+(\d+) kB`, string(status))
	if err == nil {
		_, err = fmt.Sscan(line, &kib)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
