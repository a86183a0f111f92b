// Package pop3 speaks POP3 (RFC 1939) behind the interface of package remote, with go-pop3 as the client.
//
// A maildrop is locked while a session lives, and a session sees it as it was when the session began. So there is one session
// at a time, which lives while there are requests and a moment longer; all requests go through it in one line. The unique-id
// (UIDL) names a message for good, the message number only within a session. Nothing is ever deleted.
package pop3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// Options of an account.
type Options struct {
	// Idle is how long a session without work is kept for more to come, 2 seconds when it is 0.
	Idle time.Duration
	// Log gets what no error tells; nil drops it.
	Log *slog.Logger
}

// Account is a POP3 account: one mailbox, INBOX.
type Account struct {
	dialer *dial.Dialer
	idle   time.Duration
	log    *slog.Logger

	alive  context.Context // ends with Close
	end    context.CancelCauseFunc
	wg     sync.WaitGroup // the goroutine that works
	bodies atomic.Int64   // how many came whole
	proven atomic.Bool    // a session was opened once
	wake   chan struct{}  // of capacity 1: there may be something in the queue

	mu      sync.Mutex // guards what follows, but for knowledge
	queue   queue
	working bool  // a goroutine works; see work
	serving *conn // of the session; nil between sessions
	closed  bool

	knowledge
}

// knowledge is what the server has shown of itself, in all sessions. It belongs to the goroutine that works.
type knowledge struct {
	evidence evidence        // what its TOP and LIST are worth
	hasUIDL  bool            // it has answered UIDL
	shared   map[string]bool // unique-ids that several messages have had
	serial   bool            // it can't take commands ahead of their answers, whatever it announces
	going    time.Time       // when a session was ended because the server said [SYS/...] of a message
	tripped  int             // how many sessions in a row ended while commands were sent ahead
}

var _ remote.Account = (*Account)(nil)

