package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

// PartFile is a part of a message as a file, or its header.
type PartFile struct {
	message.File
	parsed bool // mailfs found the part in the message itself, so Part.Size is right
}

// view names what is kept of the file.
func (f PartFile) view() view {
	switch {
	case f.Part == nil:
		return headersView
	case f.Body:
		return bodyView + view(f.Part.Number)
	default:
		return partView + view(f.Part.Number)
	}
}

// Parts returns what a message consists of: its header as headers.txt, its text as body.txt and body.html, all else under
// its own name, and messages in it as messages. Names are unique, in any case of letters, and the same each time. Only the
// structure is fetched. Errors as with Text.
func (m *Mailbox) Parts(ctx context.Context, ref Ref) ([]PartFile, error) {
	m.account.reads.note()
	want, validity := m.next(&m.structures, ref)
	if len(want) > 0 {
		m.fetchViewsAhead(validity, want, structureView, m.fetchStructures)
	}
	v, err := m.getView(ctx, ref, structureView, func(ctx context.Context, f *fetch) {
		m.fetchStructures(ctx, remote.Foreground, map[remote.UID]*fetch{ref.UID: f}, ref.UIDValidity)
	})
	if err != nil {
		return nil, err
	}
	found := &structure{}
	if err := json.Unmarshal(v, found); err != nil {
		return nil, fmt.Errorf("parts of UID %d in %s: %w", ref.UID, m.name, err)
	}
	var files []PartFile
	for _, f := range message.Files(found.Root) {
		files = append(files, PartFile{File: f, parsed: found.Parsed})
	}
	return files, nil
}

// PartSize returns how long the file of a part is. It is fetched to find out, where neither the structure nor the server
// tells.
func (m *Mailbox) PartSize(ctx context.Context, ref Ref, f PartFile) (int64, error) {
	if size, ok := m.KnownPartSize(ref, f); ok {
		return size, nil
	}
	if f.isBase64() {
		m.askSizes(ctx, ref)
		if size, ok := m.KnownPartSize(ref, f); ok {
			return size, nil
		}
	}
	content, err := m.PartBytes(ctx, ref, f)
	return int64(len(content)), err
}

// KnownPartSize returns how long the file of a part is, if that is known.
func (m *Mailbox) KnownPartSize(ref Ref, f PartFile) (int64, bool) {
	if content, ok := m.account.bodies.get(m.viewKey(ref, f.view())); ok {
		return int64(len(content)), true
	}
	if size, ok := m.knownSize(ref, f.view()); ok {
		return size, true
	}
	if f.Verbatim() && (f.parsed || m.account.partSizesHold()) {
		return f.Part.Size, true
	}
	return 0, false
}

// isBase64 tells whether the file is a part whose base64 the server may decode.
func (f PartFile) isBase64() bool { return f.Part != nil && !f.Body && f.Part.Encoding == "base64" }

// enoughParts is how many parts must have been as long as the server's account of the structure says before that is
// relied on.
const enoughParts = 4

func (a *Account) partSizesHold() bool {
	return a.partSizes.holds(enoughParts)
}

// askSizes asks the server how long the encoded parts of a message are when they are decoded.
func (m *Mailbox) askSizes(ctx context.Context, ref Ref) {
	found := m.decodable(ref)
	if found == nil {
		return
	}
	var numbers []string
	for _, f := range message.Files(found.Root) {
		if (PartFile{File: f}).isBase64() && len(numbers) < sectionsAtOnce {
			numbers = append(numbers, f.Part.Number)
		}
	}
	// That the server can't tell is no error: who wants to know reads the part.
	sizes, err := m.account.remote.DecodedSizes(ctx, m.at(ref.UIDValidity, remote.Foreground), ref.UID, numbers)
	if err != nil {
		m.account.bodies.add(m.viewKey(ref, undecodableView), nil)
		m.log.Debug("sizes of parts are not known before they are read", "uid", ref.UID, "error", err)
		return
	}
	for i, number := range numbers {
		m.keepSize(ref, partView+view(number), sizes[i])
	}
}

