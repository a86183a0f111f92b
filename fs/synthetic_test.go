//go:build linux

package fs

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// synthetic is an account whose mail is computed: it serves mailboxes of any size at once, and announces wrong sizes,
// refuses and hangs where a test wants that.
type synthetic struct {
	mu        sync.Mutex // guards what follows
	mailboxes []remote.Mailbox
	uids      map[string][]remote.UID
	validity  uint32
	announce  func(remote.UID, int64) int64 // the size to announce for a message of that size
	bodySize  func(remote.UID) int          // bytes of text
	refusal   error                         // of everything
	hold      chan struct{}                 // bodies wait until it is closed
	held      chan remote.UID               // gets the UID of each body that waits
	quota     [2]int64
	fetched   map[string]int // bodies, by mailbox
}

func newSynthetic(mailboxes map[string]int) *synthetic {
	s := &synthetic{
		uids: map[string][]remote.UID{}, fetched: map[string]int{}, validity: 1, held: make(chan remote.UID, 1000),
		announce: func(_ remote.UID, size int64) int64 { return size },
		bodySize: func(uid remote.UID) int { return 1000 + int(uid*7919%8000) },
	}
	for name, n := range mailboxes {
		s.add(name, n)
	}
	return s
}

// add adds a mailbox, or messages to one.
func (s *synthetic) add(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.mailboxes, func(m remote.Mailbox) bool { return m.Name == name }) {
		s.mailboxes = append(slices.Clone(s.mailboxes),
			remote.Mailbox{Name: name, Path: strings.Split(name, "/"), Selectable: true})
		slices.SortFunc(s.mailboxes, func(a, b remote.Mailbox) int { return strings.Compare(a.Name, b.Name) })
	}
	next := remote.UID(1)
	if have := s.uids[name]; len(have) > 0 {
		next = have[len(have)-1] + 1
	}
	for range n {
		s.uids[name] = append(s.uids[name], next)
		next++
	}
}

func (s *synthetic) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mailboxes = slices.DeleteFunc(slices.Clone(s.mailboxes), func(m remote.Mailbox) bool { return m.Name == name })
}

func (s *synthetic) expunge(name string, uids ...remote.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := func(u remote.UID) bool { return slices.Contains(uids, u) }
	s.uids[name] = slices.DeleteFunc(slices.Clone(s.uids[name]), gone)
}

func (s *synthetic) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func syntheticHeader(uid remote.UID) string {
	return fmt.Sprintf("From: Alice <alice%d@example.com>\r\nTo: bob@example.org\r\n"+
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n number %d\r\n"+
		"Date: Mon, 02 Feb 2026 10:11:12 +0100\r\n\r\n", uid%100, uid)
}

// body returns a message.
func (s *synthetic) body(uid remote.UID) []byte {
	b := bytes.NewBufferString(syntheticHeader(uid))
	for left := s.text(uid); left > 0; {
		line := min(left, 72)
		fmt.Fprintf(b, "%0*d\r\n", line, int(uid)*1000+left)
		left -= line
	}
	return b.Bytes()
}

func (s *synthetic) size(uid remote.UID) int64 {
	n := s.text(uid)
	header := len("From: Alice <alice@example.com>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"+
		" number \r\nDate: Mon, 02 Feb 2026 10:11:12 +0100\r\n\r\n") + digits(uid) + digits(uid%100)
	return int64(header + n + 2*((n+71)/72))
}

// text is how many bytes of text a message has.
func (s *synthetic) text(uid remote.UID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodySize(uid)
}

func digits(uid remote.UID) int { return len(strconv.Itoa(int(uid))) }

func (s *synthetic) Connect(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal
}

func (s *synthetic) Mailboxes(context.Context) ([]remote.Mailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mailboxes, s.refusal
}

func (s *synthetic) Versions(_ context.Context, mailboxes []string) ([]remote.Version, error) {
	return make([]remote.Version, len(mailboxes)), nil
}

