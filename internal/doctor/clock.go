package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// MaxSkew is how far this machine's clock may be off for it to be told that something is revoked: see
// dynamostore.RevocationStore.
const MaxSkew = 30 * time.Second

// skew is how far this machine's clock is ahead of another one.
type skew struct {
	of    string
	ahead time.Duration
}

// skewOf compares this machine's clock, as it was in the middle of a call, with the time that the other side told, which is cut
// off to whole seconds.
func skewOf(of string, sent, received, told time.Time) *skew {
	const half = 500 * time.Millisecond
	return &skew{of, sent.Add(received.Sub(sent) / 2).Sub(told.Add(half))}
}

// off is the largest skew.
func (e *Examination) off() (worst time.Duration) {
	for _, s := range e.skews {
		if s.ahead.Abs() > worst.Abs() {
			worst = s.ahead
		}
	}
	return worst
}

func (e *Examination) clock(context.Context) {
	const check = "clock"
	if len(e.skews) == 0 {
		e.skip(check, "nobody who answered said what time it is")
		return
	}
	const fix = "set this machine's clock by NTP"
	var words []string
	for _, s := range e.skews {
		switch d := s.ahead.Round(time.Second); {
		case d.Abs() <= time.Second:
			words = append(words, "that of "+s.of)
		case d > 0:
			words = append(words, fmt.Sprintf("%s ahead of %s", span(d), s.of))
		default:
			words = append(words, fmt.Sprintf("%s behind %s", span(d), s.of))
		}
	}
	told := "this machine's is " + strings.Join(words, ", ")
	switch off := e.off().Abs(); {
	case off > MaxSkew:
		e.fail(check, fix, "%s: nothing can be revoked from here, and tokens are misjudged", told)
	case off > token.Leeway+time.Second:
		e.warn(check, fix, "%s: more than the %s that verifiers allow for", told, span(token.Leeway))
	default:
		e.ok(check, "%s", told)
	}
}
