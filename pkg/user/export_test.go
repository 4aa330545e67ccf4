package user

// Waits is how many are in line, those that hash included.
func (a *Authenticator) Waits() int { return len(a.line) }
