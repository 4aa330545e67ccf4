package cost

import (
	"math"
	"strings"
	"testing"
)

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-9*max(1, math.Abs(want)) }

func TestPrices(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Prices() {
		if seen[p.ID] || p.Source == "" || p.Per <= 0 || len(p.Tiers) == 0 || p.Tiers[len(p.Tiers)-1].Units != 0 {
			t.Errorf("%+v", p)
		}
		seen[p.ID] = true
		for i, tier := range p.Tiers {
			if tier.Price <= 0 || i > 0 && tier.Price >= p.Tiers[i-1].Price {
				t.Errorf("%s: tier %d is %v", p.ID, i, tier)
			}
		}
	}
}

func TestTiers(t *testing.T) {
	for _, test := range []struct {
		id          string
		units, want float64
	}{
		{httpRequests, 300e6, 300}, {httpRequests, 301e6, 300.9}, {restRequests, 1e9, 333*3.5 + 667*2.8},
		{logsIn, 60e3, 12_500}, // the source's own example
		{secretReads, 20e3, 0.1}, {kmsECC, 1e6, 15}, {kmsRSA, 1e6, 3}, {lambdaArm, 0, 0},
	} {
		for _, p := range Prices() {
			if p.ID == test.id && !near(p.of(test.units), test.want) {
				t.Errorf("%v of %s cost %v, want %v", test.units, p.ID, p.of(test.units), test.want)
			}
		}
	}
}

// A line's quantity, by hand.
func TestLines(t *testing.T) {
	s := Defaults()
	s.Requests, s.Clients, s.SignIns, s.Refreshes = 0, 0, 1e6, 99e6
	s.AccessKeys, s.Rotating, s.Region = "kms", true, 2
	e, err := Of(s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"secrets":                          2 * 3 * 0.40,
		"KMS keys":                         2,
		"HTTP API: token, refresh, revoke": 2 * 100,
		"refresh: invocations":             2 * 99 * 0.20,
		// 0.45 ms at 256/1769 of a processor, 10 ms of KMS and 8 of DynamoDB are 22 ms.
		"refresh: duration":              2 * 99e6 * 0.022 / 4 * 0.0000133334,
		"access tokens signed by KMS":    2 * 100 * 15,
		"clients read":                   2 * 0.125,
		"grants and revocations written": 2 * 100 * 0.625,
	}
	sum := 0.0
	for _, l := range e.Lines {
		sum += l.Dollars
		if w, ok := want[l.Component]; ok {
			if !near(l.Dollars, w) {
				t.Errorf("%s: %v, want %v", l.Component, l.Dollars, w)
			}
			delete(want, l.Component)
		}
	}
	if len(want) != 0 {
		t.Errorf("no line for %v", want)
	}
	if !near(sum, e.Total) || !near(e.PerMillionTokens, e.Parts[Tokens]/100) {
		t.Errorf("the lines make %v, the total is %v, a million tokens %v", sum, e.Total, e.PerMillionTokens)
	}
}

// What is set moves what it should, and the right way.
func TestTrades(t *testing.T) {
	of := func(change func(*Settings)) *Estimate {
		s := Defaults()
		s.Requests, s.Clients = 1e9, 1000
		change(&s)
		e, err := Of(s)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	base := of(func(*Settings) {})
	for name, less := range map[string]*Estimate{
		"longer tokens":   of(func(s *Settings) { s.AccessLifetime = 3600 }),
		"a longer cache":  of(func(s *Settings) { s.CacheTTL = 300 }),
		"polling less":    of(func(s *Settings) { s.Poll = 60 }),
		"fewer requests":  of(func(s *Settings) { s.Requests = 1e8 }),
		"a cheaper place": of(func(s *Settings) { s.Region = 0.9 }),
	} {
		if less.Total >= base.Total {
			t.Errorf("%s: $%v, without $%v", name, less.Total, base.Total)
		}
	}
	for name, more := range map[string]*Estimate{
		"REST": of(func(s *Settings) { s.API = "rest" }), "x86_64": of(func(s *Settings) { s.Architecture = "x86_64" }),
		"RS256": of(func(s *Settings) { s.Algorithm = "RS256" }), "KMS": of(func(s *Settings) { s.AccessKeys = "kms" }),
		"refresh keys in KMS": of(func(s *Settings) { s.RefreshKeys = "kms" }), "rotating": of(func(s *Settings) { s.Rotating = true }),
		"revocations": of(func(s *Settings) { s.Revocations = 1e6 }), "no cache": of(func(s *Settings) { s.CacheTTL = 0 }),
		"alarms": of(func(s *Settings) { s.Alarm = true }),
	} {
		if more.Total <= base.Total {
			t.Errorf("%s: $%v, without $%v", name, more.Total, base.Total)
		}
	}
	if e := of(func(s *Settings) { s.CacheTTL = 0 }); e.Figures.HitRate != 0 {
		t.Errorf("no cache finds %v", e.Figures.HitRate)
	}
}

func TestSettings(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"10^15":          func(s *Settings) { s.Requests = math.Inf(1) },
		"below 0":        func(s *Settings) { s.Clients = -1 },
		"http or rest":   func(s *Settings) { s.API = "soap" },
		"key mode is":    func(s *Settings) { s.RefreshKeys = "file" },
		"ES256, RS256":   func(s *Settings) { s.Algorithm = "HS256" },
		"EdDSA is not":   func(s *Settings) { s.Algorithm, s.AccessKeys = "EdDSA", "kms" },
		"arm64 or":       func(s *Settings) { s.Architecture = "riscv" },
		"128 to 10240":   func(s *Settings) { s.MemoryMB = 0 },
		"paths and peak": func(s *Settings) { s.Peak = 0 },
		"at most 1":      func(s *Settings) { s.HitRate = 1.5 },
		"below a second": func(s *Settings) { s.AccessLifetime = 0 },
		"0 to 1h":        func(s *Settings) { s.CacheTTL = 3601 },
	} {
		s := Defaults()
		change(&s)
		if _, err := Of(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.12345: "0.1235", 999.96: "1000", 1234.4: "1234", 12_340: "12.34 thousand", 438e9: "438 billion", 1e6: "1 million"} {
		if got := Short(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
