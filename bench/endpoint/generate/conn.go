package generate

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody    = 64 << 10
	answerTime = 10 * time.Second
	// verifyEvery is of how many tokens one has its signature checked, besides the first on each connection.
	verifyEvery = 1000
)

// conn is a connection and the seats that it asks for in turn.
type conn struct {
	net.Conn
	g     *Generator
	in    *bufio.Reader
	seats []*seat
	next  int
	body  []byte // of the request; reused
	out   []byte
	reply []byte

	requests, tokenBytes int
}

func (g *Generator) dial(ctx context.Context, i, of int) (*conn, error) {
	var d net.Dialer
	n, err := d.DialContext(ctx, "tcp", g.host)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: n, g: g, in: bufio.NewReaderSize(n, 8<<10)}
	for ; i < len(g.seats); i += of {
		c.seats = append(c.seats, g.seats[i])
	}
	if len(c.seats) == 0 { // of a server that makes no tokens
		c.seats = g.seats
	}
	return c, nil
}

// exchange asks at the next seat and takes the answer.
func (c *conn) exchange(k Kind) error {
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	s := c.take()
	if _, err := c.Write(c.request(k, s)); err != nil {
		return err
	}
	return c.receive(s)
}

// take returns the next seat.
func (c *conn) take() *seat {
	s := c.seats[c.next%len(c.seats)]
	c.next++
	return s
}

// unprimed goes to the next seat without a refresh token, if there is one.
func (c *conn) unprimed() bool {
	for ; c.next < len(c.seats); c.next++ {
		if c.seats[c.next].refresh == "" {
			return true
		}
	}
	return false
}

// request writes the request into buffers that the next one uses again.
func (c *conn) request(k Kind, s *seat) []byte {
	path, body, basic := c.g.TokenPath, c.body[:0], true
	if k == Refresh {
		path, basic = c.g.RefreshPath, !c.g.Bare
		body = append(append(body, "grant_type=refresh_token&refresh_token="...), s.refresh...)
		if !basic {
			body = append(append(body, "&client_id="...), s.id...)
		}
	} else {
		body = append(body, "grant_type=client_credentials"...)
		if c.g.Scope != "" {
			body = append(append(body, "&scope="...), url.QueryEscape(c.g.Scope)...)
		}
	}
	out := append(append(c.out[:0], "POST "...), path...)
	out = append(append(out, " HTTP/1.1\r\nHost: "...), c.g.host...)
	out = append(out, "\r\nContent-Type: application/x-www-form-urlencoded\r\nAccept: application/json\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(body)), 10)
	if basic {
		out = append(append(out, "\r\nAuthorization: Basic "...), s.basic...)
	}
	out = append(append(out, "\r\n\r\n"...), body...)
	c.body, c.out = body, out
	return out
}

// answer is what matters of a token response.
type answer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
}

// receive takes the answer to what was asked at that seat.
func (c *conn) receive(s *seat) error {
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if c.reply, err = readAll(c.reply[:0], io.LimitReader(r.Body, maxBody)); err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.300s", r.Status, c.reply)
	}
	if r.Close {
		return errors.New("the server does not keep the connection")
	}
	c.requests++
	if c.g.key == nil {
		return nil
	}
	var a answer
	if err := json.Unmarshal(c.reply, &a); err != nil {
		return err
	}
	if strings.Count(a.AccessToken, ".") != 2 {
		return fmt.Errorf("no JWT in %.300s", c.reply)
	}
	if c.requests%verifyEvery == 1 {
		if err := verify(c.g.key, a.AccessToken, time.Now()); err != nil {
			return err
		}
	}
	c.tokenBytes += len(a.AccessToken) + len(a.RefreshToken)
	if a.RefreshToken != "" {
		s.refresh = a.RefreshToken
	}
	return nil
}

func readAll(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// verify checks that a token is one: ES256, signed with the key that the server announced, good for now.
func verify(key *ecdsa.PublicKey, raw string, now time.Time) error {
	parts := strings.Split(raw, ".")
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims struct {
		ExpiresAt float64 `json:"exp"`
	}
	for i, into := range []any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			return fmt.Errorf("the access token: %w", err)
		}
	}
	if header.Algorithm != "ES256" {
		return fmt.Errorf("the access token's algorithm is %q", header.Algorithm)
	}
	if claims.ExpiresAt <= float64(now.Unix()) {
		return errors.New("the access token is no good any more")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return errors.New("the access token's signature is not one of ES256")
	}
	digest := sha256.Sum256([]byte(raw[:len(raw)-len(parts[2])-1]))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return errors.New("the access token's signature is wrong")
	}
	return nil
}
