package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// logoutLimit bounds the wait for the answer to LOGOUT.
const logoutLimit = time.Second

// session is a connection that is signed in.
type session struct {
	conn   *wire.Conn
	client *imapclient.Client
	caps   goimap.CapSet

	// next is above every UID that the server has had occasion to announce to this session. A message that arrived later
	// may have to be announced before the session can fetch it. above is the same for the listings of the mailbox, on
	// whatever session (pool.newest): after an occasion, the session knows what they have listed.
	next  atomic.Uint32
	above *atomic.Uint32

	// opening waits until the mailbox is open. It is nil where the mailbox is open already, and belongs to the user of the
	// session, which is alone while it opens a mailbox.
	opening func() error

	usage usage
}

// examine begins to open a mailbox read-only: EXAMINE of RFC 9051, section 6.3.3. answer waits until the mailbox is open. A
// FETCH that is sent before that is answered from this mailbox or, if the mailbox can't be opened, refused, since then no
// mailbox is open (section 6.3.2).
func (s *session) examine(mailbox string, above *atomic.Uint32) (answer func() (*goimap.SelectData, error)) {
	s.above = above
	seen := above.Load()
	cmd := s.client.Select(mailbox, &goimap.SelectOptions{
		ReadOnly:  true,
		CondStore: s.caps.Has(goimap.CapCondStore),
	})
	return func() (*goimap.SelectData, error) {
		box, err := cmd.Wait()
		if err != nil {
			return nil, s.whyNot(mailbox, err)
		}
		if !s.conn.Counted() { // an answer without EXISTS does not say that there are no messages
			status, err := s.client.Status(mailbox, &goimap.StatusOptions{NumMessages: true}).Wait()
			if err != nil {
				return nil, s.fault(err)
			}
			if status.NumMessages == nil {
				return nil, fmt.Errorf("%w: the server does not say how many messages are in %q", remote.ErrServer, mailbox)
			}
			box.NumMessages = *status.NumMessages
		}
		if box.UIDValidity == 0 {
			box.UIDValidity = 1 // RFC 3501 allows servers that have none, which can't change either
		}
		if box.UIDNext != 0 {
			seen = uint32(box.UIDNext)
		}
		s.next.Store(seen)
		return box, nil
	}
}

// whyNot tells a mailbox that is not there from one that the server won't open.
func (s *session) whyNot(mailbox string, err error) error {
	no, ok := errors.AsType[*goimap.Error](err)
	if !ok {
		return s.fault(err)
	}
	// Cyrus says so without a code.
	if no.Code == goimap.ResponseCodeNoPerm || no.Code == "" && strings.EqualFold(no.Text, "Permission denied") {
		return fmt.Errorf("%w: %q: the server says %q", remote.ErrForbidden, mailbox, remote.Shorten(no.Text))
	}
	gone := no.Code == goimap.ResponseCodeNonExistent || no.Code == goimap.ResponseCodeTryCreate
	if !gone && no.Type == goimap.StatusResponseTypeNo && no.Code == "" {
		found, listErr := s.client.List("", mailbox, nil).Collect()
		if listErr != nil {
			return s.fault(err)
		}
		gone = true
		for _, l := range found {
			if l.Mailbox == mailbox && !unselectable(l.Attrs) {
				gone = false
			}
		}
	}
	if gone {
		return fmt.Errorf("%w: %q: the server says %q", remote.ErrNoMailbox, mailbox, remote.Shorten(no.Text))
	}
	return fmt.Errorf("opening %q: %w", mailbox, s.fault(err))
}

// forNow tells whether the server refuses a command for a reason that passes (RFC 5530, section 3, and what Exchange and
// Yahoo say).
func forNow(no *goimap.Error) bool {
	switch no.Code {
	case goimap.ResponseCodeUnavailable, goimap.ResponseCodeInUse, goimap.ResponseCodeLimit, "THROTTLED", "OVERQUOTA":
		return true
	}
	return strings.Contains(no.Text, "throttled")
}

// mostRejected is how many commands in a row a server may answer with BAD before mailfs tries with NOOP whether all of them
// are: Exchange says "User is authenticated but not connected" to every command from some time on, and serves a new connection.
const mostRejected = 3

