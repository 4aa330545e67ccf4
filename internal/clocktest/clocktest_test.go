package clocktest

import (
	"testing"
	"time"
)

func TestFrozen(t *testing.T) {
	var c Clock
	before := c.Frozen()
	c.Move(time.Hour)
	after := c.Frozen()
	if !after.Round(0).Equal(c.Now()) {
		t.Errorf("the wall clock shows %s, want %s", after.Round(0), c.Now())
	}
	if wall := after.Round(0).Sub(before.Round(0)); wall != time.Hour {
		t.Errorf("%s passed on the wall clock, want an hour", wall)
	}
	if monotonic := after.Sub(before); monotonic != 0 {
		t.Errorf("%s passed on the monotonic clock, want 0", monotonic)
	}
}
