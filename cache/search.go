package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/cache/wait"
	"github.com/mailfs/mailfs/remote"
)

// maxSearches is the number of searches of a mailbox whose results are kept, the latest used ones.
const maxSearches = 64

// Search returns a listing of the messages that fit a query. The server searches. Where it can't search or can't be reached,
// mailfs searches in what it has: headers, and the texts of the messages that were read. A message of which it has too little
// is left out, which is logged. The result is at most Options.Refresh old.
func (m *Mailbox) Search(ctx context.Context, q remote.Query) (*Table, error) {
	m.load()
	return m.searches.Of(fmt.Sprintf("%#v", q)).Get(ctx, m.account.tasks, m.account.options.Refresh, func(ctx context.Context) (*Table, error) {
		validity, found, err := m.account.remote.Search(ctx, m.name, q)
		m.account.contact.Note(err)
		if err == nil && found.Len() == 0 {
			return table.Empty(validity), nil
		}
		if errors.Is(err, remote.ErrUnsupported) || wait.Away(err) {
			m.log.Info("the server does not search, so mailfs searches in what it has of the mailbox", "reason", err)
			return m.searchLocally(ctx, q, wait.Away(err))
		}
		if err != nil {
			return nil, err
		}
		t, err := m.Table(ctx)
		if err == nil && (t.UIDValidity() != validity || t.Lacks(found)) {
			m.table.Expire() // the server knows messages that the listing does not have yet
			t, err = m.Table(ctx)
		}
		if err != nil {
			return nil, err
		}
		if t.UIDValidity() != validity {
			return nil, remote.ErrStale
		}
		return t.Only(func(i int) bool { return found.Contains(t.UID(i)) }), nil
	})
}

// headersAtOnce is the number of headers that are fetched at a time from a server that can't search.
const headersAtOnce = 16

// searchLocally searches in what mailfs has of the mailbox. Headers that it does not have are fetched unless offline is set.
func (m *Mailbox) searchLocally(ctx context.Context, q remote.Query, offline bool) (*Table, error) {
	t, err := m.Table(ctx)
	if err != nil {
		return nil, err
	}
	var candidates []int
	for i := range t.Len() {
		if t.Fits(i, q) {
			candidates = append(candidates, i)
		}
	}
	found := make([]bool, t.Len())
	var undecided atomic.Int64 // messages of which mailfs has too little
	var searching sync.WaitGroup
	perGoroutine := (len(candidates) + headersAtOnce - 1) / headersAtOnce
	for share := range slices.Chunk(candidates, max(perGoroutine, 1)) {
		searching.Go(func() {
			for _, i := range share {
				if ctx.Err() != nil {
					return
				}
				fits, decided := m.contains(ctx, Ref{UIDValidity: t.UIDValidity(), UID: t.UID(i)}, q, offline)
				found[i] = fits
				if !decided {
					undecided.Add(1)
				}
			}
		})
	}
	searching.Wait()
	if n := undecided.Load(); n > 0 {
		m.log.Warn("a search is incomplete: mailfs does not have enough of some messages",
			"messages", len(candidates), "not searched", n)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.Only(func(i int) bool { return found[i] }), nil
}

// contains tells whether a message contains the words of a query. decided is false where mailfs has too little of the message
// to tell; a header that it does not have is fetched unless offline is set.
func (m *Mailbox) contains(ctx context.Context, ref Ref, q remote.Query, offline bool) (fits, decided bool) {
	if len(q.From)+len(q.To)+len(q.Subject)+len(q.Body)+len(q.Text) == 0 {
		return true, true
	}
	header, ok := m.localHeader(ref)
	if !ok && !offline {
		var err error
		header, err = m.header(ctx, ref)
		ok = err == nil
	}
	if !ok {
		return false, false
	}
	return message.Contains(q, header, func() ([]byte, bool) { return m.localText(ref) })
}

// localHeader returns the header of a message as Header does, from memory or disk; false if it is in neither.
func (m *Mailbox) localHeader(ref Ref) ([]byte, bool) {
	if header, ok := m.account.bodies.Get(bodyKey{mailbox: m, ref: ref, header: true}); ok {
		return header, true
	}
	if store := m.account.store; store != nil {
		if header := store.Header(m.name, ref); len(header) > 0 {
			return header, true
		}
	}
	if body, ok := m.localBody(ref); ok {
		return message.RawHeader(body), true
	}
	return nil, false
}

// localText returns the text of a message as Text does, made of what is in memory or on disk; false if that is too little.
func (m *Mailbox) localText(ref Ref) ([]byte, bool) {
	if text, ok := m.account.bodies.Get(m.viewKey(ref, textView)); ok {
		return text, true
	}
	if text, ok := m.readView(ref, textView); ok {
		return text, true
	}
	body, ok := m.localBody(ref)
	if !ok {
		return nil, false
	}
	found, err := message.ParseStructure(body)
	if err != nil {
		return nil, false
	}
	if _, _, err := message.TextSections(found.Root); err != nil {
		return nil, false
	}
	return message.Text(found.Header, found.Root, found.Message.Section), true
}
