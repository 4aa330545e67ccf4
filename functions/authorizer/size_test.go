//go:build unix

package main

import (
	"os"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/lambdatest"
)

// A cold start reads the binary, and is what a caller waits for.
func TestSize(t *testing.T) {
	const most = 6.5 * (1 << 20)
	info, err := os.Stat(lambdatest.Build(t, "."))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("the binary has %d bytes, and may have %.0f: go tool nm -size -sort size shows what they are", info.Size(), most)
	}
}
