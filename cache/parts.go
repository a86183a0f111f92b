package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

// PartFile is a part of a message as a file, or the header of the message.
type PartFile struct {
	Name   string
	file   message.File
	parsed bool // mailfs found the part in the message itself, so the size of the part is right
}

// view returns the view that the file shows.
func (f PartFile) view() view {
	switch part := f.file.Part; {
	case part == nil:
		return headersView
	case f.file.Body:
		return bodyView + view(part.Number)
	default:
		return partView + view(part.Number)
	}
}

// Parts returns the files that a message consists of: its header as headers.txt, its text as body.txt and body.html, each
// other part under its own name, messages in it as messages. Names are unique, in any case of letters, and the same each
// time. Only the structure is fetched. Errors as with Text.
func (m *Mailbox) Parts(ctx context.Context, of Ref) ([]PartFile, error) {
	ref, err := m.own(of)
	if err != nil {
		return nil, err
	}
	files, err := m.partFiles(ctx, ref)
	return owned(m, of, files, err)
}

// partFiles is Parts for a Ref as the cache has it.
func (m *Mailbox) partFiles(ctx context.Context, ref Ref) ([]PartFile, error) {
	m.account.reads.note()
	m.fetchViewsAhead(ref.UIDValidity, m.nextOfWalk(&m.structures, ref), structureView, m.fetchStructures)
	v, err := m.getView(ctx, ref, structureView, func(ctx context.Context, f *fetch) {
		m.fetchStructures(ctx, m.at(ref.UIDValidity, remote.Foreground), map[remote.UID]*fetch{ref.UID: f})
	})
	if err != nil {
		return nil, err
	}
	found := &message.Structure{}
	if err := json.Unmarshal(v, found); err != nil {
		return nil, fmt.Errorf("parts of UID %d in %s: %w", ref.UID, m.name, err)
	}
	var files []PartFile
	for _, f := range message.Files(found.Root) {
		files = append(files, PartFile{Name: f.Name, file: f, parsed: found.Parsed})
	}
	return files, nil
}

// PartSize returns the length of the file of a part. Where neither the structure nor the server tells it, the part is
// fetched.
func (m *Mailbox) PartSize(ctx context.Context, ref Ref, f PartFile) (int64, error) {
	if size, ok := m.KnownPartSize(ref, f); ok {
		return size, nil
	}
	if own, err := m.own(ref); err != nil {
		return 0, err
	} else if isBase64(f.file) {
		m.askSizes(ctx, own)
		if size, ok := m.KnownPartSize(ref, f); ok {
			return size, nil
		}
	}
	content, err := m.PartBytes(ctx, ref, f)
	return int64(len(content)), err
}

// KnownPartSize returns the length of the file of a part, and whether it is known.
func (m *Mailbox) KnownPartSize(ref Ref, f PartFile) (int64, bool) {
	ref, err := m.own(ref)
	if err != nil {
		return 0, false
	}
	if content, ok := m.account.bodies.Get(m.viewKey(ref, f.view())); ok {
		return int64(len(content)), true
	}
	if size, ok := m.knownSize(ref, f.view()); ok {
		return size, true
	}
	if f.file.Verbatim() && (f.parsed || m.account.partSizes.Hold(enoughParts)) {
		return f.file.Part.Size, true
	}
	return 0, false
}

// enoughParts is the number of parts that must have had the size that the server announced in the structure, before sizes
// of other parts are taken from there.
const enoughParts = 4

// isBase64 tells whether a file is a part in base64, which the server may decode.
func isBase64(f message.File) bool { return f.Part != nil && !f.Body && f.Part.Encoding == "base64" }

// askSizes asks the server for the decoded sizes of a message's parts in base64, and keeps them.
func (m *Mailbox) askSizes(ctx context.Context, ref Ref) {
	found := m.decodable(ref)
	if found == nil {
		return
	}
	var numbers []string
	for _, f := range message.Files(found.Root) {
		if isBase64(f) && len(numbers) < maxSections {
			numbers = append(numbers, f.Part.Number)
		}
	}
	holder := m.kept.Holders.Of(ref.UID)
	// A server that can't tell is no error: PartSize fetches the part then.
	sizes, err := m.account.remote.DecodedSizes(ctx, m.at(ref.UIDValidity, remote.Foreground), ref.UID, numbers)
	if err != nil {
		m.account.bodies.Add(m.viewKey(ref, undecodableView), nil)
		m.log.Debug("the server can't tell the sizes of parts: each is known once the part is read", "uid", ref.UID, "error", err)
		return
	}
	for i, number := range numbers {
		m.keepSize(ref, partView+view(number), sizes[i], holder)
	}
}

// PartBytes returns the content of the file of a part, see [message.File]. The caller must not change it. Errors as with
// Text.
func (m *Mailbox) PartBytes(ctx context.Context, of Ref, f PartFile) ([]byte, error) {
	ref, err := m.own(of)
	if err != nil {
		return nil, err
	}
	content, err := m.partBytes(ctx, ref, f)
	return owned(m, of, content, err)
}

// partBytes is PartBytes for a Ref as the cache has it.
func (m *Mailbox) partBytes(ctx context.Context, ref Ref, f PartFile) ([]byte, error) {
	m.account.reads.note()
	return m.getView(ctx, ref, f.view(), func(ctx context.Context, partFetch *fetch) {
		content, ok := m.readView(ref, f.view())
		if ok {
			m.inflight.finish(m.viewKey(ref, f.view()), partFetch, content, nil)
			return
		}
		content, err := m.part(ctx, ref, f)
		if err != nil {
			err = fmt.Errorf("%s of UID %d in %s: %w", f.Name, ref.UID, m.name, err)
		} else {
			m.keepSize(ref, f.view(), int64(len(content)), partFetch.holder)
		}
		m.finishView(ref, f.view(), partFetch, content, err)
	})
}

