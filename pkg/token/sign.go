package token

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/latchkey-auth/latchkey/internal/appendjson"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// ErrTooLong is returned instead of a token that no verifier would look at.
var ErrTooLong = fmt.Errorf("the token would be longer than %d bytes: the client's scopes and audiences are too many", MaxLength)

// Sign makes the token.
func (a *Access) Sign(ctx context.Context, key keyring.SigningKey) (string, error) {
	var room [1024]byte // most fit
	body := object(room[:0]).string("iss", a.Issuer)
	if len(a.Audience) == 1 { // one is written as a string (RFC 7519 §4.1.3)
		body = body.string("aud", a.Audience[0])
	} else {
		body = body.strings("aud", a.Audience)
	}
	body = body.grant(&a.Grant, a.IssuedAt, a.ExpiresAt, a.ID, a.Scope.String()).confirmation(a.Confirmation)
	return sign(ctx, key, TypeAccess, append(body, '}'))
}

// Sign makes the token.
func (r *Refresh) Sign(ctx context.Context, key keyring.SigningKey) (string, error) {
	var room [1024]byte
	body := object(room[:0]).string("iss", r.Issuer).string("aud", r.Issuer).
		grant(&r.Grant, r.IssuedAt, r.ExpiresAt, r.ID, r.Scope.String())
	if len(r.Resources) > 0 {
		body = body.strings("resources", r.Resources)
	}
	if r.Mode != "" {
		body = body.string("refresh_mode", string(r.Mode))
	}
	body = body.time("grant_ends", r.GrantEnds)
	if seconds := int64(r.AccessLifetime / time.Second); seconds != 0 {
		body = body.int("access_lifetime", seconds)
	}
	if r.Generation != 0 {
		body = body.int("generation", r.Generation)
	}
	return sign(ctx, key, TypeRefresh, append(body.confirmation(r.Confirmation), '}'))
}

// sign makes the compact serialisation (RFC 7515 §7.1).
func sign(ctx context.Context, key keyring.SigningKey, typ string, body []byte) (string, error) {
	var room [256]byte
	head := append(object(room[:0]).string("alg", string(key.Algorithm)).string("kid", key.ID).string("typ", typ), '}')
	b64 := base64.RawURLEncoding
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	out := b64.AppendEncode((*buffer)[:0], head)
	out = append(out, '.')
	out = b64.AppendEncode(out, body)
	signature, err := key.Sign(ctx, out)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	out = append(out, '.')
	out = b64.AppendEncode(out, signature)
	if len(out) > MaxLength {
		return "", ErrTooLong
	}
	*buffer = out
	return string(out), nil
}

// buffers are for tokens that are being made. What is put back is no longer than MaxLength.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// object is a JSON object that is being written: its methods append members. Names are ours, and need no escapes.
type object []byte

func (o object) name(name string) object {
	open := byte(',')
	if len(o) == 0 {
		open = '{'
	}
	return append(append(append(o, open, '"'), name...), `":`...)
}

func (o object) string(name, s string) object { return appendjson.String(o.name(name), s) }

func (o object) int(name string, n int64) object { return strconv.AppendInt(o.name(name), n, 10) }

func (o object) time(name string, t time.Time) object { return o.int(name, t.Unix()) }

func (o object) strings(name string, list []string) object {
	o = append(o.name(name), '[')
	for i, s := range list {
		if i > 0 {
			o = append(o, ',')
		}
		o = appendjson.String(o, s)
	}
	return append(o, ']')
}

// grant appends what both kinds have between iss and aud, and what is the one kind's alone.
func (o object) grant(g *Grant, issued, expires time.Time, id, scope string) object {
	o = o.string("sub", g.Subject).string("client_id", g.ClientID).time("iat", issued).time("exp", expires).string("jti", id)
	if scope != "" {
		o = o.string("scope", scope)
	}
	return o.string("grant_id", g.GrantID).time("auth_time", g.AuthTime).epochs(g.Epochs)
}

// epochs appends an object of handles, in their order. Of one that is named twice, the last counts.
func (o object) epochs(list Epochs) object {
	if len(list) > 1 {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b Epoch) int { return cmp.Compare(a.Handle, b.Handle) })
	}
	o = append(o.name("epochs"), '{')
	first := true
	for i, e := range list {
		if i+1 < len(list) && list[i+1].Handle == e.Handle {
			continue
		}
		if !first {
			o = append(o, ',')
		}
		first = false
		o = strconv.AppendInt(append(appendjson.String(o, e.Handle), ':'), e.N, 10)
	}
	return append(o, '}')
}

func (o object) confirmation(c Confirmation) object {
	if !c.Bound() {
		return o
	}
	var inner object
	if c.JKT != "" {
		inner = inner.string("jkt", c.JKT)
	}
	if c.X5T != "" {
		inner = inner.string("x5t#S256", c.X5T)
	}
	return append(append(o.name("cnf"), inner...), '}')
}
