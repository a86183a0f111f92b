package remote

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
)

// KeyOfUIDL returns the UID and the Key of a POP3 message with a unique-id (RFC 1939, section 7). The UID is the first 48 bits
// of the SHA-256 of the unique-id. The Key is the unique-id itself where that can stand in a file name, else the UID in 12
// hex digits. [UIDOfKey] leads from either kind of Key back to the UID.
func KeyOfUIDL(uidl string) (UID, string) {
	sum := sha256.Sum256([]byte(uidl))
	uid := max(UID(binary.BigEndian.Uint64(sum[:8])>>16), 1)
	if plain(uidl) {
		return uid, uidl
	}
	return uid, fmt.Sprintf("%012x", uint64(uid))
}

// UIDOfKey returns the UIDs that a Key may stand for, whatever its protocol: the decimal number that it is (IMAP), the number
// that its 12 hex digits are, or the UID of the unique-id that it is (POP3). A message that is found by one of these UIDs may
// be another one: the caller compares its Key.
func UIDOfKey(key string) []UID {
	var uids []UID
	if n, err := strconv.ParseUint(key, 10, 32); err == nil && n > 0 {
		uids = append(uids, UID(n))
	}
	if hashed(key) {
		if n, err := strconv.ParseUint(key, 16, 64); err == nil && n > 0 {
			uids = append(uids, UID(n))
		}
	} else if plain(key) {
		uid, _ := KeyOfUIDL(key)
		uids = append(uids, uid)
	}
	return uids
}

// plain tells whether a unique-id can stand in a file name as it is: it leaves room for the rest of the name, has no character
// with a meaning there ('_' ends the fields of a name, '/' the name), and does not look like a hash.
func plain(uidl string) bool {
	if len(uidl) == 0 || len(uidl) > 24 || hashed(uidl) {
		return false
	}
	for _, b := range []byte(uidl) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case b == '.', b == ',', b == '+', b == '=', b == '@', b == '~', b == '-':
		default:
			return false
		}
	}
	return true
}

// hashed tells whether a Key looks like a hash: 12 hex digits, in upper or lower case.
func hashed(key string) bool {
	if len(key) != 12 {
		return false
	}
	for _, b := range []byte(key) {
		if !('0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F') {
			return false
		}
	}
	return true
}
