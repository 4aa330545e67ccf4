package adminsock

import (
	"encoding/json"
	"errors"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// prefix begins the path of every operation. It changes with the protocol, so that a command of another release than the
// running `latchkey dev` is told so.
const prefix = "/v1/"

// maxMessage bounds a message either way, in bytes. A record takes some kilobytes, 32 of the largest keys some 30.
const maxMessage = 1 << 20

// request asks for an operation; each uses the fields that it needs.
type request struct {
	ID       string          `json:"id,omitempty"`
	Revision int64           `json:"revision,omitempty"`
	Document json.RawMessage `json:"document,omitempty"`
	Entry    string          `json:"entry,omitempty"` // a revocation's text form
	From     int64           `json:"from,omitempty"`  // seconds since 1970
	Until    int64           `json:"until,omitempty"` // the same; 0 for no end
}

// answer is what became of it, and one of a list's lines.
type answer struct {
	Revision int64           `json:"revision,omitempty"`
	Document json.RawMessage `json:"document,omitempty"`
	Entries  []string        `json:"entries,omitempty"` // revocations' text forms, some of all
	ID       string          `json:"id,omitempty"`
	Failure  string          `json:"failure,omitempty"` // a key of failures, or failed
	Text     string          `json:"text,omitempty"`    // with Failure: for people
	End      bool            `json:"end,omitempty"`     // a list's last line
}

// failures are the errors that callers branch on.
var failures = map[string]error{
	"client not found":   client.ErrNotFound,
	"client exists":      client.ErrExists,
	"client conflict":    client.ErrConflict,
	"user not found":     user.ErrNotFound,
	"user exists":        user.ErrExists,
	"user conflict":      user.ErrConflict,
	"issuer not found":   issuer.ErrNotFound,
	"issuer exists":      issuer.ErrExists,
	"issuer conflict":    issuer.ErrConflict,
	"no public keys":     keyring.ErrNoKeys,
	"public keys differ": keyring.ErrConflict,
}

// failed is any other error.
const failed = "failed"

func failure(err error) answer {
	for name, sentinel := range failures {
		if errors.Is(err, sentinel) {
			return answer{Failure: name}
		}
	}
	return answer{Failure: failed, Text: err.Error()}
}

// err is the error that failure was given, as near as it can be had.
func (a *answer) err() error {
	switch {
	case a.Failure == "":
		return nil
	case failures[a.Failure] != nil:
		return failures[a.Failure]
	case a.Text == "":
		return errors.New("`latchkey dev` says: " + a.Failure)
	default:
		return errors.New(a.Text)
	}
}
