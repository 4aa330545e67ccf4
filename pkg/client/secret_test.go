package client

import (
	"hash/crc32"
	"math/big"
	"testing"
)

// TestChecksum: it is the CRC-32 in base 62 whatever that is, with leading zeros too.
func TestChecksum(t *testing.T) {
	zeros := 0
	for text, i := []byte("lk_secret_"), 0; i < 200; i++ {
		text = append(text, byte('a'+i%26))
		want := digits(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE(text))), checksumLen)
		if got := checksum(string(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if want[0] == '0' {
			zeros++
		}
	}
	if zeros == 0 || zeros == 200 {
		t.Errorf("%d have a leading zero", zeros)
	}
}
