package attack

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// A Row is a token, as an attacker or a broken issuer could come with: how it is made, and why it is refused. Most are signed
// by a key of ours, so that what is wrong with them is that one thing.
type Row struct {
	Class, Name string
	Reason      token.Reason // empty: it is as good as any, odd though it looks
	make        func(m *Maker) string

	everyAlg  bool // of interest with each algorithm that the good token may be signed by
	revocable bool // made by us, if not good for anything else now: the revocation endpoint takes it (RFC 7009 section 2.1)
	tidied    bool // as people paste tokens: the command line takes off what is around it
}

// Key is a signing key with its private half in the open.
type Key struct {
	ID        string
	Algorithm keyring.Algorithm
	private   any // crypto.Signer, or of HS256 the secret
}

// NewKey opens a key.
func NewKey(t testing.TB, k keyring.Key) Key {
	t.Helper()
	if k.Algorithm == keyring.HS256 {
		return Key{k.ID, k.Algorithm, k.Secret}
	}
	private, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	return Key{k.ID, k.Algorithm, private}
}

func (k Key) public() crypto.PublicKey { return k.private.(crypto.Signer).Public() }

// sign signs by any algorithm that goes with the key.
func (k Key) sign(alg, input string) []byte {
	signature, err := jwt.GetSigningMethod(alg).Sign(input, k.private)
	if err != nil {
		panic(fmt.Sprintf("%s by a key for %s: %v", alg, k.Algorithm, err))
	}
	return signature
}

// Forge makes the corpus' tokens for one issuer.
type Forge struct {
	Type     string // token.TypeAccess or token.TypeRefresh
	Issuer   string
	Audience string // of access tokens, and the resource of refresh tokens
	Client   string
	Now      func() time.Time

	Keys    map[keyring.Algorithm]Key // of the ring that verifies tokens of the type
	Retired Key                       // was in it
	Revoked Key                       // is in it, and in the feed
	Other   Key                       // of the issuer's other ring
	Foreign Key                       // of nobody here

	RevokedGrant string // that the feed has
	Elsewhere    string // a URL that nothing may ever be asked of

	Every int // for places that are slow: only one token in so many of a class is made, the first with each algorithm; 0: all
}

// Maker makes the token of one row. A row's make returns nothing where it says nothing of tokens by the maker's key.
type Maker struct {
	*Forge
	Key            Key // that signs the good one
	ID             string
	header, claims object
	Good           string // nothing is wrong with it; hostile ones are changed from it
}

// Maker makes one with a good token of its own. id tells its grant and its jti from those of all others.
func (f *Forge) Maker(alg keyring.Algorithm, id string) *Maker {
	m := &Maker{Forge: f, Key: f.Keys[alg], ID: id}
	now := f.Now().Unix()
	issued := now - 120 // a key that is unknown is not merely too new: see revoke.Endpoint
	audience := f.Audience
	if f.Type == token.TypeRefresh {
		audience = f.Issuer
	}
	m.header = object{{"alg", quote(string(alg))}, {"kid", quote(m.Key.ID)}, {"typ", quote(f.Type)}}
	m.claims = object{
		{"iss", quote(f.Issuer)}, {"aud", quote(audience)}, {"sub", quote(f.Client)}, {"client_id", quote(f.Client)},
		{"iat", number(issued)}, {"exp", number(now + 600)}, {"jti", quote("t_" + id)}, {"scope", `"orders:read"`},
		{"grant_id", quote("g_" + id)}, {"auth_time", number(issued)}, {"epochs", `{"c_1":1}`},
	}
	if f.Type == token.TypeRefresh {
		m.claims = append(m.claims, object{
			{"resources", `[` + quote(f.Audience) + `]`}, {"refresh_mode", `"bearer"`}, {"grant_ends", number(now + 3600)},
			{"access_lifetime", "300"},
		}...)
	}
	m.Good = m.token(m.header, m.claims)
	return m
}

// Each makes every token of the corpus: those that have to do with the algorithm by which good tokens are signed by each of
// these, the others by the first. The clock may be moved meanwhile: each is made when it is its turn.
func (f *Forge) Each(algs []keyring.Algorithm, do func(m *Maker, row Row, raw string)) {
	for i, alg := range algs {
		omit := map[string]int{} // so many more of a class
		for n, row := range Corpus(f.Type) {
			if i > 0 && !row.everyAlg {
				continue
			}
			if omit[row.Class] > 0 {
				omit[row.Class]--
				continue
			}
			m := f.Maker(alg, fmt.Sprintf("%s_%d", alg, n))
			raw := row.make(m)
			if raw == "" && row.Name != "nothing" {
				continue
			}
			omit[row.Class] = f.Every - 1
			do(m, row, raw)
		}
	}
}

// token signs header and claims by the maker's key.
func (m *Maker) token(header, claims object) string {
	return m.signed(header.String(), claims.String())
}

func (m *Maker) signed(header, claims string) string {
	return signedBy(m.Key, string(m.Key.Algorithm), header, claims)
}

func signedBy(k Key, alg, header, claims string) string {
	input := enc64(header) + "." + enc64(claims)
	return input + "." + enc64(string(k.sign(alg, input)))
}

