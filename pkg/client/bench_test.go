package client

import (
	"testing"
	"time"
)

// BenchmarkUnmarshal is what a sign-in takes more, besides the read itself, if its client has not been seen lately.
func BenchmarkUnmarshal(b *testing.B) {
	r := record()
	_, secret := NewSecret(time.Unix(5, 0))
	r.Secrets = []StoredSecret{secret}
	data, err := r.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Unmarshal(r.ID, data); err != nil {
			b.Fatal(err)
		}
	}
}
