package revocation

import "time"

// Set is what has been said, made for looking up. Not safe for use by several goroutines at once while it is added to.
type Set struct {
	gone   map[Key]int64 // grants, tokens and signing keys: when it was said
	below  map[Key]bound // handles, subjects and issuers
	before int64         // all sign-ins before this, in seconds since 1970

	kinds [256]bool // of which anything was ever added: for others nothing is hashed
}

// bound is an epoch or a time, and when it was said.
type bound struct{ n, at int64 }

// NewSet makes an empty Set.
func NewSet() *Set { return &Set{gone: map[Key]int64{}, below: map[Key]bound{}} }

// Len is how many entries are held.
func (s *Set) Len() int { return len(s.gone) + len(s.below) }

// Add takes an entry in, and reports whether that changed anything. An epoch or a time that was said never goes back.
func (s *Set) Add(e Entry) (changed bool) {
	at := e.At.Unix()
	s.kinds[e.Kind] = true
	switch e.Kind {
	case KindBefore:
		changed = e.N > s.before
		s.before = max(s.before, e.N)
	case KindBelow, KindSubject, KindIssuer:
		old, known := s.below[e.Key]
		if e.Kind != KindBelow {
			at = max(at, e.N) // a time to come matches tokens that are yet to be made
		}
		now := bound{max(old.n, e.N), max(old.at, at)}
		changed = !known || now != old
		s.below[e.Key] = now
	default:
		if e.Kind == KindKey {
			at = forever
		}
		old, known := s.gone[e.Key]
		changed = !known || at > old
		s.gone[e.Key] = max(old, at)
	}
	return changed
}

// forever is later than any time that entries are forgotten at.
const forever = 1<<63 - 1

// Forget drops what was said before a time and can match no token that is still alive.
func (s *Set) Forget(before time.Time) {
	limit := before.Unix()
	for k, at := range s.gone {
		if at < limit {
			delete(s.gone, k)
		}
	}
	for k, b := range s.below {
		if b.at < limit {
			delete(s.below, k)
		}
	}
}

// Revoked says what is revoked of a token, in words for the log; empty: nothing is.
func (s *Set) Revoked(f *Facts) string {
	switch {
	case s.before != 0 && f.AuthTime.Unix() < s.before:
		return "all sign-ins before a time were revoked"
	case s.said(KindGrant, f.GrantID):
		return "its grant was revoked"
	case f.TokenID != "" && s.said(KindToken, f.TokenID):
		return "it was revoked"
	case s.said(KindKey, f.KeyID):
		return "the key that signed it was revoked"
	}
	if f.AuthTime.Unix() < s.bound(KindSubject, f.Subject) {
		return "its subject's sign-ins before a time were revoked"
	}
	if at := f.AuthTime.Unix(); at < s.bound(KindIssuer, f.Issuer) || f.Renamed != "" && at < s.bound(KindIssuer, f.Renamed) {
		return "its issuer's sign-ins before a time were revoked"
	}
	for _, e := range f.Epochs {
		if e.N < s.bound(KindBelow, e.Handle) {
			return "its client's or user's permissions were taken back after this sign-in"
		}
	}
	return ""
}

// bound is the epoch or the time below which an id is revoked, the least there is if nothing was said of it.
func (s *Set) bound(k Kind, id string) int64 {
	if !s.kinds[k] {
		return never
	}
	if b, ok := s.below[keyOf(k, id)]; ok {
		return b.n
	}
	return never
}

// never is a bound that nothing is below.
const never = -1 << 63

func (s *Set) said(k Kind, id string) bool {
	if !s.kinds[k] {
		return false
	}
	_, ok := s.gone[keyOf(k, id)]
	return ok
}
