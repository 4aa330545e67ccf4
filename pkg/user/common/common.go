// Package common knows the passwords that are tried first. It stands apart so that only who sets passwords links the list.
package common

import (
	_ "embed"
	"strings"
)

// passwords are 11,611 of at least 8 characters, in lower case, one a line, each line ended. LICENSE.zxcvbn tells where they
// are from.
//
//go:embed passwords.txt
var passwords string

// Is reports whether a password in lower case is one of the commonest.
func Is(password string) bool {
	if password == "" || strings.Contains(password, "\n") {
		return false
	}
	return strings.HasPrefix(passwords, password+"\n") || strings.Contains(passwords, "\n"+password+"\n")
}