func (s *synthetic) Sync(_ context.Context, mailbox string, since, _ remote.Version, known *remote.UIDSet,
	emit func(remote.Delta) error) (remote.Version, error) {
	s.mu.Lock()
	uids, validity, refusal := s.uids[mailbox], s.validity, s.refusal
	announce := s.announce
	exists := slices.ContainsFunc(s.mailboxes, func(m remote.Mailbox) bool { return m.Name == mailbox })
	s.mu.Unlock()
	version := remote.Version{UIDValidity: validity, Messages: uint32(len(uids))}
	switch {
	case refusal != nil:
		return version, refusal
	case !exists:
		return version, remote.ErrNoMailbox
	case since.UIDValidity != 0 && since.UIDValidity != validity:
		if err := emit(remote.Delta{Reset: true, UIDValidity: validity}); err != nil {
			return version, err
		}
		known = nil
	}
	d := remote.Delta{UIDValidity: validity, Present: remote.NewUIDSet(uids...)}
	for _, uid := range uids {
		if known.Contains(uid) {
			continue
		}
		d.Messages = append(d.Messages, remote.Message{
			UID: uid, Key: strconv.Itoa(int(uid)), Size: announce(uid, s.size(uid)), Flags: []string{`\Seen`},
			Date:   time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(uid) * time.Minute),
			Header: []byte(syntheticHeader(uid)),
		})
	}
	return version, emit(d)
}

func (s *synthetic) Bodies(ctx context.Context, at remote.Place, uids []remote.UID,
	got func(remote.UID, []byte)) error {
	for _, uid := range uids {
		s.mu.Lock()
		s.fetched[at.Mailbox]++
		hold, refusal := s.hold, s.refusal
		stale := at.UIDValidity != s.validity
		exists := slices.Contains(s.uids[at.Mailbox], uid)
		s.mu.Unlock()
		switch {
		case refusal != nil:
			return refusal
		case stale:
			return remote.ErrStale
		case !exists:
			continue
		}
		if hold != nil {
			s.held <- uid
			select {
			case <-hold:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		got(uid, s.body(uid))
	}
	return nil
}

func (s *synthetic) Piece(ctx context.Context, at remote.Place, uid remote.UID,
	off, n int64) (piece []byte, err error) {
	err = remote.ErrNoMessage
	whole := s.Bodies(ctx, at, []remote.UID{uid}, func(_ remote.UID, body []byte) {
		off = min(off, int64(len(body)))
		piece, err = body[off:min(off+n, int64(len(body)))], nil
	})
	if whole != nil {
		return nil, whole
	}
	return piece, err
}

// The rest is as with POP3: messages are taken apart and searched where they are read.

func (s *synthetic) Structures(context.Context, remote.Place, []remote.UID,
	func(remote.UID, *remote.Part, []byte)) error {
	return remote.ErrUnsupported
}

func (s *synthetic) Sections(context.Context, remote.Place, []remote.UID, []remote.Section,
	func(remote.UID, [][]byte)) error {
	return remote.ErrUnsupported
}

func (s *synthetic) Decoded(context.Context, remote.Place, remote.UID, string) ([]byte, error) {
	return nil, remote.ErrUnsupported
}

func (s *synthetic) DecodedSizes(context.Context, remote.Place, remote.UID, []string) ([]int64, error) {
	return nil, remote.ErrUnsupported
}

func (s *synthetic) Search(context.Context, string, remote.Query) (uint32, *remote.UIDSet, error) {
	return 0, nil, remote.ErrUnsupported
}

func (s *synthetic) Header(_ context.Context, _ remote.Place, uid remote.UID) ([]byte, error) {
	return []byte(syntheticHeader(uid)), nil
}

func (s *synthetic) Quota(context.Context) (used, limit int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quota[1] == 0 {
		return 0, 0, remote.ErrUnsupported
	}
	return s.quota[0], s.quota[1], nil
}

func (s *synthetic) Stats() remote.Stats { return remote.Stats{} }

// fetches tells how often messages of a mailbox were fetched.
func (s *synthetic) fetches(mailbox string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched[mailbox]
}

func (s *synthetic) Close() error { return nil }
