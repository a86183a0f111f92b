// Package identity decides which message an identifier means, and whether what is kept under it belongs to that message.
//
// A server may give an identifier to another message once the first is gone: a POP3 unique-id (RFC 1939, section 7), a UID of
// a mailbox that was restored, a UIDVALIDITY that was in use before. What is kept under the identifier then belongs to a
// message that is not there any more. So the views of a message that leaves the listing leave the disk, and its body is compared
// with the message that is listed under the same identifier next. What is in memory serves those that have the first message
// open until then, and is dropped. table.Ref.Holder says which of the messages a reader means.
package identity

import (
	"context"
	"log/slog"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Kept is what is kept of a mailbox on disk, and what decides whose it is.
type Kept struct {
	Holders Holders

	Name  string
	Hash  disk.Hash
	Role  remote.Role
	Log   *slog.Logger
	Disk  *disk.Bodies
	Store *disk.Store // nil where nothing is kept
	// Pinned says that the account keeps what its server drops, so that it can't be fetched again.
	Pinned bool
	// Wrong tells whether the server has announced wrong sizes, so that a size proves nothing.
	Wrong func() bool
	// InMemory returns a message that is in memory.
	InMemory func(table.Ref) ([]byte, bool)
	// Views are the names of views whose files are removed even where the index knows nothing of them, ViewHash the name under
	// which a view has its files.
	Views    []string
	ViewHash func(name string) disk.Hash
}

// ForgetViews removes the views of messages from the store.
func (k *Kept) ForgetViews(validity uint32, uids *remote.UIDSet) {
	if k.Store == nil || uids.Len() == 0 {
		return
	}
	names := k.Store.ForgetViews(k.Name, validity, uids)
	for _, name := range k.Views { // in case that the index is a new one
		names[name] = true
	}
	for name := range names {
		k.Disk.ForgetSome(k.Store, k.ViewHash(name), validity, uids)
	}
}

// sameBody tells whether a body is that of a message that is listed: the header fields of the listing and the size agree. A
// size proves nothing where the server announces wrong ones. A message without a Message-ID is in doubt, and is another one
// where it can be fetched again.
func (k *Kept) sameBody(body []byte, msg *remote.Message) bool {
	same, sure := message.SameFields(message.RawHeader(body), msg.Header)
	return same && (sure || k.Pinned) && (int64(len(body)) == msg.Size || k.Wrong())
}

// sameListed tells whether a message is the one that an older table has under its UID. Without its header fields, which are in
// the store or in memory with the body, that is not known.
func (k *Kept) sameListed(old *table.Table, ref table.Ref, msg *remote.Message) bool {
	e, _ := old.Find(ref.UID)
	name, date := message.Name(msg, k.Role)
	if e.Name != name || e.Time.Unix() != date.Unix() || e.Size != msg.Size && !k.Wrong() {
		return false
	}
	if body, ok := k.InMemory(ref); ok {
		return k.sameBody(body, msg)
	}
	if k.Store == nil {
		return false
	}
	header := k.Store.Header(k.Name, ref)
	_, sure := message.SameFields(header, msg.Header)
	return sure
}

// Write has the body that a fetch brought written to disk, unless the UID was given to another message meanwhile.
func (k *Kept) Write(ctx context.Context, ref table.Ref, holder uint32, body []byte) {
	key := k.Store.Key(k.Hash, ref)
	k.Disk.Put(ctx, key, body)
	if k.Holders.Of(ref.UID) != holder {
		k.Disk.Await(ctx, key)
		k.Disk.Remove(key)
	}
}
