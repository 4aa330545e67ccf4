package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// httpClient follows no redirect: what is published has to be at the issuer itself, and nothing that a secret is sent to moves.
func httpClient(given *http.Client) *http.Client {
	c := http.Client{}
	if given != nil {
		c = *given
	}
	c.Timeout = limit
	c.Jar = nil
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	skew   *skew // nil where it has no date
}

func (e *Examination) get(ctx context.Context, address string, header http.Header) (*answer, error) {
	return e.send(ctx, http.MethodGet, address, header, nil)
}

func (e *Examination) post(ctx context.Context, address string, header http.Header, form url.Values) (*answer, error) {
	return e.send(ctx, http.MethodPost, address, header, form)
}

func (e *Examination) send(ctx context.Context, method, address string, header http.Header, form url.Values) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("User-Agent", "latchkey")
	sent := e.Now()
	res, err := e.HTTP.Do(req)
	if err != nil {
		return nil, noAnswer(err)
	}
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		a.skew = skewOf(req.URL.Host, sent, e.Now(), date)
	}
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1)); err != nil {
		return nil, noAnswer(err)
	}
	if len(a.body) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	return a, nil
}

// noAnswer leaves the URL out of an error, which the finding has.
func noAnswer(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return errors.New("no answer in time")
	}
	return fmt.Errorf("no answer: %w", err)
}

// origin is a URL's scheme and host.
func origin(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// private reports whether what is sent to a URL can be read by nobody on the way: by https, or on this machine.
func private(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip.IsLoopback())
}

// maxAge is the max-age of an answer's Cache-Control (RFC 9111 §5.2.2.1); ok is false where it has none, or must not be kept.
func maxAge(h http.Header) (age time.Duration, ok bool) {
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0, false
		case "max-age":
			age, err := time.ParseDuration(value + "s")
			if err != nil {
				return 0, false
			}
			return age, true
		}
	}
	return 0, false
}
