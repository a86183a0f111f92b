package disk

import "context"

// job is a body that is to be written.
type job struct {
	key  Key
	body []byte
	then func() // called when the body is written, or can't be; nil is nothing. It must not wait for anything.
}

func (j job) weight() int64 { return min(int64(len(j.body)), queueBytes) }

// What may wait to be written: writing is quicker than a network, but not than a server on the same machine.
const (
	queueBytes = 8 << 20
	queueFiles = 1024
)

// writeQueued writes what is queued, until Close.
func (b *Bodies) writeQueued() {
	var dir openDir
	defer dir.close()
	for j := range b.queue {
		b.writeIn(&dir, j.key, j.body)
		b.mu.Lock()
		close(b.pending[j.key])
		delete(b.pending, j.key)
		b.mu.Unlock()
		b.queued.Release(j.weight())
		if j.then != nil {
			j.then()
		}
	}
}

// Put has a body written soon. It waits while too much is to be written already. A caller that tells readers of the body does
// so after Put, since a reader waits with Await until the body is written.
func (b *Bodies) Put(ctx context.Context, k Key, body []byte) {
	if write := b.Promise(ctx, k, body, nil); write != nil {
		write()
	}
}

// Promise is Put in two steps: Await waits for the body from now on, and the caller must call write, which has it written. When
// the body is written, or could not be, then is called, which must not wait for anything. write is nil if ctx has ended, or if
// the body is to be written already; then is not called in that case.
func (b *Bodies) Promise(ctx context.Context, k Key, body []byte, then func()) (write func()) {
	j := job{key: k, body: body, then: then}
	if b.queued.Acquire(ctx, j.weight()) != nil {
		return nil
	}
	b.mu.Lock()
	_, twice := b.pending[k]
	if !twice {
		b.pending[k] = make(chan struct{})
	}
	b.mu.Unlock()
	if twice {
		b.queued.Release(j.weight())
		return nil
	}
	return func() { b.queue <- j }
}

// Await waits until a body is written, if it is to be written: what a reader was given is there after the next kill -9.
func (b *Bodies) Await(ctx context.Context, k Key) {
	b.mu.Lock()
	pending := b.pending[k]
	b.mu.Unlock()
	if pending == nil {
		return
	}
	select {
	case <-pending:
	case <-ctx.Done():
	}
}

// Close writes what is still to be written. Nothing may be put any more.
func (b *Bodies) Close() {
	b.closing.Do(func() { close(b.queue) })
	b.writer.Wait()
}

// Write writes a body, in place of those that were not read for the longest time. Nothing is written to a disk that is full.
func (b *Bodies) Write(k Key, body []byte) {
	var dir openDir
	defer dir.close()
	b.writeIn(&dir, k, body)
}

func (b *Bodies) writeIn(dir *openDir, k Key, body []byte) {
	if b.reserve(k, int64(len(body))+trailerLength, true) {
		b.written(k, dir.keep(k, body))
	}
}
