package fs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/mailfs/mailfs/remote"
)

// Inode numbers are the same after every remount, and within a mailbox they grow with the UID: programs that sort a
// directory by inode number, as find and rm do, read it in the order in which it is listed.
//
//	0 | 31 bits of (account, mailbox, UIDVALIDITY) | 32 bits of UID    a message
//	1 | 15 bits of (account, mailbox, UIDVALIDITY) | 48 bits of UID    a message whose UID has more than 32 bits
//	0 | 31 bits of (account, folder)               | 0                 a directory
//	0 | 31 bits of (account, folder, view)         | 0                 a view
//	0 | 31 bits of (view, mailbox, UIDVALIDITY)    | 32 bits of UID    an entry of .text or .parts, long UIDs as above
//	1 | 15 bits of (account, folder, kind)         | 48 bits of a hash a part of a message, a search
//	1                                                                  the root

// rootInode is the inode number of the root, as FUSE has it.
const rootInode = 1

// inodes gives out the upper parts of inode numbers: a hash of their owner, or the next free number where another owner
// has that hash.
type inodes struct {
	mu     sync.Mutex        // guards what follows
	owners map[uint64]string // by width<<32 | upper part
}

// upper returns the upper part of an owner, which has width bits: not 0, not all ones, and no other owner's.
func (n *inodes) upper(owner string, width int) uint64 {
	sum := sha256.Sum256([]byte(owner))
	last := uint64(1)<<width - 2
	upper := binary.BigEndian.Uint64(sum[:])%last + 1
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.owners == nil {
		n.owners = map[uint64]string{}
	}
	for range last {
		key := uint64(width)<<32 | upper
		if o, taken := n.owners[key]; !taken || o == owner {
			n.owners[key] = owner
			break
		}
		upper = upper%last + 1
	}
	return upper
}

// directory returns the inode number of a folder of an account.
func (n *inodes) directory(account string, path []string) uint64 {
	return n.upper(fmt.Sprintf("directory %q %q", account, path), 31) << 32
}

// message returns the inode number of a message.
func (n *inodes) message(mailbox mailboxInodes, uid remote.UID) uint64 {
	if uid < 1<<32 {
		return mailbox.narrow | uint64(uid)
	}
	return n.upper(mailbox.owner, 15)<<48 | 1<<63 | uint64(uid)&(1<<48-1)
}

// view returns the inode number of a view of a folder of an account.
func (n *inodes) view(name, account string, path []string) uint64 {
	return n.upper(fmt.Sprintf("view %q %q %q", name, account, path), 31) << 32
}

// inView returns what the inode numbers of a view's entries have in common, of one UIDVALIDITY of a mailbox.
func (n *inodes) inView(name, account, mailbox string, validity uint32) mailboxInodes {
	owner := fmt.Sprintf("in view %q %q %q %d", name, account, mailbox, validity)
	return mailboxInodes{validity, owner, n.upper(owner, 31) << 32}
}

// hashed returns the inode number of a thing of a kind in a folder, by its name. There may be too many of a kind to give
// each an upper part: of two things, both may have the same number, which 48 bits make unlikely.
func (n *inodes) hashed(kind, account string, path []string, called string) uint64 {
	sum := sha256.Sum256([]byte(called))
	upper := n.upper(fmt.Sprintf("%s in %q %q", kind, account, path), 15)
	return 1<<63 | upper<<48 | binary.BigEndian.Uint64(sum[:])>>16
}

// mailboxInodes is what the inode numbers of the messages of one UIDVALIDITY of a mailbox have in common.
type mailboxInodes struct {
	validity uint32
	owner    string
	narrow   uint64 // upper part for UIDs of at most 32 bits, shifted into place
}

// mailbox returns what the inode numbers of the messages of one UIDVALIDITY of a mailbox have in common.
func (n *inodes) mailbox(account, mailbox string, validity uint32) mailboxInodes {
	owner := fmt.Sprintf("message %q %q %d", account, mailbox, validity)
	return mailboxInodes{validity, owner, n.upper(owner, 31) << 32}
}
