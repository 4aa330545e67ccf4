package revocation

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

// facts are of a token that the entries of all speak of, one by one.
func facts() Facts {
	return Facts{
		KeyID: "k_0", GrantID: "g_0", TokenID: "t_0", Subject: "u_0", Issuer: "https://a.example", AuthTime: t0,
		Epochs: []Epoch{{"c_0", 1}, {"u_0", 1}},
	}
}

func TestSet(t *testing.T) {
	if reason := NewSet().Revoked(&Facts{}); reason != "" {
		t.Errorf("an empty set: %s", reason)
	}
	with := func(change func(*Facts)) Facts {
		f := facts()
		change(&f)
		return f
	}
	at := func(d time.Duration) Facts { return with(func(f *Facts) { f.AuthTime = t0.Add(d) }) }
	for _, test := range []struct {
		name    string
		entry   Entry
		revoked []Facts
		not     []Facts
	}{
		{"grant", Grant("g_1", t0), []Facts{with(func(f *Facts) { f.GrantID = "g_1" })},
			[]Facts{facts(), with(func(f *Facts) { f.TokenID, f.KeyID, f.Subject = "g_1", "g_1", "g_1" })}},
		{"token", Token("t_1", t0), []Facts{with(func(f *Facts) { f.TokenID = "t_1" })},
			[]Facts{facts(), with(func(f *Facts) { f.TokenID = "" }), with(func(f *Facts) { f.GrantID = "t_1" })}},
		{"no token", Token("", t0), nil, []Facts{with(func(f *Facts) { f.TokenID = "" })}},
		{"key", SigningKey("k_1", t0), []Facts{with(func(f *Facts) { f.KeyID = "k_1" })}, []Facts{facts()}},
		{"below", Below("c_1", 7, t0),
			[]Facts{with(func(f *Facts) { f.Epochs = []Epoch{{"u_0", 9}, {"c_1", 6}} }), with(func(f *Facts) { f.Epochs = []Epoch{{"c_1", 0}} })},
			[]Facts{facts(), with(func(f *Facts) { f.Epochs = []Epoch{{"c_1", 7}, {"u_1", 1}} }), with(func(f *Facts) { f.Epochs = nil })}},
		{"issuer", Issuer("https://a.example", t0, t0), []Facts{at(-time.Second), at(-time.Hour)},
			[]Facts{at(0), at(time.Second), with(func(f *Facts) { f.Issuer, f.AuthTime = "https://a.example/", t0.Add(-time.Hour) })}},
		{"issuer, of a token by its other name", Issuer("https://now.example", t0, t0), []Facts{with(func(f *Facts) { f.Renamed, f.AuthTime = "https://now.example", t0.Add(-time.Second) })},
			[]Facts{at(-time.Hour), with(func(f *Facts) { f.Renamed, f.AuthTime = "https://now.example", t0 })}},
		{"subject", Subject("u_0", t0, t0), []Facts{at(-time.Second), at(-time.Hour)},
			[]Facts{at(0), at(time.Second), with(func(f *Facts) { f.Subject, f.AuthTime = "u_2", t0.Add(-time.Hour) })}},
		{"all", Before(t0, t0), []Facts{at(-time.Second), with(func(f *Facts) { *f = Facts{} })}, []Facts{at(0), at(time.Second)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := NewSet()
			s.Add(test.entry)
			for _, f := range test.revoked {
				if s.Revoked(&f) == "" {
					t.Errorf("%+v is not revoked", f)
				}
			}
			for _, f := range test.not {
				if reason := s.Revoked(&f); reason != "" {
					t.Errorf("%+v: %s", f, reason)
				}
			}
		})
	}
}

