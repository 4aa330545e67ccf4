package attack

import (
	"encoding/base64"
	"net/url"
	"strings"
	"sync"
)

// Secrets knows what must be in no log and in no refusal: whatever was sent or handed out that opens something, whole and in
// the parts and encodings that it could show up in. The zero value is ready. Safe for many goroutines.
type Secrets struct {
	mu    sync.Mutex
	known map[string]string // a text that gives it away, and what it is of
}

// minSecret is the length from which a text is told from others that happen to be the same.
const minSecret = 8

// Add makes texts known. What they are is for the message.
func (s *Secrets) Add(what string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]string{}
	}
	add := func(what, text string) {
		if len(text) >= minSecret {
			s.known[text] = what
		}
	}
	for _, text := range texts {
		add(what, text)
		add(what+", form-encoded", url.QueryEscape(text))
		add(what+", in base64", base64.StdEncoding.EncodeToString([]byte(text)))
		add(what+", in base64url", base64.RawURLEncoding.EncodeToString([]byte(text)))
		if parts := strings.Split(text, "."); len(parts) == 3 && len(text) > 100 {
			// A JWT. Its header is everyone's; the rest of it is not, nor is anything that lacks but the signature.
			add("the payload of "+what, parts[1])
			add("the signature of "+what, parts[2])
			continue
		}
		if n := len(text) / 2; n >= 2*minSecret { // cut short, as a log does
			add("the beginning of "+what, text[:n])
			add("the end of "+what, text[n:])
		}
	}
}

// AddBasic makes the credentials of an Authorization header known.
func (s *Secrets) AddBasic(id, secret string) {
	s.Add("a secret", secret)
	s.Add("Basic credentials", id+":"+secret)
}

// Find returns what it is that the text gives away, empty if nothing.
func (s *Secrets) Find(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for known, what := range s.known {
		if strings.Contains(text, known) {
			return what
		}
	}
	return ""
}
