package cache

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/remote"
)

// Large messages are read in pieces: who looks at the first lines of 50 MB waits for one piece. Who reads on gets runs of
// pieces ahead of him.
const (
	largeMessage  = 1 << 20   // bytes; a smaller one is fetched whole
	pieceSize     = 256 << 10 // bytes; what the kernel asks for at a time lies within one
	runPieces     = 4         // pieces of one command
	maxLargeReads = 4         // large messages of a mailbox that are being read, as far as is remembered
)

// piecesAhead is how many pieces ahead of a reader are fetched after so many steps from piece to piece.
func piecesAhead(steps int) uint32 {
	switch {
	case steps < 1:
		return 0
	case steps < 3:
		return runPieces
	default:
		return 4 * runPieces
	}
}

// largeRead is a large message that is being read.
type largeRead struct {
	ref   Ref
	last  uint32            // piece that was read last
	steps int               // from one piece to the next
	file  *disk.PartialFile // what becomes the message on disk; nil if nothing does
}

// largeReads are the large messages of a mailbox that are being read.
type largeReads struct {
	mu    sync.Mutex   // guards what follows, and what is in it
	reads []*largeRead // the one read last first
}

// ofLocked returns what is known of the reading of a message, and the file of the reading that had to make room for it, which
// the caller gives up after it has unlocked mu; nil if none had to. walking: the reader walks through the mailbox, and will
// read the message to its end, as cp -r does.
func (l *largeReads) ofLocked(ref Ref, walking bool) (reading *largeRead, oldest *disk.PartialFile) {
	i := slices.IndexFunc(l.reads, func(r *largeRead) bool { return r.ref == ref })
	r := &largeRead{ref: ref}
	if walking {
		r.steps = 3
	}
	if i >= 0 {
		r = l.reads[i]
		l.reads = slices.Delete(l.reads, i, i+1)
	} else if len(l.reads) == maxLargeReads {
		oldest = l.reads[maxLargeReads-1].file
		l.reads = l.reads[:maxLargeReads-1]
	}
	l.reads = slices.Insert(l.reads, 0, r)
	return r, oldest
}

// step notes that a piece is read.
func (r *largeRead) step(number uint32) {
	switch number {
	case r.last:
	case r.last + 1:
		if r.last > 0 {
			r.steps++
		}
	default:
		r.steps = 0
	}
	r.last = number
}

// large returns the size of a message that is to be read in pieces; 0 for one that is small, here whole, or on its way.
func (m *Mailbox) large(ref Ref) int64 {
	t := m.Known()
	if t == nil || t.UIDValidity() != ref.UIDValidity || m.account.noPieces.Load() {
		return 0
	}
	i := t.Index(ref.UID)
	if i < 0 {
		return 0
	}
	size := t.Size(i)
	key := bodyKey{mailbox: m, ref: ref}
	if size < largeMessage || m.account.bodies.has(key) {
		return 0
	}
	m.inflight.mu.Lock()
	coming := m.inflight.fetches[key] != nil
	m.inflight.mu.Unlock()
	if coming || m.account.store != nil && m.account.disk.Has(m.account.diskKey(m, ref)) {
		return 0
	}
	return size
}

// fromPieces returns bytes of a large message.
func (m *Mailbox) fromPieces(ctx context.Context, ref Ref, size, off, n int64) ([]byte, error) {
	var data []byte
	for n > 0 {
		piece, err := m.piece(ctx, ref, size, uint32(off/pieceSize)+1)
		if err != nil {
			return nil, err
		}
		start := min(off%pieceSize, int64(len(piece)))
		part := piece[start:min(start+n, int64(len(piece)))]
		if data == nil {
			data = part[:len(part):len(part)] // which mostly is all
		} else {
			data = append(data, part...)
		}
		off, n = off+int64(len(part)), n-int64(len(part))
		if len(piece) < pieceSize {
			break
		}
	}
	return data, nil
}

