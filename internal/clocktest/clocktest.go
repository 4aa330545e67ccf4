// Package clocktest is a clock for tests.
package clocktest

import (
	"sync"
	"time"
	"unsafe"
)

// Clock stands still until it is moved. Its zero value shows 1 January 2026, 00:00 UTC. Safe for many goroutines.
type Clock struct {
	mu  sync.Mutex
	off time.Duration
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return start.Add(c.off)
}

// Move moves the clock, back if d is negative.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// Frozen returns the clock's time as a process sees it that was frozen ever since 1 January 2026, as a Lambda is between
// invocations: the wall clock went on, the monotonic clock stood still. Code that subtracts such times without stripping
// their monotonic readings (time.Time.Round) thinks that no time has passed.
func (c *Clock) Frozen() time.Time {
	t := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return withMonotonic(t.Add(c.Now().Sub(start)))
}

// withMonotonic gives t the monotonic reading 1. A time.Time with one is laid out as its package's source describes: a
// flag, 33 bits of seconds since 1885 and 30 bits of nanoseconds, then the reading.
func withMonotonic(t time.Time) time.Time {
	const flag, secondsSince1885 = 1 << 63, 2682288000
	raw := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	raw.wall = flag | uint64(t.Unix()+secondsSince1885)<<30 | uint64(t.Nanosecond())
	raw.ext = 1
	return t
}
