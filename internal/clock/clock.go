// Package clock is the functions' clock. It is the system's, except in binaries built with the tag testclock, which the
// tests drive through hours without waiting; deployed binaries have no such entrance.
package clock
