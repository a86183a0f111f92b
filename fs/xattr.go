package fs

import (
	"context"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/hanwen/go-fuse/v2/fuse"

	mail "github.com/mailfs/mailfs/cache/message"
)

// userPrefix begins the names of the attributes that are meant for users. All others (security.*, system.*, trusted.*) are
// refused as not supported, not as absent: programs then stop asking for each file, which makes ls -l nine times as fast.
const userPrefix = "user."

// attributeNames are the extended attributes of a message, as listxattr(2) returns them. All messages have all of
// them, some empty, so that listing them costs nothing.
const attributeNames = "user.mail.subject\x00user.mail.from\x00user.mail.to\x00user.mail.date\x00" +
	"user.mail.message-id\x00user.mail.flags\x00user.mail.uid\x00"

// attributeFields are the header fields that attributes show.
var attributeFields = map[string]string{
	"user.mail.subject": "Subject", "user.mail.from": "From", "user.mail.to": "To", "user.mail.date": "Date",
	"user.mail.message-id": "Message-ID",
}

// maxAttribute is the longest value in bytes that Linux takes.
const maxAttribute = 64 << 10

// Getxattr answers for all nodes that have no attributes: all but messages.
func (n *node) Getxattr(_ context.Context, name string, _ []byte) (uint32, syscall.Errno) {
	return 0, noAttribute(name)
}

// noAttribute is the answer to a request for an attribute that does not exist.
func noAttribute(name string) syscall.Errno {
	if !strings.HasPrefix(name, userPrefix) {
		return syscall.ENOTSUP
	}
	return syscall.Errno(fuse.ENOATTR)
}

func (m *message) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return copyValue(attributeNames, dest)
}

func (m *message) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	switch field := attributeFields[name]; {
	case field != "":
		raw, err := m.mailbox.Header(ctx, m.ref)
		if err != nil {
			return 0, m.errno("reading the header of", err)
		}
		value, _ := mail.ParseHeader(raw).Text(field)
		return copyValue(value, dest)
	case name == "user.mail.flags", name == "user.mail.uid":
		t := m.mailbox.Known()
		if gone(m.mailbox, m.ref) || t == nil {
			return 0, syscall.ESTALE
		}
		i := t.Index(m.ref.UID)
		if i < 0 {
			return 0, syscall.ESTALE
		}
		if name == "user.mail.flags" {
			return copyValue(strings.Join(t.Flags(i), " "), dest)
		}
		key := strings.TrimSuffix(t.At(i).Name, mail.Suffix)
		return copyValue(key[strings.LastIndexByte(key, '_')+1:], dest)
	default:
		return 0, noAttribute(name)
	}
}

// copyValue copies a value as getxattr(2) and listxattr(2) return it. It returns the length also where dest has no room.
func copyValue(value string, dest []byte) (uint32, syscall.Errno) {
	if len(value) > maxAttribute {
		end := maxAttribute
		for !utf8.RuneStart(value[end]) {
			end--
		}
		value = value[:end]
	}
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}
