// Package disk is what outlives the process: for each account a Store, with an index (a bbolt database that holds the
// mailboxes, their tables, header fields and what is known of views), and Bodies, the files of messages and of views that all
// stores share a budget for. docs/store.md describes the form of the files.
//
// A store is a convenience. What is damaged in it counts as missing, and is fetched again; a write that fails is logged, and
// reading goes on. The package knows no server and no mailbox beyond its name: package cache decides what is kept.
//
// # Locks
//
// Nothing is read, written or waited for while one of these is held, except where it is said:
//
//	PartialFile.mu   the pieces of one large message; held while a piece is written, so only writers take it
//	Bodies.making    held while files are removed to make room for another, so only writers take it
//	Bodies.mu        which files there are, and which are being written or removed
//	Store.roomMu     how much may be written before the system is asked again; held while it is asked, by writers only
//	Store.mu         which database is in use
//	pendingViews.mu  what is to be written of views; held while the goroutine that will write it is begun
//
// They are taken in this order: PartialFile.mu before Bodies.making, Bodies.mu or Store.roomMu, and Bodies.making before
// Bodies.mu. Store.mu and pendingViews.mu are taken with none of them held. Readers take Bodies.mu, Store.mu and
// pendingViews.mu only. bbolt has locks of its own; no lock of this package is held in a transaction.
//
// # Goroutines
//
// NewBodies starts one that writes files, which Bodies.Close ends. HeaderWriter and SaveViewSoon write in goroutines that the
// caller's Run begins and waits for. All else runs on the caller's.
package disk
