// Package measure reads what a process has taken of the machine: CPU time rather than time of day, so that a figure holds
// on a machine that does other things as well. Linux only.
package measure

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Self returns the CPU time, user and system, that this process has taken, its ended threads included.
func Self() time.Duration {
	d, err := cpu(unix.CLOCK_PROCESS_CPUTIME_ID)
	if err != nil {
		panic(err) // the clock of a process that runs is there
	}
	return d
}

// Process returns the CPU time, user and system, that another process has taken, its ended threads included and its
// children not. It is exact to the nanosecond for one that is stopped or waits, unlike /proc/PID/stat with its ticks.
func Process(pid int) (time.Duration, error) {
	d, err := cpu(int32(^pid<<3 | 2)) // clock_getcpuclockid(3), by the scheduler's account
	if err != nil {
		return 0, fmt.Errorf("the CPU time of process %d: %w", pid, err)
	}
	return d, nil
}

func cpu(clock int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// Memory returns the bytes that a process has in memory now, and the most that it ever had.
func Memory(pid int) (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		var to *int64
		switch string(name) {
		case "VmRSS":
			to = &now
		case "VmHWM":
			to = &peak
		default:
			continue
		}
		kb, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s of process %d: %w", name, pid, err)
		}
		*to = kb << 10
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("process %d says nothing of its memory", pid)
	}
	return now, peak, nil
}