// PartBytes returns what is in the file of a part: attachments as they were attached, text as UTF-8 with LF, HTML as UTF-8,
// the header with a line for each field, decoded. The caller must not change it. Errors as with Text.
func (m *Mailbox) PartBytes(ctx context.Context, ref Ref, f PartFile) ([]byte, error) {
	m.account.reads.note()
	return m.getView(ctx, ref, f.view(), func(ctx context.Context, fetching *fetch) {
		content, ok := m.readView(ref, f.view())
		if ok {
			m.finish(m.viewKey(ref, f.view()), fetching, content, nil)
			return
		}
		content, err := m.part(ctx, ref, f)
		if err != nil {
			err = fmt.Errorf("%s of UID %d in %s: %w", f.Name, ref.UID, m.name, err)
		} else {
			m.keepSize(ref, f.view(), int64(len(content)))
		}
		m.finishView(ref, f.view(), fetching, content, err)
	})
}

// part makes the file of a part.
func (m *Mailbox) part(ctx context.Context, ref Ref, f PartFile) ([]byte, error) {
	if f.Part == nil {
		header, err := m.section(ctx, ref, remote.Section{Aspect: remote.FullHeader})
		if err == nil && len(header) > remote.MaxFullHeader {
			err = fmt.Errorf("%w: a header of more than %d bytes", remote.ErrTooComplex, remote.MaxFullHeader)
		}
		if err != nil {
			return nil, err
		}
		return f.Content(header), nil
	}
	if f.isBase64() {
		content, err := m.decoded(ctx, ref, f.Part.Number)
		if !errors.Is(err, remote.ErrUnsupported) {
			return content, err
		}
	}
	section := remote.Section{Number: f.Part.Number}
	data, err := m.section(ctx, ref, section)
	switch {
	case err != nil:
		return nil, err
	case !f.Verbatim() || f.parsed:
	case int64(len(data)) == f.Part.Size:
		m.account.partSizes.right.Add(1)
	default: // one of the two is another part, or counted in another way
		m.account.partSizes.wrong.Add(1)
		data, err = m.sectionOfMessage(ctx, ref, section)
	}
	if err != nil {
		return nil, err
	}
	return f.Content(data), nil
}

// decoded has the server decode a part. ErrUnsupported: it can't, or there is no need to ask it.
func (m *Mailbox) decoded(ctx context.Context, ref Ref, number string) ([]byte, error) {
	if m.decodable(ref) == nil {
		return nil, remote.ErrUnsupported
	}
	content, err := m.account.remote.Decoded(ctx, m.at(ref.UIDValidity, remote.Foreground), ref.UID, number)
	if errors.Is(err, remote.ErrUnsupported) {
		m.account.bodies.add(m.viewKey(ref, undecodableView), nil)
	}
	return content, err
}

// decodable returns the parts of a message that the server may decode; nil where it can't or need not be asked.
func (m *Mailbox) decodable(ref Ref) *structure {
	if _, here := m.localBody(ref); here || m.account.bodies.has(m.viewKey(ref, undecodableView)) {
		return nil
	}
	if found := m.keptStructure(ref); found != nil && !found.Parsed {
		return found
	}
	return nil
}

// section returns a section of a message, from the message if it is at hand or can't be taken apart by the server.
func (m *Mailbox) section(ctx context.Context, ref Ref, s remote.Section) (content []byte, err error) {
	if body, ok := m.localBody(ref); ok {
		return sectionOf(body, s)
	}
	a := m.account
	err = remote.ErrUnsupported
	if found := m.keptStructure(ref); found == nil || !found.Parsed {
		came := false
		err = a.remote.Sections(ctx, m.at(ref.UIDValidity, remote.Foreground), []remote.UID{ref.UID}, []remote.Section{s},
			func(_ remote.UID, got [][]byte) { content, came = got[0], true })
		a.contact.note(err)
		if err == nil && !came {
			m.table.expire() // the listing is behind
			err = remote.ErrNoMessage
		}
	}
	if errors.Is(err, remote.ErrUnsupported) {
		return m.sectionOfMessage(ctx, ref, s)
	}
	return content, err
}

// sectionOfMessage brings a message to return a section of it.
func (m *Mailbox) sectionOfMessage(ctx context.Context, ref Ref, s remote.Section) (content []byte, err error) {
	if body, ok := m.localBody(ref); ok {
		return sectionOf(body, s)
	}
	m.fetchMessages(ctx, remote.Foreground, ref.UIDValidity, []remote.UID{ref.UID}, func(_ remote.UID, body []byte, failed error) {
		if err = failed; err == nil {
			content, err = sectionOf(body, s)
		}
	})
	return content, err
}

// sectionOf returns a section of a message.
func sectionOf(body []byte, s remote.Section) ([]byte, error) {
	parsed, err := message.Parse(body)
	if err != nil {
		return nil, err
	}
	return parsed.Section(s), nil
}