// Whatever the order in which entries come, and however often, a set ends as the same, and on the way what is revoked
// stays revoked.
func TestSetNeverGoesBack(t *testing.T) {
	entries := all(t0)
	for i := range 20 {
		at := t0.Add(time.Duration(i) * time.Minute)
		entries = append(entries, Below("c_1", int64(i*7%20), at), Subject("u_1", t0.Add(time.Duration(i*7%20)*time.Minute), at),
			Before(t0.Add(time.Duration(i*7%20)*time.Minute), at), Grant("g_1", at))
	}
	probes := []Facts{{AuthTime: t0.Add(1000 * time.Hour), GrantID: "g_1"}}
	for i := range 22 {
		probes = append(probes, Facts{AuthTime: t0.Add(1000 * time.Hour), Epochs: []Epoch{{"c_1", int64(i)}}},
			Facts{AuthTime: t0.Add(time.Duration(i) * time.Minute), Subject: "u_1"}, Facts{AuthTime: t0.Add(time.Duration(i) * time.Minute)})
	}
	random := rand.New(rand.NewPCG(1, 2))
	var want []bool
	for range 50 {
		s := NewSet()
		revoked := make([]bool, len(probes))
		for range 2 {
			random.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
			for _, e := range entries {
				s.Add(e)
				for i := range probes {
					now := s.Revoked(&probes[i]) != ""
					if revoked[i] && !now {
						t.Fatalf("%+v came back to life by %s", probes[i], e)
					}
					revoked[i] = now
				}
			}
		}
		if want == nil {
			want = revoked
		}
		for i := range probes {
			if revoked[i] != want[i] {
				t.Fatalf("%+v is revoked or not by the order of what is said", probes[i])
			}
		}
	}
}

func TestForget(t *testing.T) {
	s := NewSet()
	for _, e := range all(t0) {
		s.Add(e)
	}
	const live = 5 // without key and all
	s.Forget(t0)
	if s.Len() != live+1 {
		t.Errorf("%d entries are left of %d that were said at that very second", s.Len(), live+1)
	}
	s.Add(Grant("g_1", t0.Add(time.Minute))) // said again
	s.Add(Below("c_1", 3, t0.Add(time.Minute)))
	s.Forget(t0.Add(time.Second))
	for _, f := range []Facts{
		{GrantID: "g_1", AuthTime: t0}, {KeyID: "k_1", AuthTime: t0}, {Epochs: []Epoch{{"c_1", 6}}, AuthTime: t0}, {AuthTime: t0.Add(-2 * time.Minute)},
	} {
		if s.Revoked(&f) == "" {
			t.Errorf("%+v was forgotten", f)
		}
	}
	if s.Len() != 3 {
		t.Errorf("%d entries are left, want the grant, the handle and the key", s.Len())
	}
	s.Forget(t0.Add(1000 * 24 * time.Hour))
	if f := (Facts{KeyID: "k_1", AuthTime: t0}); s.Revoked(&f) == "" || s.Len() != 1 {
		t.Errorf("the key was forgotten, or something else was not: %d", s.Len())
	}

	// A time to come is kept until it has come.
	s.Add(Subject("u_1", t0.Add(time.Hour), t0))
	s.Forget(t0.Add(time.Hour))
	if f := (Facts{Subject: "u_1", AuthTime: t0.Add(time.Minute)}); s.Revoked(&f) == "" {
		t.Error("a subject's sign-ins until a time to come were let back in")
	}
}

func TestRevokedAllocatesNothing(t *testing.T) {
	s := NewSet()
	for _, e := range all(t0) {
		s.Add(e)
	}
	f := facts()
	if n := testing.AllocsPerRun(100, func() { s.Revoked(&f) }); n != 0 {
		t.Errorf("%v allocations a look-up", n)
	}
}

// TestAddSaysWhatIsNew: Add reports a change exactly where there is one.
func TestAddSaysWhatIsNew(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := NewSet()
	news := 0
	for range 3000 {
		when := t0.Add(time.Duration(random.IntN(3)) * time.Second)
		e := []Entry{
			Grant("g", when), Token("t", when), SigningKey("k", when), Below("c", random.Int64N(4), when), Subject("u", when, when),
			Issuer("i", when.Add(time.Minute), when), Before(when, when), Below("d", 0, when),
		}[random.IntN(8)]
		gone, below, before := maps.Clone(s.gone), maps.Clone(s.below), s.before
		changed := s.Add(e)
		if is := !maps.Equal(gone, s.gone) || !maps.Equal(below, s.below) || before != s.before; is != changed {
			t.Fatalf("adding %v to %v, %v, %d: changed %v, said %v", e, gone, below, before, is, changed)
		}
		if changed {
			news++
		}
		if random.IntN(50) == 0 {
			s.Forget(t0.Add(time.Hour))
		}
	}
	if news < 50 {
		t.Errorf("%d changes: too few to tell", news)
	}
}
