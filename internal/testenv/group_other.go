//go:build unix && !linux

package testenv

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the process into a group of its own, to be ended as one.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