// part fetches a part and returns the content of its file.
func (m *Mailbox) part(ctx context.Context, ref Ref, f PartFile) ([]byte, error) {
	part := f.file.Part
	if part == nil {
		header, err := m.section(ctx, ref, remote.Section{Aspect: remote.FullHeader})
		if err == nil && len(header) > remote.MaxFullHeader {
			err = fmt.Errorf("%w: a header of more than %d bytes", remote.ErrTooComplex, remote.MaxFullHeader)
		}
		if err != nil {
			return nil, err
		}
		return f.file.Content(header), nil
	}
	if isBase64(f.file) {
		content, err := m.decoded(ctx, ref, part.Number)
		if !errors.Is(err, remote.ErrUnsupported) {
			return content, err
		}
	}
	section := remote.Section{Number: part.Number}
	data, err := m.section(ctx, ref, section)
	switch {
	case err != nil:
		return nil, err
	case m.isUnsplit(ref, f, data):
		return m.reparsedPart(ctx, ref, f, data)
	case !f.file.Verbatim() || f.parsed:
	case int64(len(data)) == part.Size:
		m.account.partSizes.Right.Add(1)
	default: // the server announced the size of another part, or sent another part, or counts in another way
		m.account.partSizes.Wrong.Add(1)
		data, err = m.sectionOfMessage(ctx, ref, section)
	}
	if err != nil {
		return nil, err
	}
	return f.file.Content(data), nil
}

// isUnsplit tells whether the content of a part shows that the server's structure of the message is wrong.
func (m *Mailbox) isUnsplit(ref Ref, f PartFile, data []byte) bool {
	if f.parsed {
		return false
	}
	found := m.localStructure(ref)
	return found != nil && !found.Parsed && message.Unsplit(found.Root, f.file.Part.Number, data)
}

// reparsedPart returns the content of the file of that name in the message, where the server's structure is wrong. data is what
// the server calls the part; the file has it where the message has no file of that name.
func (m *Mailbox) reparsedPart(ctx context.Context, ref Ref, f PartFile, data []byte) (content []byte, err error) {
	m.reparse(ctx, m.at(ref.UIDValidity, remote.Foreground), []remote.UID{ref.UID}, func(_ remote.UID, found *message.Structure, failed error) {
		if err = failed; err != nil {
			return
		}
		content = f.file.Content(data)
		for _, other := range message.Files(found.Root) {
			if other.Name == f.Name && other.Part != nil {
				content = other.Content(found.Message.Section(remote.Section{Number: other.Part.Number}))
			}
		}
	})
	return content, err
}

// decoded returns a part that the server decodes. remote.ErrUnsupported: mailfs must decode it, since the server can't or the
// message is in memory or on disk.
func (m *Mailbox) decoded(ctx context.Context, ref Ref, number string) ([]byte, error) {
	if m.decodable(ref) == nil {
		return nil, remote.ErrUnsupported
	}
	content, err := m.account.remote.Decoded(ctx, m.at(ref.UIDValidity, remote.Foreground), ref.UID, number)
	if errors.Is(err, remote.ErrUnsupported) {
		m.account.bodies.Add(m.viewKey(ref, undecodableView), nil)
	}
	return content, err
}

// decodable returns the structure of a message whose parts the server may decode; nil if mailfs must decode them.
func (m *Mailbox) decodable(ref Ref) *message.Structure {
	if _, ok := m.localBody(ref); ok || m.account.bodies.Has(m.viewKey(ref, undecodableView)) {
		return nil
	}
	if found := m.localStructure(ref); found != nil && !found.Parsed {
		return found
	}
	return nil
}

// section returns a section of a message. It is taken from the message where that is in memory or on disk, or where the
// server can't parse the message; else it is fetched alone.
func (m *Mailbox) section(ctx context.Context, ref Ref, s remote.Section) (content []byte, err error) {
	if body, ok := m.localBody(ref); ok {
		return message.SectionOf(body, s)
	}
	a := m.account
	err = remote.ErrUnsupported
	if found := m.localStructure(ref); found == nil || !found.Parsed {
		answered := false
		err = a.remote.Sections(ctx, m.at(ref.UIDValidity, remote.Foreground), []remote.UID{ref.UID}, []remote.Section{s},
			func(_ remote.UID, got [][]byte) { content, answered = got[0], true })
		a.contact.Note(err)
		if err == nil && !answered {
			m.table.Expire() // the listing has a message that the server does not have
			err = remote.ErrNoMessage
		}
	}
	if errors.Is(err, remote.ErrUnsupported) {
		return m.sectionOfMessage(ctx, ref, s)
	}
	return content, err
}

// sectionOfMessage returns a section of a message, which is fetched unless it is in memory or on disk.
func (m *Mailbox) sectionOfMessage(ctx context.Context, ref Ref, s remote.Section) (content []byte, err error) {
	if body, ok := m.localBody(ref); ok {
		return message.SectionOf(body, s)
	}
	m.fetchMessages(ctx, m.at(ref.UIDValidity, remote.Foreground), []remote.UID{ref.UID},
		func(_ remote.UID, body []byte, failed error) {
			if err = failed; err == nil {
				content, err = message.SectionOf(body, s)
			}
		})
	return content, err
}
