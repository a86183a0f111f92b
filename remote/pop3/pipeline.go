package pop3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/mailfs/mailfs/remote"
)

// Commands that may wait for their answers where the server takes them ahead (RFC 2449, section 6.6), and the bytes of
// messages, as announced, that may be on their way then. One command is always allowed.
const (
	window      = 32
	outstanding = 2 << 20
)

// begin signs in and lists the maildrop. While another session holds that, as an earlier one of ours may whose
// connection was lost, it tries again until the timeout is over.
func (a *Account) begin() (*session, error) {
	timeout := a.dialer.Server.Timeout
	end := time.Now().Add(timeout)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = 3 * time.Second
	for {
		s, err := remote.Connect(a.alive, a.dialer, a.signIn)
		if err == nil {
			a.dialer.Server.Step(remote.Step{Name: remote.StepMailboxes})
			s.uncut = context.AfterFunc(a.alive, func() { s.conn.cut(time.Now().Add(closing)) })
			if err = a.load(s); err == nil {
				a.log.Debug("session begins", "messages", len(s.drop.messages), "window", s.window)
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
		a.log.Debug("maildrop is in use", "again in", wait)
		a.dialer.Forget()
		select {
		case <-time.After(wait):
		case <-a.alive.Done():
		}
	}
}

// sent is a request whose answer is waited for.
type sent struct {
	*request
	exchange *exchange
	message  message
	by       means
	answered bool // only waits for its turn
}

// closing bounds how long a session may still take when the account is closed.
const closing = time.Second

// serve answers requests in a session until there are none for a while, one needs a session that began later, or the
// session ends.
func (a *Account) serve(s *session) {
	defer s.end()
	var line []*sent
	var bytes int64 // announced, of line
	for {
		stale := false
		for a.alive.Err() == nil && len(line) < s.window {
			r := a.take()
			if r == nil {
				break
			}
			if r.aim == listing {
				if stale = r.fresh && !s.shows(r.asked, a.idle); stale {
					a.putBack(r)
					break
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
			if len(line) > 0 && bytes+next.exchange.size > outstanding {
				a.putBack(r)
				break
			}
			line = append(line, next)
			bytes += next.exchange.size
			if err := s.send(next.exchange); err != nil {
				a.lost(s, line, err)
				return
			}
		}
		if len(line) == 0 {
			if stale || a.alive.Err() != nil || !a.idleFor(a.idle) {
				s.quit()
				if s.overlapped {
					a.tripped = 0
				}
				return
			}
			continue
		}
		first := line[0]
		x := first.exchange
		if !first.answered {
			if err := s.receive(x); err != nil {
				a.lost(s, line, err)
				return
			}
			if x.refused && strings.HasPrefix(code(x.said), "SYS/") {
				// Not about the message: the server is going away (RFC 3206, section 4).
				a.lost(s, line, fmt.Errorf("%w: the server says %q", remote.ErrLost, shorten(x.said)))
				return
			}
			s.overlapped = s.overlapped || len(line) > 1
			bytes -= x.size
			first.answered = true
			a.judge(first)
			if control := a.control(s, first); control != nil {
				line = append(line[1:], control, first)
				bytes += control.exchange.size
				if err := s.send(control.exchange); err != nil {
					a.lost(s, line, err)
					return
				}
				continue
			}
		}
		a.deliver(first)
		line = line[1:]
	}
}

// shows tells whether the session shows the maildrop as it was at a time, or at least not much before, for the first
// time.
func (s *session) shows(at time.Time, idle time.Duration) bool {
	return s.opened.After(at) || !s.synced && time.Since(s.opened) < idle
}

// lost answers for a session that ended with an error amid a line of requests. The error is the first one's; the others
// get another session, unless nobody has heard from the server for so long that they have waited enough as well.
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

// blame decides whether a session ended because commands were sent ahead of their answers, and if so, stops doing that.
// An answer to something else is proof; a lost connection is, when it happens again.
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
