// Package imap is remote.Account over IMAP (RFC 3501, RFC 9051), with go-imap as the client. Mailboxes are opened with
// EXAMINE, messages read with BODY.PEEK; nothing on the server changes.
//
// Every command runs in a goroutine of its own that takes the whole answer off the connection at full speed, also when
// nobody waits for it any more: a literal that is not read stops everything else on the connection.
package imap

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// Options of an account.
type Options struct {
	// Connections is how many connections the account may have at most; 0 means 2: one for listings, one for bodies.
	Connections int
	// Idle is how long a connection that nobody uses is kept; 0 means 5 minutes. Servers end such a connection after 30
	// (RFC 9051, section 5.4).
	Idle time.Duration
	// Log gets what no error tells: messages that had to be listed item by item, connections that were refused. nil means
	// slog.Default().
	Log *slog.Logger
}

// Account is an IMAP account.
type Account struct {
	dialer *dial.Dialer
	log    *slog.Logger
	pool   *pool
	names  wire.Spellings
	flags  unreadable

	fetched atomic.Int64
	told    atomic.Uint32 // items that the server has told of some message
}

var _ remote.Account = (*Account)(nil)

// New returns an account that connects when it is first used.
func New(d *dial.Dialer, o Options) *Account {
	if o.Connections <= 0 {
		o.Connections = 2
	}
	if o.Idle <= 0 {
		o.Idle = 5 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	a := &Account{dialer: d, log: o.Log}
	a.pool = &pool{
		dial:   func(ctx context.Context) (*session, error) { return dial.Connect(ctx, d, startTLS, a.signIn) },
		forget: d.Forget,
		log:    o.Log,
		size:   o.Connections,
		max:    o.Connections,
		idle:   o.Idle,
		above:  map[string]*atomic.Uint32{},
	}
	a.pool.ctx, a.pool.cancel = context.WithCancel(context.Background())
	return a
}

// Connect implements remote.Account. When it works, a connection for bodies is made as well: the first reader need not
// wait for it.
func (a *Account) Connect(ctx context.Context) error {
	err := a.pool.use(ctx, &request{lane: listing}, func(*session) error { return nil })
	if err == nil {
		a.pool.prepare(bodies)
	}
	return err
}

// Stats implements remote.Account.
func (a *Account) Stats() remote.Stats {
	s := a.dialer.Stats()
	s.Bodies = a.fetched.Load()
	return s
}

// Close implements remote.Account.
func (a *Account) Close() error {
	a.pool.close()
	return nil
}