// piece returns one piece, and has those fetched that a reader will come to.
func (m *Mailbox) piece(ctx context.Context, ref Ref, size int64, number uint32) ([]byte, error) {
	key := bodyKey{mailbox: m, ref: ref, piece: number}
	last := max(uint32((size-1)/pieceSize)+1, number)
	m.larges.mu.Lock()
	r, oldest := m.larges.ofLocked(ref, m.walks.Walking())
	r.step(number)
	m.inflight.mu.Lock()
	end := min(number+piecesAhead(r.steps), last) + 1
	for from := number; from < end; {
		to := from
		for to < end && to < from+runPieces && m.inflight.missingLocked(bodyKey{mailbox: m, ref: ref, piece: to}) {
			to++
		}
		switch {
		case to == from:
			from++
			continue
		case from == number:
			m.fetchPiecesLocked(remote.Foreground, r, size, from, to)
		case to == from+runPieces || to == last+1: // else wait until it is a whole run
			m.fetchPiecesLocked(remote.Readahead, r, size, from, to)
		}
		from = to
	}
	f := m.inflight.fetches[key]
	m.inflight.mu.Unlock()
	m.larges.mu.Unlock()
	m.giveUp(oldest)
	if f != nil {
		if err := m.account.tasks.Wait(ctx, &f.Result); err != nil {
			return nil, err
		}
		return f.Body, nil
	}
	if piece, ok := m.account.bodies.get(key); ok {
		return piece, nil
	}
	return m.piece(ctx, ref, size, number) // it had to go in between
}

// giveUp gives a file up on the account's own time: whoever writes to it may have to wait for the disk.
func (m *Mailbox) giveUp(file *disk.PartialFile) {
	if file != nil && !m.account.tasks.Run(func(context.Context) { file.Abandon() }) {
		file.Abandon()
	}
}

// fetchPiecesLocked begins to fetch the pieces from..to-1 with one command. m.larges and m.inflight are locked.
func (m *Mailbox) fetchPiecesLocked(prio remote.Priority, r *largeRead, size int64, from, to uint32) {
	a := m.account
	fetches := map[bodyKey]*fetch{}
	if r.file == nil && from == 1 && a.store != nil { // before any piece comes: they may come in any order
		r.file = a.disk.NewPartialFile(a.diskKey(m, r.ref), size, pieceSize)
	}
	for n := from; n < to; n++ {
		key := bodyKey{mailbox: m, ref: r.ref, piece: n}
		fetches[key] = m.inflight.startLocked(key)
	}
	running := a.tasks.Run(func(ctx context.Context) {
		off, n := int64(from-1)*pieceSize, int64(to-from)*pieceSize
		data, err := a.remote.Piece(ctx, m.at(r.ref.UIDValidity, prio), r.ref.UID, off, n)
		a.contact.note(err)
		if errors.Is(err, remote.ErrUnsupported) {
			a.noPieces.Store(true)
		} else if errors.Is(err, remote.ErrStale) || errors.Is(err, remote.ErrNoMessage) {
			m.table.Expire()
		}
		if got := int64(len(data)); err == nil && (got > 0 || from == 1) {
			if got < n || off+got > size { // its end is in here
				m.verify(r.ref, off+got)
			} else if off+got == size {
				m.verify(r.ref, size)
			}
		}
		for n := from; n < to; n++ {
			key := bodyKey{mailbox: m, ref: r.ref, piece: n}
			piece := data[:min(pieceSize, len(data))]
			data = data[len(piece):]
			m.inflight.finish(key, fetches[key], piece, err)
			if err == nil {
				m.fill(r, n, piece)
			}
		}
	})
	if !running {
		m.inflight.failLocked(fetches, remote.ErrClosed)
	}
}

// fill brings a piece to disk, where the pieces become the message.
func (m *Mailbox) fill(r *largeRead, number uint32, piece []byte) {
	a := m.account
	if a.store == nil {
		return
	}
	m.larges.mu.Lock()
	file := r.file
	m.larges.mu.Unlock()
	if file.Put(number, piece) {
		file.Finish()
		m.larges.mu.Lock()
		r.file = nil
		m.larges.mu.Unlock()
	}
}

// endBytes is how many bytes are asked for to find the end of a message.
const endBytes = 64

// sizeFromEnd finds the size of a large message from its end. What is not where it was announced is fetched whole.
func (m *Mailbox) sizeFromEnd(ctx context.Context, ref Ref, size int64) (int64, error) {
	end, err := m.account.remote.Piece(ctx, m.at(ref.UIDValidity, remote.Foreground), ref.UID, size-1, endBytes)
	if err != nil {
		return 0, err
	}
	if n := int64(len(end)); 0 < n && n < endBytes {
		m.verify(ref, size-1+n)
		return size - 1 + n, nil
	}
	body, err := m.getToKeep(ctx, bodyKey{mailbox: m, ref: ref})
	return int64(len(body)), err
}
