package disk

import (
	"encoding/binary"
	"hash/crc32"
)

// trailerLength is the length in bytes of a trailer: trailerMagic, hash of the mailbox, UIDVALIDITY, UID, length of the body,
// CRC-32C of the body, CRC-32C of the trailer up to here. Numbers are big endian.
const trailerLength = 8 + 8 + 4 + 8 + 8 + 4 + 4

// trailer returns the trailer of a body of a length, in bytes, and a checksum.
func (k Key) trailer(length int64, sum uint32) []byte {
	t := append(make([]byte, 0, trailerLength), trailerMagic...)
	t = append(t, k.mailbox[:]...)
	t = binary.BigEndian.AppendUint32(t, k.ref.UIDValidity)
	t = binary.BigEndian.AppendUint64(t, uint64(k.ref.UID))
	t = binary.BigEndian.AppendUint64(t, uint64(length))
	t = binary.BigEndian.AppendUint32(t, sum)
	return binary.BigEndian.AppendUint32(t, crc32.Checksum(t, castagnoli))
}
