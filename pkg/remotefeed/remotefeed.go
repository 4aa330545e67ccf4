// Package remotefeed reads the revocation feed that is published at a URL.
//
//	feed, err := remotefeed.New(remotefeed.Config{URL: issuer + revocation.PathFeed})
//	view, err := revocation.NewView(revocation.ViewConfig{Source: feed, Window: window})
//
// Whatever is not a whole page, as the format has it, is an error and never an empty page: a verifier must not take
// trouble on the way for the news that nothing was revoked.
package remotefeed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/strictjson"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

const (
	// MaxPage bounds a page's size in bytes, after decompression. revocation.PageSize entries take some 1.7 MB.
	MaxPage = 4 << 20
	// PageTimeout bounds one page from its start to the last byte, if the context does not end sooner.
	PageTimeout = 10 * time.Second
)

// Config says where the feed is.
type Config struct {
	// URL is the feed's, http or https; it may have a query of its own. Required.
	URL string
	// HTTPClient makes the requests. Redirects are refused and no cookies are kept whatever it says. Nil: one that keeps a
	// connection from page to page of one load, and none from poll to poll: between them the process may have been frozen,
	// and a connection that died meanwhile would cost the poll its time.
	HTTPClient *http.Client
}

// Source implements revocation.Source. Make it with New. Safe for many goroutines.
type Source struct {
	url    *url.URL
	client *http.Client
	own    bool // the client is ours, and so are its connections
}

// New checks the configuration. It uses no network.
func New(c Config) (*Source, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("remotefeed: the URL must be absolute, http or https, without user or fragment")
	}
	s := &Source{url: u, own: c.HTTPClient == nil}
	// HTTP/1.1 alone: there, a request that was given up takes its connection with it.
	client := http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: PageTimeout}).DialContext,
		TLSHandshakeTimeout:    PageTimeout,
		MaxResponseHeaderBytes: 16 << 10,
	}}
	if c.HTTPClient != nil {
		client = *c.HTTPClient
	}
	// A redirect would move the trust in one host to whatever that host names.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	s.client = &client
	return s, nil
}

// Page implements revocation.Source.
func (s *Source) Page(ctx context.Context, after string, since time.Time) (*revocation.Page, error) {
	page, err := s.page(ctx, after, since)
	if s.own && (err != nil || !page.More) {
		// Those in use are closed when they come to rest, until the next request.
		s.client.CloseIdleConnections()
	}
	if err != nil {
		return nil, fmt.Errorf("fetching the revocations: %w", withoutURL(err))
	}
	return page, nil
}

// withoutURL takes out of an error the URL, whose cursor is long and says nothing.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (s *Source) page(ctx context.Context, after string, since time.Time) (*revocation.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, PageTimeout)
	defer cancel()
	u := *s.url
	query := u.Query()
	if after != "" {
		query.Set("after", after)
	} else {
		query.Set("since", strconv.FormatInt(since.Unix(), 10))
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	// Accept-Encoding is the transport's: it then undoes gzip itself, and what is read is bounded after that.
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "latchkey")
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	if mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, errors.New("the answer is not JSON")
	}
	if res.Header.Get("Content-Encoding") != "" {
		return nil, errors.New("the answer is encoded in a way that was not asked for")
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxPage+1))
	if err != nil {
		return nil, err
	}
	if len(body) > MaxPage {
		return nil, fmt.Errorf("the page is larger than %d bytes", MaxPage)
	}
	return parse(body)
}

// parse reads a page strictly. Its entries are read by the view, which knows the kinds. Members that are not known are
// passed over: what changes the meaning of the others has another version.
func parse(body []byte) (*revocation.Page, error) {
	p := &revocation.Page{}
	seen := map[string]bool{}
	err := strictjson.Object(body, func(d *strictjson.Decoder, name []byte) (err error) {
		var n int64
		switch string(name) {
		case "version":
			n, err = d.Int()
			p.Version = int(n)
		case "feed":
			p.Feed, err = d.String()
		case "as_of":
			p.AsOf, err = d.Int()
		case "next":
			p.Next, err = d.String()
		case "more":
			p.More, err = d.Bool()
		case "entries":
			p.Entries = make([]string, 0, min(len(body)/32, revocation.PageSize)) // an entry takes some 40 bytes
			err = d.ArrayUpTo(MaxPage, func(d *strictjson.Decoder) error {
				entry, err := d.String()
				p.Entries = append(p.Entries, entry)
				return err
			})
		default:
			return d.Skip()
		}
		seen[string(name)] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.Version == revocation.PageVersion {
		var missing []string
		for _, name := range []string{"feed", "as_of", "next", "more", "entries"} {
			if !seen[name] {
				missing = append(missing, name)
			}
		}
		switch {
		case missing != nil:
			return nil, fmt.Errorf("the page has no %s", strings.Join(missing, ", "))
		// As of 0 is what the reader of another feed's cursor is told: it sees the name, and begins anew.
		case p.Feed == "" || p.AsOf < 0 || p.AsOf == 0 && (p.More || p.Next != "" || len(p.Entries) > 0) || p.More && p.Next == "":
			return nil, errors.New("the page has an empty feed, as_of or next")
		}
	}
	return p, nil
}
