package pop3

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/mailfs/mailfs/remote"
)

// means is the command that a request is put into.
type means uint8

const (
	byTOP  means = iota // TOP n 0: the header
	allTOP              // TOP n allLines: the message, and no mark on it
	byRETR              // RETR n: the message
)

// allLines is more lines than any message has, and not so many that a server can't count them.
const allLines = 99_999_999

// exchangeFor makes the command for a request.
//
// Servers that know read from unread mail (Dovecot) mark a message as read for its RETR, even when the session ends
// without QUIT, and not for its TOP. So a message is read by a TOP of all its lines. Where TOP is missing, or gives
// something else than RETR, RETR has to do.
//
// A header costs the whole message where there is no TOP, and where there is no size: then it gives both.
func (a *Account) exchangeFor(r *request, m message) *sent {
	next := &sent{request: r, message: m, by: allTOP}
	x := &exchange{command: fmt.Sprintf("TOP %d %d", m.number, allLines), multi: true, size: max(m.size, 0)}
	switch {
	case a.noTOP || r.retr, a.partTOP && (r.aim == body || m.size < 0):
		next.by = byRETR
		x.command = fmt.Sprintf("RETR %d", m.number)
	case r.aim == header && m.size >= 0:
		next.by = byTOP
		x.command, x.size = fmt.Sprintf("TOP %d 0", m.number), 0
	}
	next.exchange = x
	return next
}

// deliver hands an answer to who waits for it, or asks once more by RETR.
func (a *Account) deliver(r *sent) {
	x := r.exchange
	if r.by != byRETR && (x.refused || r.by == allTOP && !a.complete(r)) {
		a.hasTOP = a.hasTOP || !x.refused
		r.retr, r.refused, r.top = true, x.refused, x.answer
		a.putBack(r.request)
		return
	}
	if r.by == byRETR {
		a.compare(r)
	}
	a.hasTOP = a.hasTOP || r.by != byRETR
	answer := result{uid: r.uid, content: x.answer, size: r.message.size}
	switch {
	case x.refused:
		answer.err = fmt.Errorf("message %s: %w", r.message.key, x.refusal())
	case r.by == byTOP:
		answer.content = cutHeader(x.answer)
	default:
		a.bodies.Add(1)
		switch {
		case !r.added():
		case r.by == allTOP && a.pads():
			answer.content = withoutPad(x.answer)
		case a.exact:
			answer.content = x.answer[:len(x.answer)-2]
		}
		if r.aim == header {
			answer.content, answer.size = cutHeader(x.answer), int64(len(answer.content))
		}
	}
	r.reply <- answer
}

const (
	// enoughShort is how many messages that are shorter than announced must have come by RETR as they came by TOP: one that
	// was cut is shorter too.
	enoughShort = 3
	// enoughPads is how many must have come by RETR as they came by TOP but for an empty line after the header, which
	// GNU Mailutils adds.
	enoughPads = 2
)

// pads tells whether the server's TOP adds an empty line after the header, as far as is known always.
func (a *Account) pads() bool { return a.padTOP >= enoughPads && !a.exactTOP && !a.plusTOP }

// withoutPad returns a message without the empty line that TOP has added after its header; nil if there is none.
func withoutPad(m []byte) []byte {
	header, body, ok := bytes.Cut(m, []byte("\r\n\r\n\r\n"))
	if !ok || bytes.Contains(header, []byte("\r\n\r\n")) {
		return nil
	}
	return slices.Concat(header, []byte("\r\n\r\n"), body)
}

// complete tells whether a TOP of all lines gave what RETR would give, as far as that is known from how long it is and
// from what the server has done before.
func (a *Account) complete(r *sent) bool {
	switch more := int64(len(r.exchange.answer)) - r.message.size; {
	case r.message.size < 0:
		return a.longTOP
	case more == 0:
		return a.padTOP == 0 || a.exactTOP
	case r.added() && a.padTOP > 0:
		return a.pads() && withoutPad(r.exchange.answer) != nil
	case r.added():
		return a.plusTOP || a.exactTOP
	case more > 0:
		return a.longTOP
	default:
		return a.shortTOP >= enoughShort
	}
}

// compare learns about TOP from what RETR gave in its stead.
func (a *Account) compare(r *sent) {
	x := r.exchange
	switch more := int64(len(x.answer)) - r.message.size; {
	case x.refused || !r.retr:
	case r.refused:
		if !a.hasTOP && !a.noTOP {
			a.noTOP = true
			a.log.Warn("the server has no TOP: a listing reads whole messages, and may mark them as read")
		}
	case bytes.Equal(r.top, x.answer) && r.added():
		a.plusTOP = true
	case bytes.Equal(r.top, x.answer) && more < 0 && r.message.size >= 0:
		a.shortTOP++
	case bytes.Equal(r.top, x.answer):
		a.longTOP = true
	case len(x.answer) > 0 && bytes.Equal(withoutPad(r.top), x.answer):
		a.padTOP++
	case !a.partTOP && len(r.top) < len(x.answer): // else the server makes it anew each time
		a.partTOP = true
		a.log.Warn("the server gives less by TOP than by RETR: reading a message may mark it as read")
	}
}

// fits tells whether a whole message is as long as announced.
func (r *sent) fits() bool { return int64(len(r.exchange.answer)) == r.message.size }

// A POP3 answer ends in CRLF before its terminator, so a message that doesn't end so arrives with two bytes that are
// not its own. From a server whose LIST counts exactly (Dovecot is one), a message that is two bytes longer than
// announced is such a message, and they are taken away. From one that counts in another way everything stays as it
// was sent. Which of them it is, other messages show.

// added tells whether the CRLF at the end of a message may be the protocol's.
func (r *sent) added() bool {
	x := r.exchange
	return r.by != byTOP && !x.refused && r.message.size >= 0 && int64(len(x.answer)) == r.message.size+2 &&
		bytes.HasSuffix(x.answer, []byte("\r\n"))
}

// judge learns from a message whether LIST counts exactly. The first that shows it decides, so that a message does not
// read one way now and another way later.
func (a *Account) judge(r *sent) {
	if r.by == allTOP && !r.exchange.refused && r.fits() {
		a.exactTOP = true
	}
	if a.judged || r.by == byTOP || r.exchange.refused || r.message.size <= 0 || r.added() {
		return
	}
	if r.by == byRETR || r.fits() || a.complete(r) {
		a.judged, a.exact = true, r.fits()
	}
}

// Sizes, in bytes, of a message that is likely to end in CRLF and cheap to ask for.
const (
	controlMin = 512
	controlMax = 1 << 20
	// maxControls is how many are asked for: where none tells, all answers of the server are longer than announced.
	maxControls = 2
)

// control makes a request for another message, whose answer tells what to make of this one. It is nil when nothing is
// to be learnt or no message is fit for it.
func (a *Account) control(s *session, r *sent) *sent {
	if a.judged || !r.added() || a.controls == maxControls {
		return nil
	}
	var fittest message
	for _, m := range s.drop.messages {
		if controlMin <= m.size && m.size <= controlMax && m.uid != r.uid && (fittest.uid == 0 || m.size < fittest.size) {
			fittest = m
		}
	}
	if fittest.uid == 0 {
		return nil
	}
	a.controls++
	ctx, cancel := context.WithCancel(a.alive)
	cancel() // nobody waits for it: it is not asked again in another session
	return a.exchangeFor(&request{ctx: ctx, prio: remote.Foreground, aim: body, uid: fittest.uid,
		reply: make(chan result, 1)}, fittest)
}