// New returns the account that the dialer's server holds. It connects when it has to.
func New(d *dial.Dialer, o Options) *Account {
	if o.Idle == 0 {
		o.Idle = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Account{dialer: d, idle: o.Idle, log: o.Log, wake: make(chan struct{}, 1)}
	a.alive, a.end = context.WithCancelCause(context.Background())
	return a
}

// The one mailbox of an account, and its one UIDVALIDITY.
const (
	inbox    = "INBOX"
	validity = 1
)

// Connect implements remote.Account. A server whose maildrop another session holds is ErrUnreachable once the timeout
// is over.
func (a *Account) Connect(ctx context.Context) error {
	_, err := a.open(ctx, false)
	return err
}

// Mailboxes implements remote.Account. There is nothing to ask for; it only finds out, once, whether signing in works.
func (a *Account) Mailboxes(ctx context.Context) ([]remote.Mailbox, error) {
	if !a.proven.Load() {
		if err := a.Connect(ctx); err != nil {
			return nil, err
		}
	}
	return []remote.Mailbox{{Name: inbox, Path: []string{inbox}, Selectable: true}}, nil
}

// Count returns how many messages the maildrop holds, without asking for any of them.
func (a *Account) Count(ctx context.Context, mailbox string) (messages int, err error) {
	if err := check(mailbox, validity); err != nil {
		return 0, err
	}
	drop, err := a.open(ctx, false)
	if err != nil {
		return 0, err
	}
	return len(drop.messages), nil
}

// batch is how many messages Sync emits at once: a table is made anew for each batch.
const batch = 500

// Versions implements remote.Account: a maildrop has none.
func (a *Account) Versions(_ context.Context, mailboxes []string) ([]remote.Version, error) {
	return make([]remote.Version, len(mailboxes)), nil
}

// Sync implements remote.Account. It lists in a session that began after the call, or a moment before.
func (a *Account) Sync(ctx context.Context, mailbox string, since, _ remote.Version, known *remote.UIDSet,
	emit func(remote.Delta) error) (remote.Version, error) {
	if mailbox != inbox {
		return remote.Version{}, fmt.Errorf("%w: %q", remote.ErrNoMailbox, mailbox)
	}
	drop, err := a.open(ctx, true)
	if err != nil {
		return remote.Version{}, err
	}
	version := remote.Version{UIDValidity: validity, Messages: uint32(len(drop.messages))}
	if since.UIDValidity != 0 && since.UIDValidity != validity {
		known = nil
		if err := emit(remote.Delta{Reset: true, UIDValidity: validity}); err != nil {
			return remote.Version{}, err
		}
	}
	present := &remote.UIDSet{}
	var fresh []message
	for _, m := range drop.messages {
		present.Add(m.uid)
		if !known.Contains(m.uid) {
			fresh = append(fresh, m)
		}
	}
	if known.Minus(present).Len() > 0 {
		if err := emit(remote.Delta{UIDValidity: validity, Present: present}); err != nil {
			return remote.Version{}, err
		}
	}
	slices.SortFunc(fresh, func(m, n message) int { return n.number - m.number }) // the newest first
	if err := a.emitHeaders(ctx, drop, fresh, known.Len() == 0, emit); err != nil {
		return remote.Version{}, err
	}
	return version, nil
}

// emitHeaders fetches the headers of messages and emits those that come, in batches. first says that nothing is listed yet: then
// it is an error, and not a listing without any name, that the server can't tell of one message now.
func (a *Account) emitHeaders(ctx context.Context, drop *maildrop, fresh []message, first bool, emit func(remote.Delta) error) error {
	var messages []remote.Message
	var told int          // messages of which a header came
	var unavailable error // why there is none now of another
	flush := func() error {
		switch {
		case len(messages) == 0:
			return nil
		case first && told == 0 && unavailable != nil:
			return unavailable
		}
		err := emit(remote.Delta{UIDValidity: validity, Messages: messages})
		messages = nil
		return err
	}
	var stopped error
	err := a.fetch(ctx, remote.Foreground, header, uidsOf(fresh), func(r result) error {
		switch {
		case errors.Is(r.err, remote.ErrNoMessage):
			return nil
		case errors.Is(r.err, remote.ErrUnavailable):
			unavailable = r.err
		case r.err == nil:
			told++
		}
		m, _ := drop.find(r.uid)
		size := max(r.size, 0)
		// A message whose header is refused is listed all the same. Reading it tells why.
		messages = append(messages, remote.Message{UID: m.uid, Key: m.key, Size: size, Header: r.content, Incomplete: r.err != nil})
		if len(messages) < batch {
			return nil
		}
		stopped = flush()
		return stopped
	})
	if stopped == nil { // the headers that have come are told, also when the rest does not come
		stopped = flush()
	}
	if stopped != nil {
		err = stopped
	}
	return err
}

func uidsOf(messages []message) []remote.UID {
	uids := make([]remote.UID, len(messages))
	for i, m := range messages {
		uids[i] = m.uid
	}
	return uids
}

// Bodies implements remote.Account.
func (a *Account) Bodies(ctx context.Context, at remote.Place, uids []remote.UID, got func(remote.UID, []byte)) error {
	if err := check(at.Mailbox, at.UIDValidity); err != nil {
		return err
	}
	var refused error
	err := a.fetch(ctx, at.Priority, body, uids, func(r result) error {
		switch {
		case r.err == nil:
			got(r.uid, r.content)
		case refused == nil && !errors.Is(r.err, remote.ErrNoMessage):
			refused = r.err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return refused
}

// Header implements remote.Account.
func (a *Account) Header(ctx context.Context, at remote.Place, uid remote.UID) ([]byte, error) {
	if err := check(at.Mailbox, at.UIDValidity); err != nil {
		return nil, err
	}
	var got []byte
	err := a.fetch(ctx, at.Priority, header, []remote.UID{uid}, func(r result) error {
		got = r.content
		return r.err
	})
	return got, err
}

func check(mailbox string, uidValidity uint32) error {
	if mailbox != inbox {
		return fmt.Errorf("%w: %q", remote.ErrNoMailbox, mailbox)
	}
	if uidValidity != validity {
		return remote.ErrStale
	}
	return nil
}

// Stats implements remote.Account.
func (a *Account) Stats() remote.Stats {
	s := a.dialer.Stats()
	s.Bodies = a.bodies.Load()
	return s
}

// Close implements remote.Account.
func (a *Account) Close() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.end(remote.ErrClosed)
	a.wg.Wait()
	return nil
}
