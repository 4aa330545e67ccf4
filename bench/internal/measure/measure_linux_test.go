package measure

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestCPU(t *testing.T) {
	before := Self()
	for range 1000 {
		os.ReadFile("/proc/self/status")
	}
	self, err := Process(os.Getpid())
	if err != nil || self <= before || self > Self() {
		t.Errorf("Process(self) = %v, %v, after Self = %v", self, err, before)
	}

	cmd := exec.Command("/bin/sh", "-c", "kill -STOP $$")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	other, err := Process(cmd.Process.Pid)
	if err != nil || other <= 0 || other > time.Minute {
		t.Errorf("Process(another) = %v, %v", other, err)
	}
	now, peak, err := Memory(cmd.Process.Pid)
	if err != nil || now < 1<<10 || peak < now {
		t.Errorf("Memory = %d, %d, %v", now, peak, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if _, err := Process(cmd.Process.Pid); err == nil {
		t.Error("a process that is gone has CPU time")
	}
}
