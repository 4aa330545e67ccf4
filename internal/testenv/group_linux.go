package testenv

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the process into a group of its own, to be ended as one, and has the kernel end it should this
// process be killed before it can.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
