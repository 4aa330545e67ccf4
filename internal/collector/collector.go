// Package collector sets how often the garbage collector runs in a function that makes or judges tokens. What lives in it is a few
// megabytes and most of its memory lies idle, yet the collector's default has it run whenever four more were used: a tenth and
// more of the CPU time of a request.
package collector

import (
	"runtime/debug"
	"strconv"
)

// percent is how much a function may use, of what lived after the last run, before the next one: GOGC.
const percent = 400

// Function lets a function use more of its memory before the collector runs, and has it run as often as it takes where three
// quarters of that memory are in use: a large view of revocations. Through lookup, which is os.LookupEnv or a test's, it reads
//
//	AWS_LAMBDA_FUNCTION_MEMORY_SIZE    in MB; without it nothing is set
//	GOGC, GOMEMLIMIT                   of an operator's choice: where either is there, nothing is set
func Function(lookup func(name string) (string, bool)) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if _, ok := lookup(name); ok {
			return
		}
	}
	size, _ := lookup("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
	megabytes, err := strconv.Atoi(size)
	if err != nil || megabytes <= 0 {
		return
	}
	debug.SetMemoryLimit(int64(megabytes) << 20 / 4 * 3)
	debug.SetGCPercent(percent)
}
