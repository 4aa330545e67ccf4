package outbound

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestPublic(t *testing.T) {
	for _, ip := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "2606:4700::1", "2a00::1", "::ffff:1.1.1.1"} {
		if !Public(netip.MustParseAddr(ip)) {
			t.Errorf("%s is public", ip)
		}
	}
	for _, ip := range []string{
		"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001::1", "2001:db8::1",
		"2002:a9fe:a9fe::1", "3fff::1", "100::1", "5f00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
	} {
		if Public(netip.MustParseAddr(ip)) {
			t.Errorf("%s is not public", ip)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestJudge(t *testing.T) {
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "169.254.169.254:80", "[fe80::1%eth0]:443", "[2606:4700::1%eth0]:443", "localhost:443", "", "1.1.1.1"} {
		if err := (Config{}).judge(address); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"1.1.1.1:443", "[2606:4700::1]:8443"} {
		if err := (Config{}).judge(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	laptop := Config{Loopback: true}
	if laptop.judge("127.0.0.1:80") != nil || laptop.judge("[::1]:80") != nil || laptop.judge("169.254.169.254:80") == nil || laptop.judge("10.0.0.1:80") == nil {
		t.Error("a laptop reaches itself besides, and nothing else")
	}
}

// TestServer: nothing of this machine is reached, by whatever name or scheme.
func TestServer(t *testing.T) {
	reached := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer s.Close()
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for url, want := range map[string]error{
		s.URL: ErrAddress, "https://localhost" + port: ErrAddress, "https://[::ffff:127.0.0.1]" + port: ErrAddress,
		"http://127.0.0.1" + port: ErrScheme, "http://example.com/": ErrScheme, "ftp://example.com/": ErrScheme,
	} {
		if _, err := Client(Config{}).Get(url); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", url, err, want)
		}
	}
	if _, err := Client(Config{Loopback: true}).Get("http://example.com/"); !errors.Is(err, ErrScheme) {
		t.Errorf("http to others, on a laptop: %v", err)
	}
	if reached != 0 {
		t.Errorf("%d requests came through", reached)
	}
}

// TestProxy: a proxy would dial for us, whatever the address.
func TestProxy(t *testing.T) {
	asked := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	if _, err := Client(Config{}).Get("https://127.0.0.1:1/"); !errors.Is(err, ErrAddress) || asked != 0 {
		t.Errorf("%v, and the proxy was asked %d times", err, asked)
	}
}

// TestAnswers has a server of this machine's do harm.
func TestAnswers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/huge":
			_, _ = io.Copy(w, io.LimitReader(zeros{}, MaxBody+1))
		case "/full":
			_, _ = io.Copy(w, io.LimitReader(zeros{}, MaxBody))
		case "/headers":
			w.Header().Set("X-Long", strings.Repeat("x", 2*MaxHeader))
		case "/hang":
			<-r.Context().Done()
		case "/drip":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	get := func(path string) (int, int, error) {
		res, err := Client(Config{Loopback: true}).Get(s.URL + path)
		if err != nil {
			return 0, 0, err
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		return res.StatusCode, int(n), err
	}
	if status, _, err := get("/redirect"); status != http.StatusFound || err != nil {
		t.Errorf("a redirect: %d, %v", status, err)
	}
	if _, n, err := get("/full"); n != MaxBody || err != nil {
		t.Errorf("as long as it may be: %d, %v", n, err)
	}
	if _, _, err := get("/huge"); !errors.Is(err, ErrTooLong) {
		t.Errorf("longer: %v", err)
	}
	if _, _, err := get("/headers"); err == nil {
		t.Error("long headers are taken")
	}
	for _, path := range []string{"/hang", "/drip"} {
		start := time.Now()
		if _, _, err := get(path); !os.IsTimeout(err) || time.Since(start) > 2*Timeout {
			t.Errorf("%s: %v after %v", path, err, time.Since(start))
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
