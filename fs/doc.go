// Package fs shows mail accounts as a tree of directories: go-fuse nodes over package cache. It does no network and no
// disk I/O itself. It asks the cache, and tells the kernel of the changes that the cache reports.
//
// # The tree
//
//	/                      root; a mount of one account has its directory here
//	    .mailfs/           statusDir
//	        status.json    viewFile
//	    ACCOUNT/           directory
//	        FOLDER/        directory, which holds folders, and messages where it is a mailbox
//	            NAME.eml   message
//	            .text/     texts
//	                NAME.txt   viewFile
//	            .parts/    parts
//	                NAME/  messageParts
//	                    PART   viewFile
//	            .search/   searches, also in ACCOUNT
//	                QUERY/ found, which holds messages, and below ACCOUNT folders like it
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
// The kernel keeps names and attributes for an hour, since mailfs tells it of every change. Only of changes in views mailfs
// does not tell it: there it keeps names for 10 seconds. It keeps for one second that a name does not exist, and does not
// keep the attributes of a file whose size is uncertain. It keeps a listing until the directory changes; for exceptions see
// directory.OpendirHandle. The bytes of a file never change, so it keeps them as long as it has room.
//
// Once the sizes that the servers announce have proved to be right, mailfs answers a request to open a file by ENOSYS. From
// then on the kernel opens every file of the mount without asking, see message.mayOpen. A size that turns out to be wrong
// after that is corrected while the file is read, see message.bytes.
//
// The cache also pushes bytes into the kernel before anybody reads them, see pushcache.go.
//
// # Who tells the kernel
//
// To forget a name, the kernel waits for everybody who is in its directory, also for a process that waits for an answer of
// mailfs. To take or to forget bytes, it waits for the reads of these bytes that are under way. So neither is ever done by
// a handler, nor under a mutex that a handler takes: names are forgotten by the goroutine of notifier, bytes are pushed by a
// goroutine of the cache. To forget attributes, the kernel waits for nobody, so a handler may have it do that.
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
