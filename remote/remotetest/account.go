// Package remotetest holds what tests need of package remote: [Suite] is what every protocol must pass, and [Account] is an
// account in memory, for tests of the packages that read mail through remote.Account.
package remotetest

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Account is an account in memory. Its mail is changed with Create, Drop, Put, Remove and SetFlags, from any goroutine.
type Account struct {
	// WholeOnly makes the account know only whole messages, and neither search nor quota, as over POP3. It is set before
	// the account is used.
	WholeOnly bool
	// Timeout bounds a call that the function given to Intercept holds up; 0 is no bound. It is set before the account is
	// used.
	Timeout time.Duration

	alive context.Context // until Close
	end   context.CancelFunc
	calls sync.WaitGroup

	mu         sync.Mutex // guards what follows
	closed     bool
	intercept  func(context.Context, Call) error
	log        []Call
	mailboxes  []*mailbox
	validities uint32 // UIDVALIDITY of the mailbox that was made last
	quota      int64  // bytes; 0 is no quota
	stats      remote.Stats
}

var _ remote.Account = (*Account)(nil)

// Call is one call of a method of remote.Account.
type Call struct {
	Method string       // its name
	At     remote.Place // only Mailbox is set by Sync and Search, nothing by the methods that name no mailbox
	UIDs   []remote.UID // of the messages that were asked for
	Offset int64        // of Piece
	Bytes  int64        // of Piece
}

type mailbox struct {
	name     string
	validity uint32
	next     remote.UID
	modSeq   uint64
	messages []*message // in the order of their UIDs
}

type message struct {
	uid    remote.UID
	date   time.Time
	flags  []string
	modSeq uint64 // of the mailbox, when the message came or its flags last changed
	body   []byte
}

// NewAccount returns an account with an empty INBOX.
func NewAccount() *Account {
	a := &Account{}
	a.alive, a.end = context.WithCancel(context.Background())
	a.Create("INBOX")
	return a
}

// Intercept has f called before each call is answered. f may wait until ctx ends; an error that f returns is the answer. With
// nil, calls are answered at once again.
func (a *Account) Intercept(f func(ctx context.Context, c Call) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.intercept = f
}

// Calls returns the calls of a method so far, in their order, or those of all methods where method is empty.
func (a *Account) Calls(method string) []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.log), func(c Call) bool { return method != "" && c.Method != method })
}

// Create makes an empty mailbox with a UIDVALIDITY that none had before. '/' separates the levels of its name.
func (a *Account) Create(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.validities++
	a.mailboxes = append(a.mailboxes, &mailbox{name: name, validity: a.validities, next: 1, modSeq: 1})
}

// Drop deletes a mailbox with its messages.
func (a *Account) Drop(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mailboxes = slices.DeleteFunc(a.mailboxes, func(m *mailbox) bool { return m.name == name })
}

// Put stores messages in a mailbox, which is there, and returns their UIDs. Their dates are a minute apart.
func (a *Account) Put(name string, bodies ...[]byte) []remote.UID {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.mustFindLocked(name)
	var uids []remote.UID
	for _, body := range bodies {
		m.modSeq++
		date := time.Unix(1.7e9, 0).Add(time.Duration(m.next) * time.Minute)
		m.messages = append(m.messages, &message{m.next, date, nil, m.modSeq, slices.Clone(body)})
		uids = append(uids, m.next)
		m.next++
	}
	return uids
}

// PutAt stores a message under a UID, which another one may have had before, as no server should.
func (a *Account) PutAt(name string, uid remote.UID, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.mustFindLocked(name)
	m.modSeq++
	date := time.Unix(1.7e9, 0).Add(time.Duration(uid) * time.Minute)
	m.messages = append(m.messages, &message{uid, date, nil, m.modSeq, slices.Clone(body)})
	slices.SortFunc(m.messages, func(x, y *message) int { return cmp.Compare(x.uid, y.uid) })
	m.next = max(m.next, uid+1)
}

// Restore empties a mailbox and sets its UIDVALIDITY and the next UID, as when it is made again from a backup.
func (a *Account) Restore(name string, validity uint32, next remote.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.mustFindLocked(name)
	m.validity, m.next, m.messages = validity, next, nil
	m.modSeq++
}

// Remove expunges messages of a mailbox, which is there.
func (a *Account) Remove(name string, uids ...remote.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.mustFindLocked(name)
	m.modSeq++
	m.messages = slices.DeleteFunc(m.messages, func(e *message) bool { return slices.Contains(uids, e.uid) })
}

// SetFlags sets the flags of a message, which is there.
func (a *Account) SetFlags(name string, uid remote.UID, flags ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.mustFindLocked(name)
	m.modSeq++
	e := m.find(uid)
	e.flags, e.modSeq = flags, m.modSeq
}

