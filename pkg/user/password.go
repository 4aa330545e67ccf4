package user

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/latchkey-auth/latchkey/pkg/user/common"
)

// What a password may be (NIST SP 800-63B §5.1.1): its length, counted in code points of its normal form.
const (
	MinPassword = 8
	MaxPassword = 256

	maxPasswordBytes = 16 * MaxPassword // of what is looked at, before it is normalised
)

// errPassword says that no user's password can be this one.
var errPassword = fmt.Errorf("the password must have %d to %d characters, of any script, and no control characters", MinPassword, MaxPassword)

// normalizePassword returns the form of a password that is hashed: NFKC, so that the same keys pressed on another machine
// make the same password. Any characters are taken, spaces and emoji among them, but for control characters and what
// Unicode has not assigned: a later version may normalise that in another way, and the user would be locked out.
func normalizePassword(password string) (string, error) {
	if len(password) > maxPasswordBytes || !utf8.ValidString(password) {
		return "", errPassword
	}
	normal := norm.NFKC.String(password)
	if n := utf8.RuneCountInString(normal); n < MinPassword || n > MaxPassword {
		return "", errPassword
	}
	for _, c := range normal {
		if !unicode.In(c, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cf, unicode.Co) {
			return "", errPassword
		}
	}
	return normal, nil
}

// checkPassword refuses what is guessed first. It is for new passwords alone, so that an attempt to sign in costs the same
// whatever is tried.
func checkPassword(normal string, words []string) error {
	lower := strings.ToLower(normal)
	core := strings.TrimFunc(lower, func(c rune) bool { return !unicode.IsLetter(c) })
	switch {
	case common.Is(lower) || common.Is(core):
		return errors.New("the password is one of the commonest, which are tried first")
	case monotonous(lower):
		return errors.New("the password is one or two characters over and over, or a row of characters in their order")
	}
	for _, w := range words {
		if w = strings.ToLower(norm.NFKC.String(w)); w != "" && (lower == w || core == w || core == w+w) {
			return errors.New("the password is the user's name, or Latchkey's, with little added")
		}
	}
	return nil
}

// monotonous tells aaaaaaaa, abababab, 12345678 and hgfedcba.
func monotonous(s string) bool {
	runes := []rune(s)
	step := runes[1] - runes[0]
	row := step == 1 || step == -1
	for i := 1; i < len(runes); i++ {
		row = row && runes[i]-runes[i-1] == step
	}
	distinct := slices.Clone(runes)
	slices.Sort(distinct)
	return row || len(slices.Compact(distinct)) <= 2
}

// Params are those of argon2id (RFC 9106).
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultParams are what new hashes are made with: OWASP's for argon2id. A hash of others is replaced when its user signs in.
var DefaultParams = Params{Memory: 19 << 10, Time: 2, Threads: 1}

// What a stored hash may ask for, so that a record which someone tampered with can't exhaust a process.
var (
	leastParams = Params{Memory: 8, Time: 1, Threads: 1}
	mostParams  = Params{Memory: 64 << 10, Time: 10, Threads: 4}
)

const (
	saltLen = 16
	hashLen = 32
)

// phc is a hash in parts.
type phc struct {
	Params
	salt, hash []byte
}

// phcPattern is the PHC string format as far as Latchkey writes it: parameters in one order, no number with leading zeros,
// salt and hash of one length each. It is compiled when it is first needed: most starts of a function never do.
var phcPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9])\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$`)
})

var errHash = errors.New("the stored password is damaged: it is no argon2id hash that this release knows")

// parseHash reads a stored password.
func parseHash(s string) (*phc, error) {
	match := phcPattern().FindStringSubmatch(s)
	if match == nil {
		return nil, errHash
	}
	var n [3]uint64
	for i := range n {
		n[i], _ = strconv.ParseUint(match[i+1], 10, 32) // the pattern's digits fit
	}
	p := &phc{Params: Params{Memory: uint32(n[0]), Time: uint32(n[1]), Threads: uint8(n[2])}} //nolint:gosec // read as 32 bits, and one digit
	if p.Memory < max(leastParams.Memory, 8*uint32(p.Threads)) || p.Memory > mostParams.Memory || p.Time > mostParams.Time || p.Threads > mostParams.Threads {
		return nil, errHash
	}
	base64Strict := base64.RawStdEncoding.Strict()
	var err1, err2 error
	p.salt, err1 = base64Strict.DecodeString(match[4])
	p.hash, err2 = base64Strict.DecodeString(match[5])
	if err1 != nil || err2 != nil {
		return nil, errHash
	}
	return p, nil
}

// String is the PHC string.
func (p *phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.Memory, p.Time, p.Threads, b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

func (p Params) derive(normal string, salt []byte) []byte {
	return argon2.IDKey([]byte(normal), salt, p.Time, p.Memory, p.Threads, hashLen)
}

// newHash hashes a password in its normal form with a new salt.
func (p Params) newHash(normal string) *phc {
	salt := make([]byte, saltLen)
	rand.Read(salt)
	return &phc{Params: p, salt: salt, hash: p.derive(normal, salt)}
}

// matches compares in constant time.
func (p *phc) matches(normal string) bool {
	return subtle.ConstantTimeCompare(p.derive(normal, p.salt), p.hash) == 1
}

// Hash returns what is kept of a new password, a PHC string of argon2id, or says what is wrong with the password. words are
// the user's names: see Record.
func Hash(password string, r *Record) (string, error) {
	normal, err := normalizePassword(password)
	if err != nil {
		return "", err
	}
	if err := checkPassword(normal, r.words()); err != nil {
		return "", err
	}
	return DefaultParams.newHash(normal).String(), nil
}
