package remote

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// UIDOfUIDL returns the UID of a POP3 message: the first 48 bits of the SHA-256 of its UIDL, never 0.
func UIDOfUIDL(uidl string) UID {
	sum := sha256.Sum256([]byte(uidl))
	return max(1, UID(binary.BigEndian.Uint64(sum[:])>>16))
}

// hexDigits is how many digits stand for a UIDL that is not fit for a file name.
const hexDigits = 12

// UIDOfKey returns the UIDs that a Message.Key may stand for, which are few: a number is an IMAP UID or a UIDL, 12 hex
// digits are the beginning of a hash or a number.
func UIDOfKey(key string) []UID {
	if key == "" {
		return nil
	}
	uids := make([]UID, 0, 3)
	if n, err := strconv.ParseUint(key, 10, 32); err == nil && n > 0 && key[0] != '0' && key[0] != '+' {
		uids = append(uids, UID(n))
	}
	if len(key) == hexDigits {
		if b, err := hex.DecodeString(key); err == nil {
			uids = append(uids, max(1, UID(binary.BigEndian.Uint64(append([]byte{0, 0}, b...)))))
		}
	}
	return append(uids, UIDOfUIDL(key))
}
