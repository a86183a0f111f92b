package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// Text returns what a message says: From, To, Cc, Date and Subject, an empty line, the text, and a line for each attachment,
// in UTF-8 with LF. Only the parts with text are fetched. The caller must not change the result. Errors as with Bytes, and
// remote.ErrTooComplex: too much text, or too many parts.
func (m *Mailbox) Text(ctx context.Context, of Ref) ([]byte, error) {
	ref, err := m.own(of)
	if err != nil {
		return nil, err
	}
	text, err := m.text(ctx, ref)
	return owned(m, of, text, err)
}

// text is Text for a Ref as the cache has it.
func (m *Mailbox) text(ctx context.Context, ref Ref) ([]byte, error) {
	m.account.reads.note()
	m.fetchTextsAhead(ref)
	return m.getView(ctx, ref, textView, func(ctx context.Context, f *fetch) {
		m.fetchTexts(ctx, m.at(ref.UIDValidity, remote.Foreground), map[remote.UID]*fetch{ref.UID: f})
	})
}

// TextSize returns the length of a message's text. Where that is not known, the text is fetched.
func (m *Mailbox) TextSize(ctx context.Context, ref Ref) (int64, error) {
	if size, ok := m.KnownTextSize(ref); ok {
		return size, nil
	}
	text, err := m.Text(ctx, ref)
	return int64(len(text)), err
}

// KnownTextSize returns the length of a message's text, and whether it is known.
func (m *Mailbox) KnownTextSize(ref Ref) (int64, bool) {
	ref, err := m.own(ref)
	if err != nil {
		return 0, false
	}
	if text, ok := m.account.bodies.Get(m.viewKey(ref, textView)); ok {
		return int64(len(text)), true
	}
	return m.knownSize(ref, textView)
}

// fetchTextsAhead counts the reading of a text, and fetches the texts that this reader is expected to read next.
func (m *Mailbox) fetchTextsAhead(ref Ref) {
	uids := m.nextOfWalk(&m.texts, ref)
	for batch := range slices.Chunk(uids, walk.BatchMessages) {
		m.fetchViewsAhead(ref.UIDValidity, batch, textView, m.fetchTexts)
	}
}

// fetchTexts makes the texts of messages and ends their fetches.
func (m *Mailbox) fetchTexts(ctx context.Context, at remote.Place, fetches map[remote.UID]*fetch) {
	t := &textFetch{m: m, at: at, fetches: fetches}
	var missing []remote.UID
	for uid, f := range fetches {
		ref := Ref{UIDValidity: at.UIDValidity, UID: uid}
		if text, ok := m.readView(ref, textView); ok {
			m.keepSize(ref, textView, int64(len(text)), f.holder)
			m.inflight.finish(m.viewKey(ref, textView), f, text, nil)
			continue
		}
		missing = append(missing, uid)
	}
	groups := map[string]*alike{} // by the sections that a text needs
	var mu sync.Mutex             // guards groups
	m.findStructures(ctx, at, missing, func(uid remote.UID, found *message.Structure, err error) {
		var needed []remote.Section
		var size int64
		if err == nil {
			needed, size, err = message.TextSections(found.Root)
		}
		switch {
		case err != nil:
			t.fail(uid, err)
		case found.Message != nil:
			t.finish(uid, found, found.Message.Section)
		case len(needed) == 0:
			t.finish(uid, found, func(remote.Section) []byte { return nil })
		default:
			mu.Lock()
			defer mu.Unlock()
			key := fmt.Sprint(needed)
			if groups[key] == nil {
				groups[key] = &alike{needed: needed, structures: map[remote.UID]*message.Structure{}, sizes: map[remote.UID]int64{}}
			}
			groups[key].structures[uid], groups[key].sizes[uid] = found, size
		}
	})
	var fetching sync.WaitGroup
	for _, g := range groups {
		fetching.Go(func() { t.fetchSections(ctx, g) })
	}
	fetching.Wait()
}

// textFetch is one call of fetchTexts.
type textFetch struct {
	m       *Mailbox
	at      remote.Place
	fetches map[remote.UID]*fetch
}

// finish makes a text of the sections that content returns, and ends its fetch.
func (t *textFetch) finish(uid remote.UID, s *message.Structure, content func(remote.Section) []byte) {
	ref := Ref{UIDValidity: t.at.UIDValidity, UID: uid}
	text := message.Text(s.Header, s.Root, content)
	t.m.keepSize(ref, textView, int64(len(text)), t.fetches[uid].holder)
	t.m.finishView(ref, textView, t.fetches[uid], text, nil)
}

// fail ends the fetch of a text that can't be made.
func (t *textFetch) fail(uid remote.UID, err error) {
	if errors.Is(err, remote.ErrTooComplex) {
		err = fmt.Errorf("text of UID %d in %s: %w", uid, t.m.name, err)
	}
	ref := Ref{UIDValidity: t.at.UIDValidity, UID: uid}
	t.m.inflight.finish(t.m.viewKey(ref, textView), t.fetches[uid], nil, err)
}

// alike are messages whose texts need the same sections.
type alike struct {
	needed     []remote.Section
	structures map[remote.UID]*message.Structure
	sizes      map[remote.UID]int64 // bytes to fetch of each message, at most
}

// maxSections is the largest number of sections in one command: servers need not accept commands of more than 8,000 bytes
// (RFC 7162, section 4).
const maxSections = 100

// fetchSections fetches the sections of messages that need the same ones, and finishes their texts.
func (t *textFetch) fetchSections(ctx context.Context, g *alike) {
	for batch := range walk.Cut(g.sizes) {
		contents := map[remote.UID]map[remote.Section][]byte{}
		var mu sync.Mutex // guards contents
		var err error
		for asked := range slices.Chunk(g.needed, maxSections) {
			err = errors.Join(err, t.m.account.remote.Sections(ctx, t.at, batch, asked,
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
		t.m.account.contact.Note(err)
		var wrong []remote.UID // whose structures are
		for _, uid := range batch {
			content := contents[uid]
			switch {
			case len(content) == len(g.needed) && g.structures[uid].Unsplit(content):
				wrong = append(wrong, uid)
			case len(content) == len(g.needed):
				t.finish(uid, g.structures[uid], func(s remote.Section) []byte { return content[s] })
			case err != nil:
				t.fail(uid, err)
			default:
				t.fail(uid, t.m.gone(uid))
			}
		}
		if len(wrong) > 0 {
			t.m.reparse(ctx, t.at, wrong, t.finishParsed)
		}
	}
}

// finishParsed makes the text of a message that was parsed, and ends its fetch.
func (t *textFetch) finishParsed(uid remote.UID, found *message.Structure, err error) {
	if err == nil {
		_, _, err = message.TextSections(found.Root)
	}
	if err != nil {
		t.fail(uid, err)
		return
	}
	t.finish(uid, found, found.Message.Section)
}
