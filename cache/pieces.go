package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// Large messages are read in pieces: a reader of the first lines of 50 MB waits for one piece, a reader that goes on has runs
// of pieces fetched ahead.
const (
	largeMessage  = 1 << 20 // bytes; a smaller message is fetched whole
	maxLargeReads = 4       // large messages of a mailbox whose reading is remembered
)

// largeRead is a large message that is being read.
type largeRead struct {
	ref    Ref
	pieces walk.Pieces
	file   *disk.PartialFile // what becomes the message on disk; nil before the first piece, and where nothing is kept
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
	r := &largeRead{ref: ref, pieces: walk.NewPieces(walking)}
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

// large returns the size of a message that is to be read in pieces; 0 for a message that is small, or that is in memory, on
// disk or on its way as a whole.
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
	if size < largeMessage || m.account.bodies.Has(key) {
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

// fromPieces returns n bytes of a large message from offset off; fewer only at its end.
func (m *Mailbox) fromPieces(ctx context.Context, ref Ref, size, off, n int64) ([]byte, error) {
	var data []byte
	for n > 0 {
		piece, err := m.piece(ctx, ref, size, uint32(off/walk.PieceSize)+1)
		if err != nil {
			return nil, err
		}
		start := min(off%walk.PieceSize, int64(len(piece)))
		part := piece[start:min(start+n, int64(len(piece)))]
		if data == nil {
			data = part[:len(part):len(part)] // mostly this is all
		} else {
			data = append(data, part...)
		}
		off, n = off+int64(len(part)), n-int64(len(part))
		if len(piece) < walk.PieceSize {
			break
		}
	}
	return data, nil
}

// piece returns one piece, and has those fetched that its reader will come to.
func (m *Mailbox) piece(ctx context.Context, ref Ref, size int64, number uint32) ([]byte, error) {
	key := bodyKey{mailbox: m, ref: ref, piece: number}
	last := max(uint32((size-1)/walk.PieceSize)+1, number)
	m.larges.mu.Lock()
	r, oldest := m.larges.ofLocked(ref, m.walks.Walking())
	m.inflight.mu.Lock()
	missing := func(n uint32) bool { return m.inflight.missingLocked(bodyKey{mailbox: m, ref: ref, piece: n}) }
	for run := range r.pieces.Step(number, last, missing) {
		m.fetchPiecesLocked(r, size, run)
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
	if piece, ok := m.account.bodies.Get(key); ok {
		return piece, nil
	}
	return m.piece(ctx, ref, size, number) // memory had no room for it any more
}

// giveUp gives a file up, in a task: its writer may have to wait for the disk. nil is no file.
func (m *Mailbox) giveUp(file *disk.PartialFile) {
	if file != nil && !m.account.tasks.Run(func(context.Context) { file.Abandon() }) {
		file.Abandon()
	}
}

// fetchPiecesLocked begins to fetch a run of pieces with one command. m.larges and m.inflight are locked.
func (m *Mailbox) fetchPiecesLocked(r *largeRead, size int64, run walk.Run) {
	a, from, to, prio := m.account, run.From, run.To, remote.Foreground
	if run.Ahead {
		prio = remote.Readahead
	}
	fetches := map[bodyKey]*fetch{}
	if r.file == nil && from == 1 && a.store != nil { // before any piece comes: they may come in any order
		r.file = a.disk.NewPartialFile(a.diskKey(m, r.ref), size, walk.PieceSize)
	}
	for n := from; n < to; n++ {
		key := bodyKey{mailbox: m, ref: r.ref, piece: n}
		fetches[key] = m.inflight.startLocked(key)
	}
	running := a.tasks.Run(func(ctx context.Context) {
		off, n := int64(from-1)*walk.PieceSize, int64(to-from)*walk.PieceSize
		data, err := m.askPiece(ctx, m.at(r.ref.UIDValidity, prio), r.ref.UID, size, off, n)
		a.contact.Note(err)
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
		pieces := make([][]byte, to-from)
		for i := range pieces {
			pieces[i] = data[:min(walk.PieceSize, len(data))]
			data = data[len(pieces[i]):]
			key := bodyKey{mailbox: m, ref: r.ref, piece: from + uint32(i)}
			m.inflight.finish(key, fetches[key], pieces[i], err)
		}
		if err == nil {
			for i, piece := range pieces { // now that no reader waits for one: the disk may be slow
				m.fill(r, from+uint32(i), piece)
			}
		}
	})
	if !running {
		m.inflight.failLocked(fetches, remote.ErrClosed)
	}
}

// askPiece asks the server for n bytes of a message from offset off on, where size is the size of the message as far as is
// known. Less than that is the end of the message only where the size says so, or where the server sends nothing behind it:
// some servers send at most so many bytes at a time.
func (m *Mailbox) askPiece(ctx context.Context, at remote.Place, uid remote.UID, size, off, n int64) ([]byte, error) {
	data, err := m.account.remote.Piece(ctx, at, uid, off, n)
	for err == nil {
		got := int64(len(data))
		if got >= n || off+got == size || got == 0 && off > size {
			return data, nil
		}
		var more []byte
		if more, err = m.account.remote.Piece(ctx, at, uid, off+got, n-got); err != nil {
			break
		}
		if len(more) == 0 {
			if got == 0 && off == 0 {
				return nil, fmt.Errorf("UID %d in %q: %w", uid, at.Mailbox, errEmpty)
			}
			return data, nil
		}
		data = append(data[:got:got], more...)
	}
	return nil, err
}

// fill writes a piece to disk, where the pieces become the message.
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

// sizeFromEnd finds the size of a large message by fetching its end. A message that does not end where it was announced to
// is fetched whole.
func (m *Mailbox) sizeFromEnd(ctx context.Context, ref Ref, size int64) (int64, error) {
	end, err := m.account.remote.Piece(ctx, m.at(ref.UIDValidity, remote.Foreground), ref.UID, size-1, endBytes)
	if err != nil {
		return 0, err
	}
	n := int64(len(end))
	if 1 < n && n < endBytes { // more than was announced, and perhaps not all of that
		more, err := m.account.remote.Piece(ctx, m.at(ref.UIDValidity, remote.Foreground), ref.UID, size-1+n, 1)
		if err != nil {
			return 0, err
		}
		if len(more) > 0 {
			n = endBytes
		}
	}
	if 0 < n && n < endBytes {
		m.verify(ref, size-1+n)
		return size - 1 + n, nil
	}
	body, err := m.getToKeep(ctx, bodyKey{mailbox: m, ref: ref})
	return int64(len(body)), err
}
