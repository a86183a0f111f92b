package pop3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// What may be under way where the server takes commands ahead of their answers (RFC 2449, section 6.6).
const (
	// window is how many commands may be sent ahead. Headers of 1.5 KB come at 60 Mbit/s over 100 ms with it. The commands
	// are 11 KB at most, which fit into socket buffers: sending them never waits for a server that waits for mailfs to read.
	window = 512
	// maxOutstanding is for how many bytes of messages, as announced, commands are sent ahead. It keeps 100 Mbit/s busy over
	// 100 ms; a reader who comes now waits for so many bytes at most.
	maxOutstanding = 2 << 20
)

// begin signs in and lists the maildrop. While another session holds the maildrop, which may be an earlier one of mailfs whose
// connection was lost, begin tries again until the timeout is over.
func (a *Account) begin() (*session, error) {
	timeout := a.dialer.Server.Timeout
	end := time.Now().Add(timeout)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = 3 * time.Second
	for {
		s, err := dial.Connect(a.alive, a.dialer, startTLS, a.signIn)
		if err == nil {
			a.dialer.Server.Step(dial.Step{Name: dial.StepMailboxes})
			s.uncut = context.AfterFunc(a.alive, func() { s.conn.cut(time.Now().Add(closing)) })
			if err = a.load(s); err == nil {
				a.log.Debug("a session begins", "messages", len(s.drop.messages), "window", s.window)
				return s, nil
			}
			s.end()
			if a.blame(s, err, len(s.conn.asked)+1) && !errors.Is(err, remote.ErrTimeout) {
				continue
			}
		}
		wait := pause.NextBackOff()
		if a.alive.Err() != nil {
			return nil, remote.ErrClosed
		}
		if !errors.Is(err, errInUse) || time.Now().Add(wait).After(end) {
			return nil, err
		}
		a.log.Debug("another session holds the maildrop", "again in", wait)
		a.dialer.Forget()
		select {
		case <-time.After(wait):
		case <-a.alive.Done():
		}
	}
}

// sent is a request that a command was sent for.
type sent struct {
	*request
	exchange *exchange
	message  message
	by       means
	answered bool // the answer has come and is not delivered yet
	trailed  bool // what came after the end of the answer belonged to no other: it was not the end
}

// goingAway is how long after a [SYS/...] that ended a session the next is about a message: the server has not gone away.
const goingAway = time.Minute

// closing bounds how long a session may still take when the account is closed.
const closing = time.Second

// serve answers requests in a session until there are none for a while, until one needs a session that began later, or until
// the session ends.
func (a *Account) serve(s *session) {
	defer s.end()
	a.setServing(s.conn)
	defer a.setServing(nil)
	s.conn.ahead = func() bool { return a.ahead(s) }
	for {
		open := a.ahead(s)
		if len(s.line) == 0 {
			if !open || !a.idleFor(a.idle) {
				s.quit()
				if s.overlapped {
					a.tripped = 0
				}
				return
			}
			continue
		}
		first := s.line[0]
		x := first.exchange
		if !first.answered {
			if err := s.receive(x); err != nil {
				a.lost(s, s.line, err)
				return
			}
			if x.refused && strings.HasPrefix(code(x.said), "SYS/") && time.Since(a.going) > goingAway {
				// Not about the message: the server is going away (RFC 3206, section 4).
				a.going = time.Now()
				a.lost(s, s.line, fmt.Errorf("%w: the server says %q", remote.ErrLost, remote.Shorten(x.said)))
				return
			}
			s.overlapped = s.overlapped || len(s.line) > 1
			first.answered = true
			if s.conn.doubt == x {
				up, known := a.dispel(s)
				if !up {
					return
				}
				if !known {
					continue
				}
			}
			a.learn(first)
			if another := a.another(s, first); another != nil {
				s.line = append(s.line[1:], another, first)
				if err := s.send(another.exchange); err != nil {
					a.lost(s, s.line, err)
					return
				}
				continue
			}
		}
		a.deliver(first)
		if s.alone && first.top != nil && first.top.noLines && a.evidence.has(topLacksEmptyLine) {
			s.alone = false // that was why the end of the header was in doubt
		}
		s.line[0] = nil // or the array behind the slice keeps the message in memory
		s.line = s.line[1:]
	}
}

