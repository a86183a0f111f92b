// Package remote is the vocabulary of mail that mailfs speaks (account, mailbox, message, UID, UIDVALIDITY, flags, errors)
// and the interface that a mail protocol fulfils, [Account]. The protocols are in remote/imap and remote/pop3; both dial
// with remote/dial, and [Retry] wraps either of them.
package remote

import (
	"context"
	"time"
)

// UID identifies a message within one UIDVALIDITY of one mailbox, for as long as the message exists.
//
// IMAP: the unique identifier of RFC 9051, section 2.3.1.1, at most 32 bits, never 0.
// POP3: the first 48 bits of the SHA-256 of the UIDL (RFC 1939, section 7), never 0.
type UID uint64

// Role is the special use of a mailbox (RFC 6154), as far as mailfs makes a difference.
type Role uint8

// The roles that change how messages are named: in a Sent or Drafts mailbox a name holds the first recipient, not the sender.
const (
	RoleNone Role = iota
	RoleSent
	RoleDrafts
)

// Mailbox is a mailbox of an account, or a level of the hierarchy that only holds mailboxes.
type Mailbox struct {
	// Name is the whole name by which the protocol addresses the mailbox, decoded to UTF-8 where that is possible.
	Name string
	// Path is Name split at the hierarchy delimiter; where the server has no delimiter, it has one element. The first element
	// is "INBOX" for INBOX, however the server spells that.
	Path []string
	// Selectable is false for a mailbox that can't be opened (\Noselect, \NonExistent of RFC 9051, section 7.3.1).
	Selectable bool
	Role       Role
}

// Version is a state of a mailbox, as far as a caller knows it. The zero Version knows nothing.
type Version struct {
	// UIDValidity is that of RFC 9051, section 2.3.1.1. UIDs of different UIDVALIDITY have nothing to do with each other. Over
	// POP3, which has none, it is 1.
	UIDValidity uint32
	// UIDNext is above every UID that the mailbox has ever held; 0 where it is not known.
	UIDNext UID
	// ModSeq is the HIGHESTMODSEQ of RFC 7162; 0 where the server has none.
	ModSeq uint64
	// Messages is the number of messages in the mailbox.
	Messages uint32
}

// Message is a message as a listing shows it.
type Message struct {
	UID UID
	// Key stands for the message in file names: over IMAP the UID in decimal; over POP3 the UIDL where that is short and
	// plain, else 12 hex digits. It consists of letters, digits, '.', ',', '+', '=', '@', '~' and '-'.
	Key string
	// Size is the number of bytes of the whole message that the server announces (RFC822.SIZE, LIST). Some servers announce
	// a wrong one.
	Size int64
	// Date is the INTERNALDATE; zero where the protocol or the server has none.
	Date time.Time
	// Flags are spelt as the server spells them (`\Seen`, `$Forwarded`).
	Flags []string
	// Incomplete says that the server did not tell all of this now and might later: the message is to be listed again.
	Incomplete bool
	// Header holds at least the fields of [HeaderFields], as they stand in the message, with CRLF line ends. It is cut at
	// MaxHeader bytes, and valid only during the call of emit.
	Header []byte
}

// HeaderFields are the header fields of a listing: names and extended attributes are made from them.
var HeaderFields = []string{"From", "To", "Cc", "Subject", "Date", "Message-ID"}

// MaxHeader bounds, in bytes, the header of a message in a listing. The rest of a longer header is dropped.
const MaxHeader = 64 << 10

// FlagChange holds the flags that a known message now has.
type FlagChange struct {
	UID   UID
	Flags []string
}

// Delta is one of the changes of a mailbox that a Sync finds. The caller applies them in the order in which they are emitted.
type Delta struct {
	// Reset says that everything known of the mailbox is void, since its UIDVALIDITY has changed. Such a delta is the first
	// and holds nothing else but UIDValidity.
	Reset bool
	// UIDValidity is the mailbox's; it is the same in all deltas of a Sync.
	UIDValidity uint32
	// Total is the number of messages in the mailbox, to show how far a listing is; 0 where it is not known yet.
	Total uint32
	// Messages are new, in no particular order. A message that is known already replaces what was known of it.
	Messages []Message
	// Flags are those of known messages that have changed, or may have.
	Flags []FlagChange
	// Present, where it is not nil, holds every UID in the mailbox: a known message that is not in it has vanished.
	Present *UIDSet
}

// Priority says how urgent a request is: a more urgent one does not wait behind others.
type Priority uint8

const (
	// Foreground is for a message that a reader waits for.
	Foreground Priority = iota
	// Readahead is for a message that a reader is expected to ask for soon.
	Readahead
	// Background is for a message that nobody waits for.
	Background
)

// Place says where messages are read, and how urgent that is.
type Place struct {
	// Mailbox is the Name of a mailbox.
	Mailbox string
	// UIDValidity is the one that the caller has learnt the UIDs under. A method returns ErrStale where the mailbox now has
	// another one.
	UIDValidity uint32
	// Priority is Foreground where it is not set.
	Priority Priority
}

