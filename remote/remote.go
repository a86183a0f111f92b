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

// Role is the special use of a mailbox (RFC 6154), as far as mailfs treats it specially.
type Role uint8

// The roles that change how messages are named: in a Sent or Drafts mailbox the first recipient is of interest, not the
// sender.
const (
	RoleNone Role = iota
	RoleSent
	RoleDrafts
)

// Mailbox is one mailbox of an account, or a level of the hierarchy that only holds others.
type Mailbox struct {
	// Name is how the protocol addresses the mailbox: the whole name, decoded to UTF-8 where it could be.
	Name string
	// Path is Name split at the hierarchy delimiter. It has one element where the server names no delimiter.
	// The first element is "INBOX" for INBOX, however the server spells it.
	Path []string
	// Selectable is false for a name that cannot be opened (\Noselect, \NonExistent of RFC 9051, section 7.3.1).
	Selectable bool
	Role       Role
}

// Version says how much of a mailbox is known. The zero Version knows nothing.
type Version struct {
	// UIDValidity as in RFC 9051, section 2.3.1.1. UIDs of different UIDVALIDITY have nothing to do with each other.
	// POP3 has none and says 1.
	UIDValidity uint32
	// UIDNext is above every UID that the mailbox has ever held; 0 when not known.
	UIDNext UID
	// ModSeq is the HIGHESTMODSEQ of RFC 7162; 0 where the server has none.
	ModSeq uint64
	// Messages is how many messages the mailbox holds.
	Messages uint32
}

// Message is what a listing tells of one message.
type Message struct {
	UID UID
	// Key stands for the message in file names: IMAP the UID in decimal; POP3 the UIDL where it is short and plain, else
	// 12 hex digits. It contains letters, digits, '.', ',', '+', '=', '@', '~', '-' only.
	Key string
	// Size in bytes of the whole message as the server announces it (RFC822.SIZE, LIST). Servers have been known to lie.
	Size int64
	// Date is INTERNALDATE; zero where the protocol or the server has none.
	Date time.Time
	// Flags as the server spells them (`\Seen`, `$Forwarded`).
	Flags []string
	// Header holds the raw header fields that were asked for ([HeaderFields]), CRLF line ends, and may hold more. It is
	// only valid during the call it is handed to, and is cut at MaxHeader bytes.
	Header []byte
}

// HeaderFields are the fields a listing asks for: what names and extended attributes are made from.
var HeaderFields = []string{"From", "To", "Cc", "Subject", "Date", "Message-ID"}

// MaxHeader bounds, in bytes, the header that a listing keeps of one message. What comes after is read and dropped.
const MaxHeader = 64 << 10

// FlagChange tells the flags that a known message now has.
type FlagChange struct {
	UID   UID
	Flags []string
}

// Delta is one step of what changed in a mailbox. Steps are applied in the order in which they are emitted.
type Delta struct {
	// Reset says that everything known of the mailbox is void: its UIDVALIDITY is another one. It comes first, alone.
	Reset bool
	// UIDValidity that this delta speaks of; the same in all of one Sync.
	UIDValidity uint32
	// Total is how many messages the mailbox holds, to show how far a listing is; 0 where that is not known yet.
	Total uint32
	// Messages are new, in no particular order. One that is known already replaces what is known.
	Messages []Message
	// Flags of known messages.
	Flags []FlagChange
	// Present, when not nil, holds every UID that is in the mailbox: what is known and not in it has vanished.
	Present *UIDSet
}

// Priority says who waits for an answer, so that what people wait for does not stand behind what they do not.
type Priority uint8

const (
	// Foreground: a reader waits for this message.
	Foreground Priority = iota
	// Readahead: a reader is expected to ask for it soon.
	Readahead
	// Background: nobody waits.
	Background
)

// Place says where messages are read, and how urgently. The zero Priority is Foreground.
type Place struct {
	// Mailbox is the Name of the mailbox.
	Mailbox string
	// UIDValidity is the one under which the caller knows the UIDs: where the mailbox has another one, a method returns
	// ErrStale.
	UIDValidity uint32
	Priority    Priority
}

