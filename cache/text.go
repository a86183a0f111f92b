package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

// Text returns what a message says: From, To, Cc, Date and Subject, an empty line, the text, and a line for each attachment,
// in UTF-8 with LF. Only the parts that hold text are fetched. The caller must not change it. ErrTooComplex: the message
// is not one that can be dealt with. Errors else as with Bytes.
func (m *Mailbox) Text(ctx context.Context, ref Ref) ([]byte, error) {
	m.account.reads.note()
	m.textsAhead(ref)
	return m.getView(ctx, ref, textView, func(ctx context.Context, f *fetch) {
		m.fetchTexts(ctx, remote.Foreground, map[remote.UID]*fetch{ref.UID: f}, ref.UIDValidity)
	})
}

// TextSize returns how long the text of a message is. It is made to find out, if that is not known.
func (m *Mailbox) TextSize(ctx context.Context, ref Ref) (int64, error) {
	if size, ok := m.KnownTextSize(ref); ok {
		return size, nil
	}
	text, err := m.Text(ctx, ref)
	return int64(len(text)), err
}

// KnownTextSize returns how long the text of a message is, if that is known.
func (m *Mailbox) KnownTextSize(ref Ref) (int64, bool) {
	if text, ok := m.account.bodies.get(m.viewKey(ref, textView)); ok {
		return int64(len(text)), true
	}
	return m.knownSize(ref, textView)
}

// moreText is how many bytes of messages are taken to hold a byte of text, when it is decided how much of a mailbox may be
// made texts of ahead of a reader.
const moreText = 64

// textsAhead notes that a text is read, and has those made that come next in a walk.
func (m *Mailbox) textsAhead(ref Ref) {
	want, validity := m.next(&m.texts, ref)
	for batch := range slices.Chunk(want, batchMessages) {
		m.fetchViewsAhead(validity, batch, textView, m.fetchTexts)
	}
}

// fetchTexts makes texts whose fetches have begun.
func (m *Mailbox) fetchTexts(ctx context.Context, prio remote.Priority, fetches map[remote.UID]*fetch, validity uint32) {
	var unknown []remote.UID
	for uid, f := range fetches {
		ref := Ref{UIDValidity: validity, UID: uid}
		if text, ok := m.readView(ref, textView); ok {
			m.keepSize(ref, textView, int64(len(text)))
			m.finish(m.viewKey(ref, textView), f, text, nil)
			continue
		}
		unknown = append(unknown, uid)
	}
	finish := func(uid remote.UID, found *structure, content func(remote.Section) []byte) {
		ref := Ref{UIDValidity: validity, UID: uid}
		text := message.Text(found.Header, found.Root, content)
		m.keepSize(ref, textView, int64(len(text)))
		m.finishView(ref, textView, fetches[uid], text, nil)
	}
	fail := func(uid remote.UID, err error) {
		if errors.Is(err, remote.ErrTooComplex) {
			err = fmt.Errorf("text of UID %d in %s: %w", uid, m.name, err)
		}
		m.finish(m.viewKey(Ref{UIDValidity: validity, UID: uid}, textView), fetches[uid], nil, err)
	}
	groups := map[string]*sections{} // by what is asked for
	var mu sync.Mutex                // guards groups
	m.findStructures(ctx, prio, validity, unknown, func(uid remote.UID, found *structure, err error) {
		var need []remote.Section
		var size int64
		if err == nil {
			need, size, err = message.TextSections(found.Root)
		}
		switch {
		case err != nil:
			fail(uid, err)
		case found.message != nil:
			finish(uid, found, found.message.Section)
		case len(need) == 0:
			finish(uid, found, func(remote.Section) []byte { return nil })
		default:
			mu.Lock()
			defer mu.Unlock()
			key := fmt.Sprint(need)
			if groups[key] == nil {
				groups[key] = &sections{asked: need, of: map[remote.UID]*structure{}, size: map[remote.UID]int64{}}
			}
			groups[key].of[uid], groups[key].size[uid] = found, size
		}
	})
	var fetching sync.WaitGroup
	for _, g := range groups {
		fetching.Go(func() { m.fetchSections(ctx, prio, validity, g, finish, fail) })
	}
	fetching.Wait()
}

// sections are to be fetched of several messages that are built alike.
type sections struct {
	asked []remote.Section
	of    map[remote.UID]*structure
	size  map[remote.UID]int64 // bytes that are fetched of each, at most
}

// sectionsAtOnce bounds a command: servers need not accept more than 8,000 bytes (RFC 7162, section 4).
const sectionsAtOnce = 100

// fetchSections fetches the sections of messages that are built alike, in as few commands as that takes.
func (m *Mailbox) fetchSections(ctx context.Context, prio remote.Priority, validity uint32, g *sections,
	finish func(remote.UID, *structure, func(remote.Section) []byte), fail func(remote.UID, error)) {
	a := m.account
	for batch := range g.batches() {
		contents := map[remote.UID]map[remote.Section][]byte{}
		var mu sync.Mutex // guards contents
		var err error
		for asked := range slices.Chunk(g.asked, sectionsAtOnce) {
			err = errors.Join(err, a.remote.Sections(ctx, m.at(validity, prio), batch, asked,
				func(uid remote.UID, content [][]byte) {
					mu.Lock()
					defer mu.Unlock()
					if contents[uid] == nil {
						contents[uid] = map[remote.Section][]byte{}
					}
					for i, s := range asked {
						contents[uid][s] = content[i]
					}
				}))
		}
		a.contact.note(err)
		for _, uid := range batch {
			content := contents[uid]
			switch {
			case len(content) == len(g.asked):
				finish(uid, g.of[uid], func(s remote.Section) []byte { return content[s] })
			case err != nil:
				fail(uid, err)
			default:
				m.table.expire() // the listing is behind
				fail(uid, fmt.Errorf("%w: UID %d in %s", remote.ErrNoMessage, uid, m.name))
			}
		}
	}
}

// batches returns the messages in groups of about batchBytes.
func (g *sections) batches() func(yield func([]remote.UID) bool) {
	return func(yield func([]remote.UID) bool) {
		uids := make([]remote.UID, 0, len(g.of))
		for uid := range g.of {
			uids = append(uids, uid)
		}
		slices.Sort(uids)
		for len(uids) > 0 {
			n, size := 0, int64(0)
			for n < len(uids) && (n == 0 || size < batchBytes) {
				size += g.size[uids[n]]
				n++
			}
			if !yield(uids[:n]) {
				return
			}
			uids = uids[n:]
		}
	}
}