// fault wraps the error of a command into an error of package remote. *imap.Error, for a refusal, and wire.ErrUnparsable, for
// an answer that go-imap could not parse, stay within it. The fault of nil is nil.
func (s *session) fault(err error) error {
	if err == nil {
		return nil
	}
	if no, ok := errors.AsType[*goimap.Error](err); ok {
		no = &goimap.Error{Type: no.Type, Code: no.Code, Text: remote.Shorten(no.Text)}
		if s.conn.Rejected() >= mostRejected && refused(s.client.Noop().Wait()) { // a server that works does not refuse NOOP
			lost := fmt.Errorf("%w: the server rejects every command: %q", remote.ErrLost, no.Text)
			s.conn.Shut(lost)
			return lost
		}
		if forNow(no) {
			return fmt.Errorf("%w: %w", remote.ErrUnavailable, no)
		}
		return fmt.Errorf("%w: %w", remote.ErrServer, no)
	}
	end := s.conn.Ending()
	reason := end.Reason
	switch {
	case reason == nil: // go-imap refused to send it
		return fmt.Errorf("%w: %w", remote.ErrUnsupported, err)
	case errors.Is(reason, remote.ErrClosed), errors.Is(reason, remote.ErrLost), errors.Is(reason, context.Canceled):
		return reason
	case errors.Is(reason, os.ErrDeadlineExceeded), errors.Is(reason, context.DeadlineExceeded):
		return fmt.Errorf("%w: the server has been silent for %v", remote.ErrTimeout, s.conn.Timeout())
	case end.Bye != "": // before the cases below, which may be its consequence: go-imap ends a connection over a BYE as greeting
		return fmt.Errorf("%w: the server says %q", remote.ErrLost, end.Bye)
	case errors.Is(reason, wire.ErrUnparsable):
		if reason == wire.ErrUnparsable {
			first, _, _ := strings.Cut(err.Error(), "\n")
			reason = fmt.Errorf("%w: %s", wire.ErrUnparsable, remote.Shorten(first))
		}
		if end.Shared { // what can't be parsed may have been the answer to another command
			return fmt.Errorf("%w: %w", remote.ErrLost, reason)
		}
		return fmt.Errorf("%w: %w", remote.ErrServer, reason)
	case errors.Is(reason, io.EOF):
		return fmt.Errorf("%w: the server closed it", remote.ErrLost)
	default:
		return fmt.Errorf("%w: %w", remote.ErrLost, reason)
	}
}

// alive tells whether the connection is up, as far as is known.
func (s *session) alive() bool { return s.conn.Ending().Reason == nil }

// logout ends the connection with LOGOUT.
func (s *session) logout() {
	s.conn.Begin()
	defer s.conn.Done()
	limit := time.AfterFunc(logoutLimit, func() { s.conn.Shut(remote.ErrClosed) })
	defer limit.Stop()
	// The answer does not matter.
	_ = s.client.Logout().Wait()
	s.conn.Shut(remote.ErrClosed)
	<-s.client.Closed()
}

// search returns the UIDs that the mailbox holds, or which of within it holds if that is not nil (SEARCH of RFC 9051, section
// 6.4.4). An answer of more than most UIDs is ErrServer.
func (s *session) search(within *remote.UIDSet, most int) (*remote.UIDSet, error) {
	criteria := &goimap.SearchCriteria{}
	if within != nil {
		criteria.UID = []goimap.UIDSet{wireSet(within)}
	}
	found, err := s.searchFor(criteria, most)
	if err == nil && within == nil {
		s.next.Store(max(s.next.Load(), uint32(found.Last()+1)))
	}
	return found, err
}

// searchFor returns the UIDs of the messages that criteria fit. An answer of more than most UIDs is ErrServer.
func (s *session) searchFor(criteria *goimap.SearchCriteria, most int) (*remote.UIDSet, error) {
	var options *goimap.SearchOptions
	if s.caps.Has(goimap.CapESearch) {
		options = &goimap.SearchOptions{ReturnAll: true}
	}
	odd := s.conn.Misunderstood("SEARCH", "ESEARCH")
	data, err := s.client.UIDSearch(criteria, options).Wait()
	if err != nil {
		return nil, s.fault(err)
	}
	if s.conn.Misunderstood("SEARCH", "ESEARCH") > odd { // a message whose UID was left out is not gone
		return nil, fmt.Errorf("%w: what SEARCH found can't be understood", remote.ErrServer)
	}
	found := &remote.UIDSet{}
	all, _ := data.All.(goimap.UIDSet) // nil where nothing was found
	for _, r := range all {
		found.AddRange(remote.UID(max(r.Start, 1)), remote.UID(r.Stop))
	}
	if found.Len() > most {
		return nil, fmt.Errorf("%w: SEARCH names %d messages", remote.ErrServer, found.Len())
	}
	return found, nil
}

// wireSet returns a set as go-imap takes it.
func wireSet(s *remote.UIDSet) goimap.UIDSet {
	ranges := s.Ranges()
	set := make(goimap.UIDSet, len(ranges))
	for i, r := range ranges {
		set[i] = goimap.UIDRange{Start: goimap.UID(r.First), Stop: goimap.UID(r.Last)}
	}
	return set
}
