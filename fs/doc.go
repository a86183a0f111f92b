// Package fs shows mail accounts as a tree of directories: go-fuse nodes over package cache. It does no network and no
// disk I/O itself. It asks the cache, and tells the kernel of the changes that the cache reports.
//
// # The tree
//
//	/                                where several accounts are mounted: root; else that account's directory
//	/.mailfs/status.json             statusDir, viewFile
//	/ACCOUNT/FOLDER/                 directory, directory: an account, a folder, which is a mailbox or holds folders, or both
//	.../DATE_FROM_SUBJECT_UID.eml    message
//	.../.text/NAME.txt               texts, viewFile
//	.../.parts/NAME/PART             parts, messageParts, viewFile
//	.../.search/QUERY/               searches, found; in it messages, and folders of the same kind
//
// .mailfs, .text, .parts and .search are found, but never listed: a program that walks the tree meets each message once.
//
// # The life of a node
//
// A node is made when the kernel looks up its name, and dropped when the kernel forgets it. Only the root and the
// directories of accounts live as long as the mount. Nodes hold no state that can't be made again: a directory knows its
// path, a message its mailbox, UIDVALIDITY and UID. Inode numbers are hashes of these, see inode.go.
//
// # What the kernel keeps
//
// Names and attributes are kept for an hour, since mailfs tells the kernel of every change. Nobody tells it of changes in
// views: there it keeps names for 10 seconds. That a name does not exist is kept for one second. Attributes are
// not kept at all while a size is uncertain. A listing is kept until the directory changes; see
// directory.OpendirHandle for the exceptions. The bytes of a file never change, so the kernel keeps them as long as it has
// room.
//
// Once the sizes that the servers announce have proved to be right, open(2) is answered by ENOSYS: from then on the
// kernel opens every file of the mount without asking, see message.mayOpen. If a size is wrong after that, it is
// corrected while the file is read, see message.bytes.
//
// The cache also pushes bytes into the kernel before anybody reads them, see pushcache.go.
//
// # Who tells the kernel
//
// To forget a name, the kernel waits for everybody who is in its directory, also for a process that waits for an answer of
// mailfs. To take or to forget bytes, it waits for the reads of these bytes that are under way. So neither is ever done by
// a handler, nor under a mutex that a handler takes: names are forgotten by the goroutine of notifier, bytes are pushed by a
// goroutine of the cache. Only to forget attributes the kernel waits for nobody; a handler may have it do so.
//
// # Goroutines
//
// notifier.run and go-fuse's Serve are started by Mount and end when the mount is gone. The goroutine that watches the
// signals of an interrupted request ends with the answer (signal.go). All others are awaited by the function that starts
// them: directory.open, found.hits, node.Statfs.
//
// # Locks
//
// No mutex is held while mailfs waits for the server, for the disk or for another request. They are taken in this order:
//
//	account.mu       before the cache's mutexes, and before notifier.mu
//	mailboxOrder.mu  before inodes.mu
//	directory.mu     before the cache's mutexes; held while the kernel is told to forget attributes
//	file.mu          before none; held while the kernel is told to forget attributes
//	notifier.mu      before none; the cache calls notifier.mailboxChanged under a mutex of its own
//	inodes.mu        before none
package fs
