package common

import (
	"strings"
	"testing"
)

func TestIs(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(passwords, "\n"), "\n")
	if len(lines) != 11_611 {
		t.Errorf("there are %d", len(lines))
	}
	for i, line := range lines {
		if len(line) < 8 || line != strings.ToLower(line) || i > 0 && line <= lines[i-1] {
			t.Errorf("line %d is %q", i+1, line)
		}
	}
	for _, yes := range []string{lines[0], lines[len(lines)-1], "password", "iloveyou", "trustno1"} {
		if !Is(yes) {
			t.Errorf("%q is one", yes)
		}
	}
	for _, no := range []string{"", "\n", "passwor", "assword123", "password\n", "password\npassword1", lines[0] + "\n" + lines[1], "correct horse battery"} {
		if Is(no) {
			t.Errorf("%q is none", no)
		}
	}
}