// Flags returns the flags of a message, which is there.
func (a *Account) Flags(name string, uid remote.UID) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.mustFindLocked(name).find(uid).flags)
}

// SetQuota says how many bytes the account may hold; 0 is no quota.
func (a *Account) SetQuota(limit int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quota = limit
}

// findLocked returns a mailbox; nil if it is not there.
func (a *Account) findLocked(name string) *mailbox {
	for _, m := range a.mailboxes {
		if m.name == name {
			return m
		}
	}
	return nil
}

// mustFindLocked returns a mailbox that a test knows to be there.
func (a *Account) mustFindLocked(name string) *mailbox {
	m := a.findLocked(name)
	if m == nil {
		panic("remotetest: there is no mailbox " + strconv.Quote(name))
	}
	return m
}

// find returns a message; nil if it is not there.
func (m *mailbox) find(uid remote.UID) *message {
	i, ok := slices.BinarySearchFunc(m.messages, uid, func(e *message, uid remote.UID) int {
		if e.uid < uid {
			return -1
		}
		return int(min(e.uid-uid, 1))
	})
	if !ok {
		return nil
	}
	return m.messages[i]
}

func (m *mailbox) version() remote.Version {
	return remote.Version{UIDValidity: m.validity, UIDNext: m.next, ModSeq: m.modSeq, Messages: uint32(len(m.messages))}
}

// answer notes a call, and runs f unless the function given to Intercept returns an error. The context of f ends with the
// caller's, after the timeout, and with the account.
func (a *Account) answer(ctx context.Context, call Call, f func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return remote.ErrClosed
	}
	a.calls.Add(1)
	defer a.calls.Done()
	a.log = append(a.log, call)
	intercept := a.intercept
	a.mu.Unlock()

	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(a.alive, func() { cancel(remote.ErrClosed) })()
	if a.Timeout > 0 {
		defer time.AfterFunc(a.Timeout, func() { cancel(remote.ErrTimeout) }).Stop()
	}
	var err error
	if intercept != nil {
		err = intercept(within, call)
	}
	if err == nil && within.Err() == nil {
		a.mu.Lock()
		if a.stats.Connections == 0 {
			a.stats.Connections, a.stats.Dials = 1, a.stats.Dials+1
		}
		a.stats.BytesIn++
		a.stats.BytesOut++
		a.mu.Unlock()
		err = f(within)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if within.Err() != nil {
		return context.Cause(within)
	}
	return err
}

// Connect implements remote.Account.
func (a *Account) Connect(ctx context.Context) error {
	return a.answer(ctx, Call{Method: "Connect"}, func(context.Context) error { return nil })
}

// Mailboxes implements remote.Account. A level of a name for which no mailbox was made is listed as one that can't be selected.
func (a *Account) Mailboxes(ctx context.Context) (list []remote.Mailbox, err error) {
	err = a.answer(ctx, Call{Method: "Mailboxes"}, func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		selectable := map[string]bool{}
		for _, m := range a.mailboxes {
			selectable[m.name] = true
			for i, r := range m.name {
				if r == '/' && !selectable[m.name[:i]] {
					selectable[m.name[:i]] = false
				}
			}
		}
		for name, is := range selectable {
			list = append(list, remote.Mailbox{Name: name, Path: strings.Split(name, "/"), Selectable: is})
		}
		slices.SortFunc(list, func(m, n remote.Mailbox) int { return slices.Compare(m.Path, n.Path) })
		return nil
	})
	return list, err
}

// Versions implements remote.Account.
func (a *Account) Versions(ctx context.Context, mailboxes []string) (versions []remote.Version, err error) {
	err = a.answer(ctx, Call{Method: "Versions"}, func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		versions = make([]remote.Version, len(mailboxes))
		for i, name := range mailboxes {
			if m := a.findLocked(name); m != nil && !a.WholeOnly {
				versions[i] = m.version()
			}
		}
		return nil
	})
	return versions, err
}

// Quota implements remote.Account.
func (a *Account) Quota(ctx context.Context) (used, limit int64, err error) {
	err = a.answer(ctx, Call{Method: "Quota"}, func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if limit = a.quota; limit == 0 || a.WholeOnly {
			return remote.ErrUnsupported
		}
		for _, m := range a.mailboxes {
			for _, e := range m.messages {
				used += int64(len(e.body))
			}
		}
		return nil
	})
	return used, limit, err
}

// Stats implements remote.Account. Each call that was answered counts as one byte in and one out; BytesIn also counts what
// Bodies and Piece returned.
func (a *Account) Stats() remote.Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Close implements remote.Account.
func (a *Account) Close() error {
	a.mu.Lock()
	a.closed = true
	a.stats.Connections = 0
	a.mu.Unlock()
	a.end()
	a.calls.Wait()
	return nil
}