// dispel finds out whether the answer to the first request of the line has ended before its size because the message is shorter,
// or is not whole. From here on one command is sent at a time: what follows such an answer could be taken for another answer.
// The others in the line are asked for again. up tells whether the session goes on; known whether the answer can be delivered.
func (a *Account) dispel(s *session) (up, known bool) {
	first, others := s.line[0], s.line[1:]
	s.alone = true
	skipped, err := s.realign(first.message)
	for i := len(others) - 1; i >= 0; i-- {
		a.putBack(others[i].request)
	}
	s.line = s.line[:1]
	switch {
	case err != nil && a.alive.Err() != nil:
		a.lost(s, s.line, err)
		return false, false
	case err != nil && first.again:
		first.reply <- result{uid: first.uid, err: fmt.Errorf("%w: message %s ends before its size, and then nothing is understood: %v",
			remote.ErrServer, first.message.key, err)}
		return false, false
	case err != nil:
		a.log.Debug("an answer ended too early: a session ends", "error", err)
		first.again = true
		if first.by != byRETR {
			first.top = &topAnswer{noLines: first.by == byTOP, content: first.exchange.answer}
		}
	case first.by != byRETR:
		return true, true
	case len(others) > 0: // what was left out may have been the answers to them: it is asked for again, alone
	case skipped > 0:
		first.trailed = true
		return true, true
	default:
		return true, true
	}
	a.putBack(first.request)
	s.line = nil
	return err == nil, false
}

// ahead sends as many requests as may be under way. It returns whether there is room for more.
func (a *Account) ahead(s *session) bool {
	for !s.stale && a.alive.Err() == nil && len(s.line) < s.window && !(s.alone && len(s.line) > 0) && s.conn.coming() < maxOutstanding {
		r := a.take()
		if r == nil {
			return true
		}
		if r.aim == listing {
			if r.fresh && !s.shows(r.asked, a.idle) {
				a.putBack(r)
				s.stale = true
				return false
			}
			s.synced = s.synced || r.fresh
			r.reply <- result{drop: s.drop}
			continue
		}
		m, ok := s.drop.find(r.uid)
		if !ok {
			r.reply <- result{uid: r.uid, err: remote.ErrNoMessage}
			continue
		}
		next := a.exchangeFor(r, m)
		s.line = append(s.line, next)
		if s.send(next.exchange) != nil { // receive says so as well
			return false
		}
	}
	return false
}

// shows tells whether the session shows the maildrop as it was at a time. A session that began up to idle before now will do,
// once.
func (s *session) shows(at time.Time, idle time.Duration) bool {
	return s.opened.After(at) || !s.synced && time.Since(s.opened) < idle
}

// lost answers for a session that ended with an error while requests were under way. The first request gets the error; the
// others get another session. After a timeout they get the error, too: they have waited as long.
func (a *Account) lost(s *session, line []*sent, err error) {
	if a.alive.Err() != nil {
		err = remote.ErrClosed
	}
	requests := make([]*request, len(line))
	for i, r := range line {
		requests[i] = r.request
	}
	if !a.blame(s, err, len(line)) && len(line) > 0 {
		requests[0].reply <- result{uid: requests[0].uid, err: err}
		requests = requests[1:]
	}
	a.putBack(requests...)
	if errors.Is(err, remote.ErrTimeout) || errors.Is(err, remote.ErrClosed) {
		a.fail(err)
	}
}

// blame tells whether a session ended because commands were sent ahead of their answers, waiting of them. If so, none are from
// now on. An answer to another command is proof; so is a lost connection when it happens again, and a timeout before the
// server has answered any command ahead of which others were sent.
func (a *Account) blame(s *session, err error, waiting int) bool {
	if waiting < 2 || a.serial {
		return false
	}
	a.tripped++
	switch {
	case errors.Is(err, errConfused):
	case errors.Is(err, remote.ErrLost) && a.tripped > 1:
	case errors.Is(err, remote.ErrTimeout) && !s.overlapped:
	default:
		return false
	}
	a.serial = true
	a.log.Warn("the server fails when commands are sent ahead of their answers: one at a time from now on", "error", err)
	return true
}
