package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// maxSearches is how many searches of a mailbox are remembered.
const maxSearches = 64

// searches are what was searched for in a mailbox.
type searches struct {
	mu    sync.Mutex // guards found
	found *simplelru.LRU[string, *refreshed[*Table]]
}

// of returns what is known of a search.
func (s *searches) of(q remote.Query) *refreshed[*Table] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found == nil {
		s.found, _ = simplelru.NewLRU[string, *refreshed[*Table]](maxSearches, nil)
	}
	key := fmt.Sprintf("%#v", q)
	k, ok := s.found.Get(key)
	if !ok {
		k = &refreshed[*Table]{}
		s.found.Add(key, k)
	}
	return k
}

// Search returns the messages that a query finds, as the part of the listing that they are. The server searches. Where it
// can't be reached or can't search, what is kept is searched: headers, and the text of the messages that were read, which
// is logged. The answer is as old as Options.Refresh at most, as that of Table.
func (m *Mailbox) Search(ctx context.Context, q remote.Query) (*Table, error) {
	m.load()
	return m.searches.of(q).get(ctx, m.account, m.account.options.Refresh, func(ctx context.Context) (*Table, error) {
		validity, found, err := m.account.remote.Search(ctx, m.name, q)
		m.account.contact.note(err)
		if err == nil && found.Len() == 0 {
			return table.Empty(validity), nil
		}
		if errors.Is(err, remote.ErrUnsupported) || away(err) {
			m.log.Info("searching what is kept of the mailbox", "because", err)
			return m.searchKept(ctx, q, away(err))
		}
		if err != nil {
			return nil, err
		}
		t, err := m.Table(ctx)
		if err == nil && (t.UIDValidity() != validity || t.Lacks(found)) {
			m.table.expire() // the listing is behind
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

// headersAtOnce is how many headers are asked for at a time of a server that can't search.
const headersAtOnce = 16

// searchKept searches what is known of a mailbox. offline says not to ask the server for headers.
func (m *Mailbox) searchKept(ctx context.Context, q remote.Query, offline bool) (*Table, error) {
	t, err := m.Table(ctx)
	if err != nil {
		return nil, err
	}
	var candidates []int
	for i := range t.Len() {
		if fits(q, t, i) {
			candidates = append(candidates, i)
		}
	}
	found := make([]bool, t.Len())
	var unread atomic.Int64
	var searching sync.WaitGroup
	each := (len(candidates) + headersAtOnce - 1) / headersAtOnce
	for share := range slices.Chunk(candidates, max(each, 1)) {
		searching.Go(func() {
			for _, i := range share {
				if ctx.Err() != nil {
					return
				}
				is, known := m.contains(ctx, Ref{UIDValidity: t.UIDValidity(), UID: t.UID(i)}, q, offline)
				found[i] = is
				if !known {
					unread.Add(1)
				}
			}
		})
	}
	searching.Wait()
	if n := unread.Load(); n > 0 {
		m.log.Warn("a search is incomplete: not all of what it needs is kept", "messages", len(candidates), "not searched", n)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.Only(func(i int) bool { return found[i] }), nil
}

// fits tells whether a message may be one that a query finds, by what a listing tells of it.
func fits(q remote.Query, t *Table, i int) bool {
	e := t.At(i)
	flagged := func(flag string) bool {
		return slices.ContainsFunc(t.Flags(i), func(f string) bool { return strings.EqualFold(f, flag) })
	}
	switch {
	case !q.Since.IsZero() && e.Time.Before(q.Since), !q.Before.IsZero() && !e.Time.Before(q.Before),
		q.Larger > 0 && e.Size <= q.Larger, q.Smaller > 0 && e.Size >= q.Smaller,
		q.Unread && flagged(`\Seen`), q.Flagged && !flagged(`\Flagged`), q.Answered && !flagged(`\Answered`):
		return false
	default:
		return true
	}
}

// contains tells whether a message has in it what a query is looking for, and whether enough of it is kept to tell.
func (m *Mailbox) contains(ctx context.Context, ref Ref, q remote.Query, offline bool) (is, known bool) {
	if len(q.From)+len(q.To)+len(q.Subject)+len(q.Body)+len(q.Text) == 0 {
		return true, true
	}
	raw, ok := m.keptHeader(ref)
	if !ok && !offline {
		header, err := m.Header(ctx, ref)
		raw, ok = header, err == nil
	}
	if !ok {
		return false, false
	}
	h := message.ParseHeader(raw)
	for _, field := range []struct {
		name   string
		values []string
	}{{"From", q.From}, {"To", q.To}, {"Subject", q.Subject}} {
		text, _ := h.Text(field.name)
		if !holdsAll(text, field.values) {
			return false, true
		}
	}
	if !q.NeedsBodies() {
		return true, true
	}
	text, ok := m.keptText(ref)
	_, body, _ := bytes.Cut(text, []byte("\n\n"))
	header := string(message.HeaderText(raw))
	switch {
	case ok:
		return holdsAll(string(body), q.Body) && holdsAll(header+string(body), q.Text), true
	case len(q.Body) == 0 && holdsAll(header, q.Text):
		return true, true
	default:
		return false, false
	}
}

// holdsAll tells whether all parts are in a text, in any case of letters.
func holdsAll(text string, parts []string) bool {
	text = strings.ToLower(text)
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, strings.ToLower(p)) })
}

// keptHeader returns the header of a message, as Header does, without asking the server.
func (m *Mailbox) keptHeader(ref Ref) ([]byte, bool) {
	if header, ok := m.account.bodies.get(bodyKey{mailbox: m, ref: ref, header: true}); ok {
		return header, true
	}
	if index := m.account.index; index != nil {
		if header := index.header(m.name, ref); len(header) > 0 {
			return header, true
		}
	}
	if body, ok := m.localBody(ref); ok {
		return message.RawHeader(body), true
	}
	return nil, false
}

// keptText returns what a message says, as Text does, without asking the server.
func (m *Mailbox) keptText(ref Ref) ([]byte, bool) {
	if text, ok := m.account.bodies.get(m.viewKey(ref, textView)); ok {
		return text, true
	}
	if text, ok := m.readView(ref, textView); ok {
		return text, true
	}
	body, ok := m.localBody(ref)
	if !ok {
		return nil, false
	}
	found, err := parseStructure(body)
	if err != nil {
		return nil, false
	}
	if _, _, err := message.TextSections(found.Root); err != nil {
		return nil, false
	}
	return message.Text(found.Header, found.Root, found.message.Section), true
}
