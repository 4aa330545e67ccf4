package main

import (
	"encoding/json"
	"testing"
)

// Each change of the settings is another digest, and nothing else is: not the order in which CloudFormation sends properties.
func TestDigest(t *testing.T) {
	of := func(properties string) string {
		t.Helper()
		a, err := digest(json.RawMessage(properties))
		if err != nil || len(a) != 1 || len(a["Digest"]) != 16 {
			t.Fatalf("%s: %v, %v", properties, a, err)
		}
		return a["Digest"]
	}
	first := of(`{"ServiceTimeout": "960", "Settings": ["arm64", "", "60s"]}`)
	for _, same := range []string{
		`{"Settings": ["arm64", "", "60s"], "ServiceTimeout": "120"}`, `{"Settings":["arm64","","60s"]}`,
	} {
		if of(same) != first {
			t.Errorf("%s has another digest", same)
		}
	}
	seen := map[string]string{first: "the first"}
	for _, other := range []string{
		`{}`, `{"Settings": ["arm64", "60s", ""]}`, `{"Settings": ["arm64", "60s"]}`, `{"Settings": ["arm64", "", "61s"]}`,
		`{"Settings": ["arm64", "\",\"60s"]}`,
	} {
		if before, ok := seen[of(other)]; ok {
			t.Errorf("%s has the digest of %s", other, before)
		}
		seen[of(other)] = other
	}
	for _, bad := range []string{`[]`, `{"Settings": "arm64"}`, `{"Settings": [1]}`} {
		if a, err := digest(json.RawMessage(bad)); err == nil {
			t.Errorf("%s: %v", bad, a)
		}
	}
}
