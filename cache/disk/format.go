package disk

// The versions of what is on disk. Each is raised when older code would misread what is written now.
const (
	// indexFormat is the version of the index as a whole: its buckets, keys and values, see index.go and package table. A
	// store with a higher one is refused (ErrNewer), so that going back to an older mailfs loses nothing. When it is
	// raised, openIndex has to convert an index with a lower one.
	indexFormat = 1
	// viewVersion is the version of what is made of a message and kept in the index: parts, and sizes of views. It is part of
	// the keys, so a value of another version is not found, and is made again. It is raised when the same message would give
	// other parts or another size.
	viewVersion = 1
	// trailerMagic begins the trailer of a body's file, and its last byte is the version of the trailer. A file with
	// another one counts as damaged: it is removed, and the message is fetched again.
	trailerMagic = "mailfs\x00\x01"
)

// Files of a store.
const (
	labelFile    = "account"  // Options.Label and a newline
	holderFile   = "holder"   // locked while a process uses the store, and says which
	indexFile    = "index.db" // the index
	damagedEnd   = ".damaged" // follows indexFile in the name of a damaged index
	bodiesDir    = "bodies"   // MAILBOX-HASH/UIDVALIDITY/UID below it
	tempEnd      = ".new"     // follows UID while the file is being written
	partialNames = "new-*"    // names of large messages that have not come in full
)

// Buckets and keys of an index.
//
//	account            "format", "mailboxes"
//	mailbox:NAME       "state", and three buckets:
//	  rows             number of a segment of the table -> its messages
//	  headers          UID -> header fields
//	  views            UID, viewVersion and name of a view -> what is known of it
//
// A UID in a key is UIDVALIDITY (4 bytes) and UID (8 bytes), big endian. Every value ends in a checksum over key and value.
var (
	accountBucket = []byte("account")
	rowsBucket    = []byte("rows")
	headersBucket = []byte("headers")
	viewsBucket   = []byte("views")
	formatKey     = []byte("format")
	mailboxesKey  = []byte("mailboxes")
	stateKey      = []byte("state")
)

const mailboxPrefix = "mailbox:"

func mailboxBucket(name string) []byte { return []byte(mailboxPrefix + name) }
