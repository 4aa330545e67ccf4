// Package recordtest is what the fuzz targets of stored records share.
package recordtest

import (
	"bytes"
	"testing"
)

// Rewritten holds a record that was read to being written and read as the same: what Marshal makes of it is taken by read, and
// is what Marshal makes of that.
func Rewritten[R interface{ Marshal() ([]byte, error) }](t *testing.T, r R, read func(data []byte) (R, error)) {
	t.Helper()
	again, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := read(again)
	if err != nil {
		t.Fatalf("%s, written again, is refused: %v", again, err)
	}
	if third, err := s.Marshal(); err != nil || !bytes.Equal(again, third) {
		t.Errorf("%s, written again, is %s, %v", again, third, err)
	}
}
