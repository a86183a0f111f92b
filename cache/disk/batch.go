package disk

import (
	"context"
	"sync"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Run runs a function in a goroutine of the caller's, with a context that ends when the store is about to be closed. It
// returns false when it is closed already.
type Run func(func(context.Context)) bool

// headerBatch is how many header fields are written to the store together.
const headerBatch = 2000

// HeaderWriter writes the header fields of a listing to the store while the listing goes on. It is
// used by one goroutine.
type HeaderWriter struct {
	store   *Store
	mailbox string
	run     Run
	batch   map[remote.UID][]byte
	written chan struct{} // closed when the batch before this one is written
}

// HeaderWriter returns a writer for the listing of a mailbox.
func (s *Store) HeaderWriter(mailbox string, run Run) *HeaderWriter {
	w := &HeaderWriter{store: s, mailbox: mailbox, run: run, batch: map[remote.UID][]byte{}, written: make(chan struct{})}
	close(w.written)
	return w
}

// Add takes the header fields of a message, which are not changed any more.
func (w *HeaderWriter) Add(validity uint32, uid remote.UID, fields []byte) {
	w.batch[uid] = fields
	if len(w.batch) >= headerBatch {
		w.Flush(validity)
	}
}

// Flush begins to write what was added, once the batch before it is written.
func (w *HeaderWriter) Flush(validity uint32) {
	if len(w.batch) == 0 {
		return
	}
	<-w.written
	batch, written := w.batch, make(chan struct{})
	w.batch, w.written = map[remote.UID][]byte{}, written
	if !w.run(func(context.Context) {
		defer close(written)
		w.store.saveHeaders(w.mailbox, validity, batch)
	}) {
		close(written)
	}
}

// viewsTogether is how long SaveViewSoon waits for more views, to write them together.
const viewsTogether = time.Second

// pendingViews are views that are to be written together.
type pendingViews struct {
	mu        sync.Mutex                 // guards byMailbox
	byMailbox map[string]map[View][]byte // nil while nothing is to be written
}

// SaveViewSoon keeps what is known of a view, as saveViews does, together with others.
func (s *Store) SaveViewSoon(mailbox string, v View, value []byte, run Run) {
	p := &s.pendingViews
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byMailbox == nil {
		p.byMailbox = map[string]map[View][]byte{}
		run(func(ctx context.Context) {
			select {
			case <-ctx.Done():
			case <-time.After(viewsTogether):
			}
			p.mu.Lock()
			pending := p.byMailbox
			p.byMailbox = nil
			p.mu.Unlock()
			for mailbox, views := range pending {
				s.saveViews(mailbox, views)
			}
		})
	}
	if p.byMailbox[mailbox] == nil {
		p.byMailbox[mailbox] = map[View][]byte{}
	}
	p.byMailbox[mailbox][v] = value
}
