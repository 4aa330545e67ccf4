// Package outbound makes HTTP clients for addresses that others wrote down, such as an issuer's jwks_uri: whoever may name a
// URL must not have us ask our own network for it.
//
// Every address that is dialled is judged after its name was resolved, so that neither a name which resolves to another
// address the second time nor a redirect leads around that. Only https is spoken, to addresses of the public internet alone;
// no proxy is asked, no redirect followed and no connection kept; an answer's time, headers and size are bounded.
package outbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Bounds of an answer.
const (
	Timeout   = 2500 * time.Millisecond // from the first byte to the last
	MaxHeader = 16 << 10                // in bytes
	MaxBody   = 256 << 10
)

// Config says what is allowed besides. The zero value is for a server.
type Config struct {
	// Loopback allows this machine's own addresses, and http to them: for a laptop.
	Loopback bool
}

// Client makes an HTTP client.
func Client(c Config) *http.Client {
	dialer := &net.Dialer{Timeout: Timeout, Control: func(_, address string, _ syscall.RawConn) error { return c.judge(address) }}
	return &http.Client{
		Timeout: Timeout,
		Transport: &transport{c, &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    Timeout,
			ResponseHeaderTimeout:  Timeout,
			MaxResponseHeaderBytes: MaxHeader,
			DisableKeepAlives:      true,
			DisableCompression:     true, // what is bounded is what was sent
			ForceAttemptHTTP2:      true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// The refusals.
var (
	ErrScheme  = errors.New("outbound: only https is spoken")
	ErrAddress = errors.New("outbound: the address is not one of the public internet")
	ErrTooLong = fmt.Errorf("outbound: the answer is longer than %d bytes", MaxBody)
)

type transport struct {
	Config
	http *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !(r.URL.Scheme == "http" && t.Loopback && IsLoopback(r.URL.Hostname())) {
		return nil, ErrScheme
	}
	res, err := t.http.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &body{res.Body, MaxBody}
	return res, nil
}

// body fails where an answer goes on for too long.
type body struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return n, ErrTooLong
	}
	return n, err
}

// IsLoopback reports whether a URL's host is this machine, as it is written: localhost or a loopback address.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// judge refuses an address that is about to be dialled.
func (c Config) judge(address string) error {
	dialled, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrAddress
	}
	ip := dialled.Addr()
	if ip.Zone() != "" {
		return ErrAddress
	}
	if ip = ip.Unmap(); ip.IsLoopback() && c.Loopback || Public(ip) {
		return nil
	}
	return ErrAddress
}

// Public reports whether an address is one of the public internet, and does not stand for another address besides.
func Public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ip.Is6() && !unicast6.Contains(ip) {
		return false // loopback, link-local, unique local, multicast, NAT64, unspecified …
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsValid()
}

// unicast6 is all that has been given out of IPv6 (RFC 4291 §2.4).
var unicast6 = netip.MustParsePrefix("2000::/3")

// special are the special-purpose addresses of IANA's registries (RFC 6890), but for those of IPv6 beyond unicast6.
var special = prefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // carrier-grade NAT
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local: the metadata of EC2 and the like
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // IETF protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, and broadcast
	"2001::/23",       // IETF protocol assignments, Teredo among them
	"2001:db8::/32",   // documentation
	"2002::/16",       // 6to4
	"3fff::/20",       // documentation
)

func prefixes(list ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(list))
	for i, p := range list {
		parsed[i] = netip.MustParsePrefix(p)
	}
	return parsed
}
