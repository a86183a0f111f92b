package pop3

import (
	"context"
	"fmt"

	"github.com/mailfs/mailfs/remote"
)

// allLines is more lines than any message has, and not so many that a server can't count them.
const allLines = 99_999_999

// exchangeFor makes the command for a request.
//
// Servers that tell read mail from unread (Dovecot) mark a message as read at its RETR, even when the session ends without
// QUIT, and not at its TOP. So a message is read by a TOP of all its lines. Where TOP is missing, or gives something else than
// RETR, RETR is sent; see evidence.
func (a *Account) exchangeFor(r *request, m message) *sent {
	next := &sent{request: r, message: m, by: byRETR}
	if r.top == nil {
		next.by = a.evidence.command(r.aim, m.size >= 0)
	}
	x := &exchange{multi: true, size: max(m.size, 0), whole: next.by != byTOP}
	switch next.by {
	case byTOP:
		x.command, x.size = fmt.Sprintf("TOP %d 0", m.number), 0
		if !a.evidence.has(topLacksEmptyLine) {
			x.header = m.size
		}
	case allTOP:
		x.command = fmt.Sprintf("TOP %d %d", m.number, allLines)
	case byRETR:
		x.command = fmt.Sprintf("RETR %d", m.number)
	}
	next.exchange = x
	return next
}

// length returns how long the answer of RETR or of a TOP of all lines is, beside what LIST says.
func (r *sent) length() length { return lengthOf(r.exchange.answer, r.message.size) }

// whole tells whether a message came, and not a header or a refusal.
func (r *sent) whole() bool { return r.by != byTOP && !r.exchange.refused }

// believed tells whether a whole message is what RETR gives, as far as is known.
func (a *Account) believed(r *sent) bool {
	l := r.length()
	padded := l == plusCRLF && a.evidence.has(topPadded) && withoutPad(r.exchange.answer) != nil
	return r.by == byRETR || a.evidence.believes(l, padded)
}

// learn notes what an answer shows as soon as it is there. What RETR shows of TOP is noted when the answer is delivered.
func (a *Account) learn(r *sent) {
	if !r.whole() {
		return
	}
	l := r.length()
	if r.by == allTOP && l == asAnnounced {
		a.evidence.note(topAsAnnounced)
	}
	switch {
	case l == asAnnounced && r.message.size > 0:
		a.evidence.note(sizeHolds)
	case (l == longer || l == muchLonger) && a.believed(r):
		a.evidence.note(sizeTooSmall)
	}
	if r.message.size > 0 && !r.trailed {
		a.evidence.note(a.evidence.judge(l, a.believed(r)))
	}
}

// deliver hands an answer to whoever waits for it, or asks for the message again by RETR.
func (a *Account) deliver(r *sent) {
	x := r.exchange
	if r.by != byRETR && !x.refused {
		a.evidence.note(topAnswered)
	}
	if r.by != byRETR && (x.refused || r.whole() && !a.believed(r) ||
		r.by == byTOP && !a.evidence.believesHeader(x.answer, r.message.size)) {
		r.top = &topAnswer{refused: x.refused, noLines: r.by == byTOP, content: x.answer}
		a.putBack(r.request)
		return
	}
	cut := r.whole() && r.by == byRETR && (r.trailed || a.evidence.refuses(x.answer, r.message.size, x.dots))
	if r.by == byRETR && r.top != nil && !x.refused && !cut {
		a.compare(r)
	}
	answer := result{uid: r.uid, content: x.answer, size: r.message.size}
	switch {
	case x.refused && gone(x.said):
		answer.err = fmt.Errorf("%w: message %s: the server answers %q", remote.ErrNoMessage, r.message.key, remote.Shorten(x.said))
	case x.refused:
		answer.err = fmt.Errorf("message %s: %w", r.message.key, x.refusal())
	case cut:
		answer.err = fmt.Errorf("%w: message %s: it sends %d bytes of %d", remote.ErrServer, r.message.key, len(x.answer), r.message.size)
	case r.by == byTOP:
		answer.content = cutHeader(x.answer)
	default:
		a.bodies.Add(1)
		switch a.evidence.foreignIn(r.by, r.length()) {
		case emptyLine:
			answer.content = withoutPad(x.answer)
		case lastCRLF:
			answer.content = x.answer[:len(x.answer)-2]
		}
		if r.aim == header {
			answer.content, answer.size = cutHeader(x.answer), int64(len(answer.content))
		}
	}
	r.reply <- answer
}

// compare learns about TOP from what RETR gave in its stead.
func (a *Account) compare(r *sent) {
	shows := a.evidence.compare(r.top, r.exchange.answer, r.length())
	if !a.evidence.note(shows) {
		return
	}
	switch shows {
	case topMissing:
		a.log.Warn("the server has no TOP: listing reads whole messages, which may mark them as read")
	case topCuts:
		a.log.Warn("the server gives less by TOP than by RETR: messages are read by RETR, which may mark them as read")
	}
}

// Sizes, in bytes, of a message that is likely to end in CRLF and cheap to ask for.
const (
	anotherMin = 512
	anotherMax = 1 << 20
)

// another makes a request for another message than r, whose answer tells what to make of r's. It is nil when nothing is to be
// learnt or no message is fit for it.
func (a *Account) another(s *session, r *sent) *sent {
	if !r.whole() || r.trailed || !a.evidence.asksForAnother(r.length()) || r.by == allTOP && r.length() == shorter {
		return nil
	}
	var fittest message
	for _, m := range s.drop.messages {
		if anotherMin <= m.size && m.size <= anotherMax && m.uid != r.uid && (fittest.uid == 0 || m.size < fittest.size) {
			fittest = m
		}
	}
	if fittest.uid == 0 {
		return nil
	}
	a.evidence.note(messageAskedFor)
	ctx, cancel := context.WithCancel(a.alive)
	cancel() // nobody waits for the answer, so that it is not asked for again in another session
	return a.exchangeFor(&request{ctx: ctx, prio: remote.Foreground, aim: body, uid: fittest.uid,
		reply: make(chan result, 1)}, fittest)
}