// Account is a mail account. Its methods may be called from any goroutine, at any time, also before Connect: they connect
// when they have to. An account never changes anything on the server: mailboxes are opened with EXAMINE, messages are
// read with BODY.PEEK, nothing is deleted.
//
// Every error wraps one of [Errors], or is ctx.Err(), or comes from a function of the caller. No method waits for longer than
// the timeout of the account without a byte from the server. Where ctx is cancelled, a method returns ctx.Err() at once; other
// calls that wait for the same command get their answer all the same.
//
// Where a method returns ErrLost, its connection was lost half way. What it has handed out until then is valid, and the
// method may be called again. Protocols do not try again by themselves; [Retry] does.
//
// The promises here and below are tests of package remotetest, which both protocols pass.
type Account interface {
	// Connect dials and signs in, unless a connection is up, to find out whether that works.
	Connect(ctx context.Context) error

	// Mailboxes lists the mailboxes of the account, parents before children. No name is listed twice.
	Mailboxes(ctx context.Context) ([]Mailbox, error)

	// Versions returns the version of each mailbox, without opening any, in the time of one round trip. A version is zero where
	// the server does not tell it.
	Versions(ctx context.Context, mailboxes []string) ([]Version, error)

	// Sync finds what has changed in a mailbox since a version, of which the caller has the messages known. now is what
	// Versions has just returned, which saves opening the mailbox to find out, or zero. Sync calls emit in the calling
	// goroutine, for one delta after the other; an error of emit ends Sync and is returned. After Sync returns without an
	// error, the caller knows the mailbox as it is at the Version returned. ErrStale: now is not true any more.
	Sync(ctx context.Context, mailbox string, since, now Version, known *UIDSet, emit func(Delta) error) (Version, error)

	// Bodies fetches whole messages and calls got for each that has arrived whole, once, in any order, possibly from several
	// goroutines at once, and not after Bodies has returned. got owns the bytes. A message that is gone is left out without an
	// error; one that the server refuses to send is an error, after the others. ErrStale: the UIDVALIDITY is another one.
	Bodies(ctx context.Context, at Place, uids []UID, got func(UID, []byte)) error

	// Piece fetches n bytes of a message from offset off on: fewer at the end of the message, none beyond it. ErrNoMessage: the
	// message is gone. ErrUnsupported: the protocol knows only whole messages.
	Piece(ctx context.Context, at Place, uid UID, off, n int64) ([]byte, error)

	// Header fetches the header fields of a message as in Message.Header. ErrNoMessage: the message is gone.
	Header(ctx context.Context, at Place, uid UID) ([]byte, error)

	// Structures fetches what parts messages have, and their header fields as in Message.Header and Content-Type; got is called
	// as by Bodies. The numbers of the parts are not set yet. A structure is nil where the server's answer can't be understood: the
	// message must be read whole. ErrUnsupported: so must all of them.
	Structures(ctx context.Context, at Place, uids []UID,
		got func(uid UID, structure *Part, header []byte)) error

	// Sections fetches the same sections of several messages; got is called as by Bodies, with the content of each section in
	// the order of sections, nil where the message does not have it. ErrUnsupported: messages must be read whole.
	Sections(ctx context.Context, at Place, uids []UID, sections []Section, got func(UID, [][]byte)) error

	// Decoded fetches the content of the part with a number, its Content-Transfer-Encoding undone (RFC 3516). ErrUnsupported:
	// the server does not do that, or not with this part.
	Decoded(ctx context.Context, at Place, uid UID, number string) ([]byte, error)

	// DecodedSizes returns how many bytes Decoded returns of the parts with these numbers. ErrUnsupported: as with Decoded.
	DecodedSizes(ctx context.Context, at Place, uid UID, numbers []string) ([]int64, error)

	// Search returns the UIDVALIDITY of a mailbox and the messages that a query finds there. ErrUnsupported: the protocol has
	// no search, or the server can't do this one.
	Search(ctx context.Context, mailbox string, q Query) (uint32, *UIDSet, error)

	// Quota returns how many bytes the account holds and may hold (RFC 9208). ErrUnsupported: the server does not tell.
	Quota(ctx context.Context) (used, limit int64, err error)

	// Stats returns the counters of the account.
	Stats() Stats

	// Close ends all connections and waits for the goroutines of the account. Calls under way return ErrClosed, and so do
	// later ones that need the server.
	Close() error
}

// Stats counts what an account has done since it was made.
type Stats struct {
	BytesIn, BytesOut int64 // received and sent on the network, below TLS
	Dials             int64 // connections that were tried
	Connections       int   // connections that are up
	Bodies            int64 // messages fetched whole
}

// Elapsed returns the time since t including the time that the machine has slept, in which the monotonic clock stands still.
func Elapsed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}
