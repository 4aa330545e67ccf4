package revocation

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkRevoked looks up tokens of which nothing is revoked, as nearly all are: each kind is asked for.
func BenchmarkRevoked(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			now := time.Unix(1_767_225_600, 0)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			set := NewSet()
			for i := range n {
				id := fmt.Sprint(i)
				switch {
				case i%10 == 0:
					set.Add(Token(id, now))
				case i%100 == 1:
					set.Add(Below(id, 2, now))
				default:
					set.Add(Grant(id, now))
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			// Many tokens, so that the processor's caches do not hold just the few places that one token is looked for in.
			facts := make([]Facts, 4096)
			for i := range facts {
				facts[i] = Facts{
					KeyID: "a0vZ2rMgQ1vKcV0o", GrantID: fmt.Sprintf("g_%022d", i), TokenID: fmt.Sprintf("%022d", i), Subject: "shop",
					AuthTime: now, Epochs: []Epoch{{Handle: fmt.Sprintf("c_%022d", i), N: 1}},
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if set.Revoked(&facts[i%len(facts)]) != "" {
					b.Fatal("revoked")
				}
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/entry")
			if set.Len() != n {
				b.Fatal(set.Len())
			}
		})
	}
}

// BenchmarkLookup is one of the look-ups that BenchmarkRevoked makes, without the hash that comes before it.
func BenchmarkLookup(b *testing.B) {
	set := NewSet()
	keys := make([]Key, 1_000_000)
	for i := range keys {
		e := Grant(fmt.Sprint(i), time.Unix(1_767_225_600, 0))
		set.Add(e)
		keys[i] = keyOf(KindGrant, fmt.Sprint(-i))
	}
	i := 0
	for b.Loop() {
		if _, ok := set.gone[keys[i%len(keys)]]; ok && i%len(keys) != 0 {
			b.Fatal("revoked")
		}
		i++
	}
}
