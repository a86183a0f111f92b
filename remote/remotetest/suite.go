package remotetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Server is a mail server with one user, whose INBOX is empty, and how a test changes its mail and its connections.
type Server struct {
	// Open returns a new account of the user. The suite closes it.
	Open func(timeout time.Duration) remote.Account
	// Put stores messages in a mailbox, in their order.
	Put func(mailbox string, bodies ...[]byte)
	// Remove expunges the message with a sequence number, counted from 1.
	Remove func(mailbox string, number int)

	// SetFlags and Flags set and return the flags of the message with a sequence number; nil where a message has none.
	SetFlags func(mailbox string, number int, flags ...string)
	Flags    func(mailbox string, number int) []string

	// Create and Drop make and delete a mailbox; nil where there is only INBOX.
	Create, Drop func(mailbox string)

	// Retries is true where the accounts make a lost connection again by themselves.
	Retries bool

	// Freeze holds up what goes to and from the server until Thaw, and Held tells whether there is something that is held up.
	// Cut ends the connections of the accounts.
	Freeze, Thaw, Cut func()
	Held              func() bool
}

// Over has a line freeze and cut the connections to the server.
func (s *Server) Over(l *Line) {
	s.Freeze, s.Thaw, s.Cut, s.Held = l.Freeze, l.Thaw, l.Cut, l.Held
}

const (
	inbox = "INBOX"
	// patience is how long a test waits for what should happen at once, on a busy machine. It is the timeout of accounts
	// as well, where a test does not wait for that.
	patience = time.Minute
	// soon is how long a call may take that need not wait for the server, on a busy machine: less than the timeout.
	soon = 40 * time.Second
)

// Suite runs the tests that every protocol must pass: the promises in the comments of remote.Account. start returns a new
// server; it is called for each test.
func Suite(t *testing.T, start func(t *testing.T) *Server) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"MailboxesAreListedParentsFirstWithoutDuplicates", (*suite).mailboxes},
		{"EveryMailboxHasAVersion", (*suite).versions},
		{"SyncFromNothingListsEveryMessage", (*suite).syncFromNothing},
		{"SyncFromAVersionTellsWhatChanged", (*suite).syncFromVersion},
		{"SyncOfTheVersionThatVersionsToldListsTheSame", (*suite).syncToVersion},
		{"SyncTellsOfChangedFlags", (*suite).syncFlags},
		{"SyncResetsWhatIsKnownUnderAnotherUIDValidity", (*suite).syncReset},
		{"SyncResetsAMailboxThatWasMadeAnew", (*suite).syncMadeAnew},
		{"AnErrorOfEmitEndsSync", (*suite).syncEmitFails},
		{"BodiesComeWholeAndExactAndOnce", (*suite).bodies},
		{"TheCallerOwnsTheBodies", (*suite).bodiesAreOwned},
		{"AMessageThatIsGoneIsLeftOut", (*suite).gone},
		{"APieceEndsWhereTheMessageEnds", (*suite).pieces},
		{"AHeaderHoldsTheFieldsThatWereAskedFor", (*suite).header},
		{"StructuresTellThePartsOfAMessage", (*suite).structures},
		{"SectionsComeInTheirOrder", (*suite).sections},
		{"DecodedPartsHaveTheSizesThatWereTold", (*suite).decoded},
		{"SearchFindsWhatTheQueryDescribes", (*suite).search},
		{"QuotaIsToldOrUnsupported", (*suite).quota},
		{"ReadingChangesNoFlags", (*suite).unchanged},
		{"StatsCountWhatWasFetched", (*suite).stats},
		{"UIDsOfAnotherUIDValidityAreStale", (*suite).stale},
		{"AMailboxThatIsNotThereIsAnError", (*suite).noMailbox},
		{"ManyCallsAtOnceGetTheirOwnAnswers", (*suite).concurrent},
		{"ACancelledContextAsksForNothing", (*suite).cancelledBefore},
		{"CancellingReturnsAtOnce", (*suite).cancelled},
		{"CancellingOneCallLeavesTheOthersAlone", (*suite).cancelledAlone},
		{"ASilentServerIsATimeout", (*suite).timeout},
		{"ALostConnectionIsSaidAndMadeAgain", (*suite).lost},
		{"CloseEndsTheCallsUnderWay", (*suite).closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, server: start(t)}
			test.run(s)
		})
	}
}

