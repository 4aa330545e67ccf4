package keyring

import (
	"slices"
	"time"
)

// The times of a rotation that no deployment chooses.
const (
	// MaxJWKSCache is the longest that anybody keeps a JWKS: API Gateway's native JWT authorizers do for two hours.
	MaxJWKSCache = 2 * time.Hour
	// CommitWithin is the age at which a new key that is published, but not yet in the private document, is given up. A key
	// is thus never committed that another run has taken out of the public document meanwhile: see keepPublished.
	CommitWithin = 15 * time.Minute
	// MinAccessLead is the least Lead of access keys: a key is committed, and published without an end, at the latest
	// CommitWithin after it was made, and those caches fill from others, which discovery tells to keep a JWKS for minutes.
	MinAccessLead = MaxJWKSCache + CommitWithin + 10*time.Minute
	// RefreshLead is that of refresh keys, which nobody but the signers reads.
	RefreshLead = CommitWithin + 3*ReloadInterval
	// DefaultAccessLead is Lead where no other is chosen, DefaultPeriod is Period.
	DefaultAccessLead = 3 * time.Hour
	DefaultPeriod     = 90 * 24 * time.Hour

	// keepPublished is how long a published key is left alone that is not in the private document: it may get there still.
	keepPublished = 2 * CommitWithin
	// clockMargin is added to ends for clocks that differ and for what is under way.
	clockMargin = 5 * time.Minute
	// emergencyHolds is how long an emergency rotation that is repeated, or run at the same time, is the same one.
	emergencyHolds = 5 * time.Minute
)

// In returns the document's keys that are in that state.
func (d *Document) In(s State, now time.Time) []Key {
	var in []Key
	for i, state := range States(d.Keys, now) {
		if state == s {
			in = append(in, d.Keys[i])
		}
	}
	return in
}

// newest is the key that begins last; of two, the later one in the document, which must have one.
func (d *Document) newest() Key {
	newest := d.Keys[0]
	for _, k := range d.Keys[1:] {
		if k.SignsFrom >= newest.SignsFrom {
			newest = k
		}
	}
	return newest
}

// Schedule says by which times a ring's keys follow one another.
type Schedule struct {
	Lead   time.Duration // how long a key is published before it signs
	Period time.Duration // how long a key signs before another one is made
	Cap    time.Duration // the longest that anything lives which the ring's keys sign: the deployment's cap
}

// Due reports whether it is time for a new key. It never is while one is pending.
func (s Schedule) Due(d *Document, now time.Time) bool {
	return d.newest().SignsFrom+seconds(s.Period) <= now.Unix() && len(d.In(StatePending, now)) == 0
}

// Next returns the document that follows: without the keys of the ids in drop, and with key, unless it is nil, published
// now and signing after the lead. The key that signs until then is given an end: the last that it signs is signed when its
// successor begins, or MaxStale later by a signer that could not read the keys since, and lives as long as the cap allows.
// That end moves out, while the successor is pending, if the cap has grown. changed is false where Next is d.
func (s Schedule) Next(d *Document, now time.Time, key *Key, drop ...string) (next *Document, changed bool) {
	n := &Document{Version: DocumentVersion, Use: d.Use, Later: d.Later}
	for _, k := range d.Keys {
		if slices.Contains(drop, k.ID) {
			changed = true
			continue
		}
		n.Keys = append(n.Keys, k)
	}
	if key != nil {
		k := *key
		k.Times = Times{Published: now.Unix(), SignsFrom: now.Unix() + seconds(s.Lead)}
		n.Keys = append(n.Keys, k)
		changed = true
	}
	if len(n.In(StatePending, now)) == 0 {
		return n, changed
	}
	until := n.newest().SignsFrom + seconds(s.Cap+MaxStale+clockMargin)
	signing := n.In(StateSigning, now)
	for i := range n.Keys {
		k := &n.Keys[i]
		ends := k.VerifyUntil == 0 || len(signing) == 1 && signing[0].ID == k.ID
		if ends && k.SignsFrom <= now.Unix() && k.VerifyUntil < until {
			k.VerifyUntil = until
			changed = true
		}
	}
	return n, changed
}

// Emergency returns the document that follows when none of the keys is trusted any more: key is published and signs from
// now on, and all others are retired, those that were pending as if they had had their time.
func Emergency(d *Document, now time.Time, key Key) *Document {
	n := &Document{Version: DocumentVersion, Use: d.Use, Later: d.Later}
	for _, k := range d.Keys {
		if k.verifies(now) {
			k.Published = min(k.Published, now.Unix())
			if k.SignsFrom > now.Unix() {
				k.SignsFrom = k.Published
			}
			k.VerifyUntil = now.Unix()
		}
		n.Keys = append(n.Keys, k)
	}
	key.Times = Times{Published: now.Unix(), SignsFrom: now.Unix()}
	n.Keys = append(n.Keys, key)
	return n
}

// emergencyDone reports whether the document is that of an emergency rotation just now.
func (d *Document) emergencyDone(now time.Time) bool {
	k := d.newest()
	return k.Published == k.SignsFrom && k.SignsFrom+seconds(emergencyHolds) > now.Unix() &&
		slices.ContainsFunc(d.Keys, func(old Key) bool { return old.VerifyUntil == k.SignsFrom })
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
