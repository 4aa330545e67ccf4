package collector

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestFunction(t *testing.T) {
	for what, row := range map[string]struct {
		env     map[string]string
		percent int
		limit   int64
	}{
		"on Lambda":         {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256"}, 400, 192 << 20},
		"elsewhere":         {nil, 100, math.MaxInt64},
		"no number":         {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "much"}, 100, math.MaxInt64},
		"zero":              {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "0"}, 100, math.MaxInt64},
		"an operator's own": {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "GOGC": "50"}, 100, math.MaxInt64},
		"a limit of theirs": {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "GOMEMLIMIT": "100MiB"}, 100, math.MaxInt64},
	} {
		percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
		Function(func(name string) (string, bool) { value, ok := row.env[name]; return value, ok })
		gotPercent, gotLimit := debug.SetGCPercent(percent), debug.SetMemoryLimit(limit)
		if gotPercent != row.percent || gotLimit != row.limit {
			t.Errorf("%s: %d%%, %d bytes; want %d%%, %d", what, gotPercent, gotLimit, row.percent, row.limit)
		}
	}
}