// suite is one test.
type suite struct {
	*testing.T
	server *Server
}

func (s *suite) open() remote.Account { return s.openFor(patience) }

func (s *suite) openFor(timeout time.Duration) remote.Account {
	a := s.server.Open(timeout)
	s.Cleanup(func() {
		s.server.Thaw()
		if err := a.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
	})
	return a
}

// must fails the test for an error.
func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// wants fails the test where an error does not wrap the one that was promised. what names the call.
func (s *suite) wants(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: the error is %v, want %v", what, err, want)
	}
}

// unsupported tells whether an error is ErrUnsupported; any other error fails the test.
func (s *suite) unsupported(err error) bool {
	s.Helper()
	if errors.Is(err, remote.ErrUnsupported) {
		s.Logf("not supported: %v", err)
		return true
	}
	s.must(err)
	return false
}

// letter is a message with a subject of its own.
func letter(n int) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: letter %d\r\n"+
		"Date: Mon, 2 Feb 2026 10:00:00 +0000\r\nMessage-ID: <%[1]d@example.org>\r\n\r\nThis is letter %[1]d.\r\n", n)
}

// letters are messages with the numbers from 1 to n.
func letters(n int) [][]byte {
	var all [][]byte
	for i := range n {
		all = append(all, letter(i+1))
	}
	return all
}

// view is what a caller of Sync knows of a mailbox.
type view struct {
	s        *suite
	mailbox  string
	version  remote.Version
	messages map[remote.UID]remote.Message
	deltas   []remote.Delta // of the last sync
}

func (s *suite) view(mailbox string) *view {
	return &view{s: s, mailbox: mailbox, messages: map[remote.UID]remote.Message{}}
}

// known returns the UIDs that the view holds.
func (v *view) known() *remote.UIDSet {
	return remote.NewUIDSet(slices.Collect(maps.Keys(v.messages))...)
}

// sync brings the view up to date. now is what Versions told, or the zero Version.
func (v *view) sync(a remote.Account, now remote.Version) {
	v.s.Helper()
	v.deltas = nil
	version, err := a.Sync(v.s.Context(), v.mailbox, v.version, now, v.known(), v.take)
	v.s.must(err)
	if version.UIDValidity == 0 {
		v.s.Errorf("Sync returns %+v", version)
	}
	if int(version.Messages) != len(v.messages) {
		v.s.Errorf("Sync says that the mailbox holds %d messages, and has told of %d", version.Messages, len(v.messages))
	}
	v.version = version
}

func (v *view) take(d remote.Delta) error {
	if d.Reset {
		if len(v.deltas) > 0 || d.Messages != nil || d.Flags != nil || d.Present != nil {
			v.s.Errorf("a reset is not the first delta, or not alone: %+v", d)
		}
		clear(v.messages)
	}
	if d.UIDValidity == 0 || len(v.deltas) > 0 && d.UIDValidity != v.deltas[0].UIDValidity {
		v.s.Errorf("a delta speaks of UIDVALIDITY %d", d.UIDValidity)
	}
	if d.Present != nil {
		for uid := range v.messages {
			if !d.Present.Contains(uid) {
				delete(v.messages, uid)
			}
		}
	}
	for _, m := range d.Messages {
		m.Header, m.Flags = bytes.Clone(m.Header), slices.Clone(m.Flags)
		v.messages[m.UID] = m
	}
	for _, f := range d.Flags {
		m, ok := v.messages[f.UID]
		if !ok {
			v.s.Errorf("flags of a message that is not known: %+v", f)
			continue
		}
		m.Flags = slices.Clone(f.Flags)
		v.messages[f.UID] = m
	}
	d.Messages = slices.Clone(d.Messages)
	v.deltas = append(v.deltas, d)
	return nil
}

