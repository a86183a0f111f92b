// Package cache is what mailfs knows of mail accounts: the mailboxes, the listing of each, and messages. It answers from what
// it has, or asks package remote and keeps the answer. It is coordination: who asks, who waits, and what is fetched. What
// needs none of that lies below it: what a message says (message), listings as values (table), what outlives the process
// (disk), what is in memory (memory), who may read a body (lease), waiting (wait), and how far to read ahead (walk).
//
// It promises:
//   - The bytes of a message never change: a reader gets all of them as the server has them, or an error.
//   - What several callers ask for at once is fetched once. A fetch belongs to the cache: a caller that goes away leaves it to
//     the others and to the next.
//   - Every wait ends: when the caller's context does, or when the server was silent for Options.Timeout.
//   - Where the server can't be reached, what is known is the answer. "Can't be had now" is never kept as "is not there".
//   - A message or a listing that a caller was given is on disk, where there is a store: it is there after kill -9.
//   - The memory of a message is used again only when nobody can read from it any more (package lease).
//
// # How things go
//
// A listing (ls): Mailbox.Table answers from the table if it is younger than Options.Refresh. Else one task synchronises
// (sync.go): it asks the server for what has changed, makes the next table of it, puts that in place, tells of the change,
// and writes it to the store. A caller that has an older table waits for news of it for seconds only. Account.ListAhead has
// the mailboxes that come next synchronised together.
//
// A message (cat): Mailbox.Bytes first tells package walk, which may have others fetched ahead. A large message goes on piece
// by piece (pieces.go). Any other is looked for in memory, then among the fetches under way; if it is in neither, a fetch is
// added to these and a task sends it (fetch.go), together with others if a command is under way already. The task looks on
// disk, then asks the server; what comes is queued for the disk, added to memory, and handed to all that wait. The reader
// waits until it is on disk, too.
//
// A walk (cp -r): each step has the next messages fetched in batches, with the priority Readahead (fetchahead.go). On a long
// walk they are written to disk and then pushed to the kernel (push.go), which answers the reader by itself; one message of
// each step, the probe, is left to be asked for, so that the walk is seen to go on.
//
// # Locks
//
// Nothing is read, written or waited for while one of these is held, except where it is said. A lock may be taken while those
// to its left are held:
//
//	largeReads.mu → inflight.mu → memory.Bodies.mu, wait.Tasks.mu
//	sizes.Corrections, listAhead.mu, walk.ConsecutiveMailboxes → wait.Value → wait.Tasks.mu
//	walk.ConsecutiveMailboxes → walk.Walks
//
//	inflight.mu      of a mailbox: the fetches under way, and who has a lease of what they bring
//	largeReads.mu    of a mailbox: the large messages that are read in pieces
//	sizes.Corrections of a mailbox: sizes that the server announced wrongly; a new table is put in place under it
//	Mailbox.saving   held while the table is written to the store; only tasks take it, no reader waits for it
//	wait.Values      of a mailbox: which searches are remembered
//	listAhead.mu     of an account: which mailboxes come next
//	changes.mu       of an account: held while one change is told, by a function that must not wait
//	Account.mu       of an account: its mailboxes by name
//	wait.Value       one listing, the list of mailboxes, the quota, or one search; not held while it is loaded
//	wait.Tasks.mu    of an account: that no goroutine begins after it was closed
//	walk.Walks       of a mailbox, one each for messages, texts and parts: how far its readers are
//	walk.ConsecutiveMailboxes   of an account: the mailbox that was read last
//	memory.Bodies.mu what is in memory, of all accounts
//
// Package disk has its own, which are taken with none of these held but for Mailbox.saving.
//
// # Goroutines
//
// All that an account does runs in its tasks (wait.Tasks): fetches, synchronisations, writes to the index, and for as long as
// it is open the pushes and the prefetch. Account.close ends their context, then closes remote.Account, which ends the
// calls that wait for the server, and waits for all tasks. Goroutines beside the tasks are one that sends a batch a
// millisecond later (batchLocked), and helpers that a task waits for or cancels before it ends. Package disk writes files in
// a goroutine of its own, which Cache.Close ends last.
package cache