// by names a key in the header, and signs with it by its own algorithm.
func (m *Maker) by(k Key) string {
	header := m.header.with("kid", quote(k.ID)).with("alg", quote(string(k.Algorithm)))
	return signedBy(k, string(k.Algorithm), header.String(), m.claims.String())
}

// resigned replaces the good token's signature.
func (m *Maker) resigned(change func(signature []byte) []byte) string {
	input, signature := m.parts()
	return input + "." + enc64(string(change(signature)))
}

// parts are the good token's signing input and signature.
func (m *Maker) parts() (input string, signature []byte) {
	dot := strings.LastIndex(m.Good, ".")
	return m.Good[:dot], []byte(dec64(m.Good[dot+1:]))
}

// object is a JSON object as it is written: with every member in its place, and twice where it is there twice. Values are JSON;
// names are what stands between the quotes.
type object []member

type member struct{ name, value string }

func (o object) String() string {
	parts := make([]string, len(o))
	for i, m := range o {
		parts[i] = `"` + m.name + `":` + m.value
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// with sets a member, at its place or at the end.
func (o object) with(name, value string) object {
	o = slices.Clone(o)
	for i := range o {
		if o[i].name == name {
			o[i].value = value
			return o
		}
	}
	return append(o, member{name, value})
}

func (o object) without(name string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m member) bool { return m.name == name })
}

// and adds a member, whether or not there is one of the name.
func (o object) and(name, value string) object { return append(slices.Clone(o), member{name, value}) }

// called gives a member another name.
func (o object) called(old, name string) object { return o.without(old).and(name, o.get(old)) }

func (o object) get(name string) string {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return "null"
}

// quote makes a JSON string of what needs no escapes.
func quote(s string) string { return `"` + s + `"` }

func number(n int64) string { return fmt.Sprint(n) }

func enc64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func dec64(s string) string {
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err) // of our own making
	}
	return string(data)
}

// Corpus returns every row for tokens of a type, always in the same order.
func Corpus(typ string) []Row {
	rows := slices.Concat(control(), noneRows(), confusionRows(), kidRows(), headerRows(typ), keyRows(), jsonRows(), shapeRows(),
		claimRows(typ), audienceRows(typ), issuerRows(), timeRows(), signatureRows(), base64Rows())
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Name, b.Name)) })
	return rows
}

// control are tokens that are taken: without them, a place that refuses everything would pass.
func control() []Row {
	good := func(name string, make func(m *Maker) string) Row {
		return Row{Class: "control", Name: name, make: make, everyAlg: true}
	}
	return []Row{
		good("a good token", func(m *Maker) string { return m.Good }),
		good("white space in its JSON", func(m *Maker) string { return m.signed(" "+m.header.String()+"\r\n", "\t"+m.claims.String()+" ") }),
		good("members that nobody knows", func(m *Maker) string {
			return m.token(m.header.and("x", `{"a":[1,null,true,1.5e3]}`), m.claims.and("x", "[]"))
		}),
		good("members in another order", func(m *Maker) string {
			header, claims := slices.Clone(m.header), slices.Clone(m.claims)
			slices.Reverse(header)
			slices.Reverse(claims)
			return m.token(header, claims)
		}),
		good("names and values with escapes", func(m *Maker) string {
			return m.token(m.header.called("typ", `t\u0079p`), m.claims.called("exp", `\u0065xp`))
		}),
		good("another name beside the right one, in another case", func(m *Maker) string {
			return m.token(m.header.and("Alg", `"none"`).and("KID", `"x"`), m.claims.and("EXP", "1").and("Iss", `"x"`).and(`\u017fub`, `"x"`).and("AUD", "[]"))
		}),
	}
}

// head, body and text are rows of a token whose header, claims or text are changed.
func head(class, name string, reason token.Reason, change func(h object, m *Maker) object) Row {
	return Row{Class: class, Name: name, Reason: reason, make: func(m *Maker) string { return m.token(change(m.header, m), m.claims) }}
}

func body(class, name string, reason token.Reason, change func(c object, m *Maker) object) Row {
	return Row{Class: class, Name: name, Reason: reason, make: func(m *Maker) string { return m.token(m.header, change(m.claims, m)) }}
}

func text(class, name string, change func(raw string) string) Row {
	return Row{Class: class, Name: name, Reason: token.ReasonMalformed, make: func(m *Maker) string { return change(m.Good) }}
}

// typed are a JSON value's wrong types.
var typed = map[string]string{
	"a number": "1", "null": "null", "true": "true", "a list": "[]", "a list of it": `["x"]`, "an object": "{}", "a fraction": "1.5",
}

// ecPublic, rsaPublic and edPublic take a public key apart.
func (k Key) ecPublic() (*ecdsa.PublicKey, bool) {
	p, ok := k.public().(*ecdsa.PublicKey)
	return p, ok
}
func (k Key) rsaPublic() (*rsa.PublicKey, bool) { p, ok := k.public().(*rsa.PublicKey); return p, ok }
func (k Key) edPublic() (ed25519.PublicKey, bool) {
	p, ok := k.public().(ed25519.PublicKey)
	return p, ok
}
