package lambdatest

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// ownGroup puts the function into a process group of its own, so that its children are frozen and killed with it, and
// has the kernel kill it if this process dies first.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// stopped tells whether a process is stopped, from the state that proc_pid_stat(5) shows after its name.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name is in parentheses and may have any character in it, a parenthesis too.
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return ok && len(rest) > 0 && rest[0] == 'T'
}
