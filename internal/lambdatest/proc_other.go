//go:build unix && !linux

package lambdatest

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// ownGroup puts the function into a process group of its own, so that its children are frozen and killed with it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// stopped tells whether a process is stopped.
func stopped(pid int) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
