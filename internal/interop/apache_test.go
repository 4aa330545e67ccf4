package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// Where Debian has Apache, of apache2-bin and libapache2-mod-auth-openidc.
const (
	apache        = "/usr/sbin/apache2"
	apacheModules = "/usr/lib/apache2/modules"
)

// TestApache has Apache stand in front of a service, as the docs set it up, and tell that who calls.
func TestApache(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(apacheModules, "mod_auth_openidc.so")); err != nil {
		const missing = "no Apache with mod_auth_openidc on this machine: apt-get install apache2-bin libapache2-mod-auth-openidc"
		if os.Getenv("LATCHKEY_CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			i := startIssuer(t, alg)
			guarded := i.startApache(t)
			ask := func(token string) (verdict, int) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, guarded, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("OIDC_CLAIM_sub", "forged")
				if token != "" {
					req.Header.Set("Authorization", "Bearer "+token)
				}
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if res.StatusCode != http.StatusOK {
					return verdict{Error: fmt.Sprint(res.StatusCode, " ", res.Header.Get("WWW-Authenticate"))}, res.StatusCode
				}
				var v verdict
				if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
					t.Fatal(err)
				}
				return v, res.StatusCode
			}
			verdicts := map[string]verdict{}
			cases := i.cases(t)
			for n, c := range cases {
				v, status := ask(c.token)
				verdicts[c.name] = v
				if c.scope == "" && status != http.StatusUnauthorized && !strings.HasPrefix(c.name, "typed ") {
					t.Errorf("%s: status %d", c.name, status)
				}
				// It looks at no typ, as the docs say.
				if strings.HasPrefix(c.name, "typed ") {
					cases[n].scope = "orders:read orders:write"
				}
			}
			i.judge(t, cases, verdicts)
			less := i.post(t, oauth.PathToken, url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:write"}})
			if v, _ := ask(less.AccessToken); v.Claims != nil {
				t.Errorf("without the scope: %+v", v)
			}
			if v, status := ask(""); status != http.StatusUnauthorized {
				t.Errorf("without a token: %d %+v", status, v)
			}
		})
	}
}

// startApache runs an Apache for this test alone, and returns the URL of what it guards. Behind it is a service that answers
// with what it is told.
func (i *issuer) startApache(t *testing.T) string {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claim := func(name string) string { return strings.Join(r.Header["Oidc_claim_"+name], " and ") }
		_ = json.NewEncoder(w).Encode(map[string]any{"claims": object{
			"sub": claim("sub"), "client_id": claim("client_id"), "scope": claim("scope"),
		}})
	}))
	t.Cleanup(backend.Close)

	// Started by root, it serves as somebody else, who has to be able to read its folder.
	dir, err := os.MkdirTemp("", "latchkey-apache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ca, err := os.ReadFile(i.caFile)
	if err != nil {
		t.Fatal(err)
	}
	write("ca.pem", string(ca))
	user := ""
	if os.Getuid() == 0 {
		user = "User nobody\nGroup nogroup\n"
	}
	var log string
	for try := 0; ; try++ {
		address := freeAddress(t)
		write("apache.conf", `ServerRoot "`+dir+`"
ServerName localhost
Listen `+address+`
PidFile "`+dir+`/pid"
DefaultRuntimeDir "`+dir+`"
ErrorLog "`+dir+`/error.log"
`+user+apacheModulesConf("mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "auth_openidc")+`
OIDCCABundlePath "`+dir+`/ca.pem"
ProxyPass / `+backend.URL+`/
`+i.configured(snippet(t, "Apache httpd")))
		cmd := exec.Command(apache, "-f", filepath.Join(dir, "apache.conf"), "-DFOREGROUND")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if answers(address, ended) {
			t.Cleanup(func() {
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
				<-ended
				if t.Failed() {
					text, _ := os.ReadFile(filepath.Join(dir, "error.log"))
					t.Logf("Apache said:\n%s%s", &out, text)
				}
			})
			return "http://" + address + "/orders"
		}
		text, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		if log = out.String() + string(text); try == 3 || !strings.Contains(log, "Address already in use") {
			t.Fatalf("Apache does not start:\n%s", log)
		}
	}
}

func apacheModulesConf(names ...string) string {
	var conf strings.Builder
	for _, name := range names {
		fmt.Fprintf(&conf, "LoadModule %s_module %s/mod_%s.so\n", name, apacheModules, name)
	}
	return conf.String()
}

// freeAddress is one that nobody listened at a moment ago: Apache can't choose its own.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answers waits until a connection is taken, or the process has ended.
func answers(address string, ended chan error) bool {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		select {
		case err := <-ended:
			ended <- err
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return true
		}
	}
	return false
}
