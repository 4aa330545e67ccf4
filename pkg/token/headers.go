package token

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// headers remembers what the header segments of good tokens say, by their exact text: an issuer writes one for each key, so
// that nearly every token comes with one that was read before. It stands for reading alone. The key is looked for and the
// algorithm and the type are compared as with a header that was just read.
//
// Only what a good signature covered is added, so that strangers can neither fill it nor push anything out.
type headers struct {
	known atomic.Pointer[map[string]parsedHeader] // never changed
	mu    sync.Mutex                              // held by the one that adds
}

// maxHeaders is more than a ring has keys at a time. Past it all are forgotten: those of the keys that sign are soon back.
const maxHeaders = 16

func (h *headers) get(segment string) (parsed parsedHeader, ok bool) {
	if m := h.known.Load(); m != nil {
		parsed, ok = (*m)[segment]
	}
	return parsed, ok
}

func (h *headers) add(segment string, parsed parsedHeader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := map[string]parsedHeader{}
	if old := h.known.Load(); old != nil && len(*old) < maxHeaders {
		maps.Copy(m, *old)
	}
	m[strings.Clone(segment)] = parsed // the segment is a part of the whole token
	h.known.Store(&m)
}
