package jose

import (
	"flag"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/bench/internal/fixture"
	"github.com/latchkey-auth/latchkey/bench/internal/measure"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// ringSize is how many tokens take turns, so that no processor learns one by heart.
const ringSize = 64

// passCount is how often all are measured in turn: a machine that is slow for a while is then slow for each of them.
var passCount = flag.Int("passes", 1, "how often each benchmark is run, in turn with the others")

var signers sync.Map // by algorithm: an RSA key takes long to find

func signer(tb testing.TB, alg keyring.Algorithm) *fixture.Signer {
	tb.Helper()
	if s, ok := signers.Load(alg); ok {
		return s.(*fixture.Signer)
	}
	s, err := fixture.NewSigner(alg)
	if err != nil {
		tb.Fatal(err)
	}
	signers.Store(alg, s)
	return s
}

// run measures f, called with the numbers below ringSize in turn. What counts is cpu-ns/op: the process's CPU time, the
// garbage collector's included.
func run(b *testing.B, f func(i int) error) {
	b.Helper()
	b.ReportAllocs()
	if err := f(0); err != nil {
		b.Fatal(err)
	}
	i := 0
	var before time.Duration
	for b.Loop() {
		if i == 0 {
			before = measure.Self() // what the first call of Loop itself takes is not f's
		}
		if err := f(i % ringSize); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(measure.Self()-before)/float64(b.N), "cpu-ns/op")
}

// compare measures all in turn.
func compare(b *testing.B, all map[string]func(i int) error) {
	b.Helper()
	order := names(all)
	for range *passCount {
		for _, name := range order {
			b.Run(name, func(b *testing.B) { run(b, all[name]) })
		}
	}
}

// names puts the bare primitive first, and Latchkey next to it.
func names(m map[string]func(i int) error) []string {
	first := []string{"bare", "Latchkey"}
	return append(first, slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool { return slices.Contains(first, name) })...)
}