// Account is one mail account. Its methods may be called from any goroutine, at any time, also before Connect; they
// connect when they have to. It never changes anything on the server: mailboxes are opened with EXAMINE, messages are
// read with BODY.PEEK, nothing is deleted.
//
// Every method returns an error that answers errors.Is for one of the errors of this package. No method blocks for
// longer than the timeout of the account without a byte of progress from the server. Cancelling ctx makes a method
// return at once with ctx.Err(); a command that others share is not cancelled by it.
//
// A method that returns ErrLost lost its connection half way; what it has emitted until then stands, and it may be called
// again. Protocols do not retry; [Retry] does.
type Account interface {
	// Connect dials and signs in, if no connection is up, to find out whether that works.
	Connect(ctx context.Context) error

	// Mailboxes lists the mailboxes of the account, parents before children. Names are unique.
	Mailboxes(ctx context.Context) ([]Mailbox, error)

	// Versions tells at which version mailboxes are, without opening them, in the time that one answer takes. It is zero
	// for a mailbox of which the server does not tell.
	Versions(ctx context.Context, mailboxes []string) ([]Version, error)

	// Sync tells what changed in a mailbox since a version, where known are the UIDs the caller has. now is what Versions
	// has just told, which saves opening the mailbox to find out; zero if it was not asked. Sync calls emit from the
	// calling goroutine, one delta after the other; an error of emit ends it. When it returns without an error, what the
	// caller knows is the mailbox at the Version returned. ErrStale: now is not true any more.
	Sync(ctx context.Context, mailbox string, since, now Version, known *UIDSet, emit func(Delta) error) (Version, error)

	// Bodies fetches whole messages and calls got for each that arrived whole, in any order, possibly from several
	// goroutines at once. A message that is not there any more is left out without an error; one that the server refuses
	// is an error after the others. got owns the bytes. ErrStale: the mailbox has another UIDVALIDITY by now.
	Bodies(ctx context.Context, at Place, uids []UID, got func(UID, []byte)) error

	// Piece fetches n bytes of a message from offset off, fewer only at its end, none beyond it. ErrNoMessage and ErrStale
	// as with Bodies; ErrUnsupported where the protocol knows only whole messages.
	Piece(ctx context.Context, at Place, uid UID, off, n int64) ([]byte, error)

	// Header fetches the header fields of one message as in Message.Header. ErrNoMessage: it is gone.
	Header(ctx context.Context, at Place, uid UID) ([]byte, error)

	// Structures tells of messages what parts they have, and their header fields as in Message.Header, as Bodies brings
	// bodies. got owns what it is handed; the numbers of the parts are not set yet. A message whose structure comes in an
	// answer that can't be understood has a nil one: it must be read whole. ErrUnsupported: so must all of them.
	Structures(ctx context.Context, at Place, uids []UID,
		got func(uid UID, structure *Part, header []byte)) error

	// Sections fetches the same sections of several messages, as Bodies brings bodies: got gets them in the order of
	// sections, nil for one that the message does not have. ErrUnsupported: messages must be read whole.
	Sections(ctx context.Context, at Place, uids []UID, sections []Section, got func(UID, [][]byte)) error

	// Decoded fetches the content of one part with its Content-Transfer-Encoding undone (RFC 3516). ErrUnsupported: the
	// server does not do that, or not with this part.
	Decoded(ctx context.Context, at Place, uid UID, number string) ([]byte, error)

	// DecodedSizes tells how many bytes Decoded returns of parts of one message. ErrUnsupported as with Decoded.
	DecodedSizes(ctx context.Context, at Place, uid UID, numbers []string) ([]int64, error)

	// Search returns the messages that a query finds, and the UIDVALIDITY that the mailbox has now. ErrUnsupported: the
	// protocol has no search, or the server not this one.
	Search(ctx context.Context, mailbox string, q Query) (uint32, *UIDSet, error)

	// Quota tells how much the account holds and may hold, in bytes (RFC 9208). ErrUnsupported: the server does not say.
	Quota(ctx context.Context) (used, limit int64, err error)

	// Stats tells what went over the wire so far.
	Stats() Stats

	// Close ends all connections and waits for the goroutines of the account. Calls under way return ErrClosed.
	Close() error
}

// Stats counts what an account did since it was made.
type Stats struct {
	BytesIn, BytesOut int64 // on the wire, below TLS
	Dials             int64 // connections that were tried
	Connections       int   // connections that are up
	Bodies            int64 // messages fetched whole
}

// Elapsed is the time since t, together with what the machine has slept meanwhile, for which the monotonic clock stands
// still.
func Elapsed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}