// uids returns the UIDs of the letters with the numbers.
func (v *view) uids(numbers ...int) []remote.UID {
	v.s.Helper()
	var uids []remote.UID
	for _, n := range numbers {
		found := len(uids)
		for uid, m := range v.messages {
			if strings.Contains(string(m.Header), fmt.Sprintf("Subject: letter %d\r\n", n)) {
				uids = append(uids, uid)
			}
		}
		if len(uids) != found+1 {
			v.s.Fatalf("%d messages of %d are letter %d", len(uids)-found, len(v.messages), n)
		}
	}
	return uids
}

// at returns the place of the view's messages.
func (v *view) at() remote.Place {
	return remote.Place{Mailbox: v.mailbox, UIDValidity: v.version.UIDValidity}
}

// filled returns an account and a view of INBOX with the given messages.
func (s *suite) filled(bodies ...[]byte) (remote.Account, *view) {
	s.Helper()
	s.server.Put(inbox, bodies...)
	a := s.open()
	v := s.view(inbox)
	v.sync(a, remote.Version{})
	return a, v
}

// read fetches bodies. No message may come twice.
func (s *suite) read(ctx context.Context, a remote.Account, at remote.Place, uids ...remote.UID) (map[remote.UID][]byte, error) {
	var mu sync.Mutex // guards got
	got := map[remote.UID][]byte{}
	err := a.Bodies(ctx, at, uids, func(uid remote.UID, body []byte) {
		mu.Lock()
		defer mu.Unlock()
		if got[uid] != nil {
			s.Errorf("UID %d comes twice", uid)
		}
		got[uid] = body
	})
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(got), err
}

// method is one of the methods of an account that ask the server for something.
type method struct {
	name string
	call func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error
}

// methods are all methods but Connect, Stats and Close. No protocol answers the first three without asking the server.
var methods = []method{
	{"Bodies", func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error {
		return a.Bodies(ctx, at, []remote.UID{uid}, func(remote.UID, []byte) {})
	}},
	{"Header", func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error {
		_, err := a.Header(ctx, at, uid)
		return err
	}},
	{"Sync", func(ctx context.Context, a remote.Account, at remote.Place, _ remote.UID) error {
		_, err := a.Sync(ctx, at.Mailbox, remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
		return err
	}},
	{"Mailboxes", func(ctx context.Context, a remote.Account, _ remote.Place, _ remote.UID) error {
		_, err := a.Mailboxes(ctx)
		return err
	}},
	{"Versions", func(ctx context.Context, a remote.Account, at remote.Place, _ remote.UID) error {
		_, err := a.Versions(ctx, []string{at.Mailbox})
		return err
	}},
	{"Piece", func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error {
		_, err := a.Piece(ctx, at, uid, 0, 10)
		return err
	}},
	{"Structures", func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error {
		return a.Structures(ctx, at, []remote.UID{uid}, func(remote.UID, *remote.Part, []byte) {})
	}},
	{"Sections", func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error {
		return a.Sections(ctx, at, []remote.UID{uid}, []remote.Section{{Number: "1"}}, func(remote.UID, [][]byte) {})
	}},
	{"Decoded", func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error {
		_, err := a.Decoded(ctx, at, uid, "1")
		return err
	}},
	{"DecodedSizes", func(ctx context.Context, a remote.Account, at remote.Place, uid remote.UID) error {
		_, err := a.DecodedSizes(ctx, at, uid, []string{"1"})
		return err
	}},
	{"Search", func(ctx context.Context, a remote.Account, at remote.Place, _ remote.UID) error {
		_, _, err := a.Search(ctx, at.Mailbox, remote.Query{Subject: []string{"letter"}})
		return err
	}},
	{"Quota", func(ctx context.Context, a remote.Account, _ remote.Place, _ remote.UID) error {
		_, _, err := a.Quota(ctx)
		return err
	}},
}
