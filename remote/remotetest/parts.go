package remotetest

import (
	"bytes"
	"context"
	"net/mail"
	"slices"
	"strconv"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/mailfs/mailfs/remote"
)

// Structures implements remote.Account.
func (a *Account) Structures(ctx context.Context, at remote.Place, uids []remote.UID,
	got func(remote.UID, *remote.Part, []byte)) error {
	return a.answer(ctx, Call{Method: "Structures", At: at, UIDs: uids}, func(ctx context.Context) error {
		if a.WholeOnly {
			return remote.ErrUnsupported
		}
		return a.each(ctx, at, uids, func(e *message) func() {
			return func() {
				got(e.uid, partOf(imapserver.ExtractBodyStructure(bytes.NewReader(e.body))), e.header(remote.MaxHeader))
			}
		})
	})
}

// partOf returns a part and what is in it as package remote has it.
func partOf(s goimap.BodyStructure) *remote.Part {
	p := &remote.Part{Type: strings.ToLower(s.MediaType())}
	var inside []goimap.BodyStructure
	switch s := s.(type) {
	case *goimap.BodyStructureMultiPart:
		inside, p.Params = s.Children, s.Extended.Params
	case *goimap.BodyStructureSinglePart:
		p.Params, p.Encoding, p.Size = s.Params, strings.ToLower(s.Encoding), int64(s.Size)
		if m := s.MessageRFC822; m != nil {
			inside, p.Subject = []goimap.BodyStructure{m.BodyStructure}, m.Envelope.Subject
		}
	}
	if d := s.Disposition(); d != nil {
		p.Disposition, p.DispositionParams = strings.ToLower(d.Value), d.Params
	}
	for _, child := range inside {
		p.Parts = append(p.Parts, partOf(child))
	}
	return p
}

// path returns the number of a part as go-imap has it.
func path(number string) []int {
	var path []int
	for field := range strings.SplitSeq(number, ".") {
		if n, err := strconv.Atoi(field); err == nil {
			path = append(path, n)
		}
	}
	return path
}

// Sections implements remote.Account.
func (a *Account) Sections(ctx context.Context, at remote.Place, uids []remote.UID, sections []remote.Section,
	got func(remote.UID, [][]byte)) error {
	return a.answer(ctx, Call{Method: "Sections", At: at, UIDs: uids}, func(ctx context.Context) error {
		if a.WholeOnly {
			return remote.ErrUnsupported
		}
		return a.each(ctx, at, uids, func(e *message) func() {
			return func() {
				contents := make([][]byte, len(sections))
				for i, s := range sections {
					item := &goimap.FetchItemBodySection{Part: path(s.Number)}
					switch s.Aspect {
					case remote.Fields:
						item.Specifier, item.HeaderFields = goimap.PartSpecifierHeader, remote.HeaderFields
					case remote.FullHeader:
						item.Specifier = goimap.PartSpecifierHeader
						item.Partial = &goimap.SectionPartial{Size: remote.MaxFullHeader + 1}
					}
					contents[i] = imapserver.ExtractBodySection(bytes.NewReader(e.body), item)
				}
				got(e.uid, contents)
			}
		})
	})
}

// Decoded implements remote.Account.
func (a *Account) Decoded(ctx context.Context, at remote.Place, uid remote.UID, number string) (content []byte, err error) {
	err = a.answer(ctx, Call{Method: "Decoded", At: at, UIDs: []remote.UID{uid}}, func(ctx context.Context) error {
		return a.one(ctx, at, uid, func(e *message) (err error) {
			content, err = a.decoded(e, number)
			return err
		})
	})
	return content, err
}

// DecodedSizes implements remote.Account.
func (a *Account) DecodedSizes(ctx context.Context, at remote.Place, uid remote.UID, numbers []string) (sizes []int64, err error) {
	err = a.answer(ctx, Call{Method: "DecodedSizes", At: at, UIDs: []remote.UID{uid}}, func(ctx context.Context) error {
		return a.one(ctx, at, uid, func(e *message) error {
			for _, number := range numbers {
				content, err := a.decoded(e, number)
				if err != nil {
					return err
				}
				sizes = append(sizes, int64(len(content)))
			}
			return nil
		})
	})
	return sizes, err
}

func (a *Account) decoded(e *message, number string) ([]byte, error) {
	if a.WholeOnly {
		return nil, remote.ErrUnsupported
	}
	content := imapserver.ExtractBinarySection(bytes.NewReader(e.body), &goimap.FetchItemBinarySection{Part: path(number)})
	if content == nil {
		return nil, remote.ErrUnsupported
	}
	return content, nil
}

// Search implements remote.Account.
func (a *Account) Search(ctx context.Context, name string, q remote.Query) (validity uint32, found *remote.UIDSet, err error) {
	call := Call{Method: "Search", At: remote.Place{Mailbox: name}}
	err = a.answer(ctx, call, func(context.Context) error {
		if a.WholeOnly {
			return remote.ErrUnsupported
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		m := a.findLocked(name)
		if m == nil {
			return remote.ErrNoMailbox
		}
		validity, found = m.validity, &remote.UIDSet{}
		for _, e := range m.messages {
			if e.fits(q) {
				found.Add(e.uid)
			}
		}
		return nil
	})
	return validity, found, err
}

// fits tells whether a query finds the message.
func (e *message) fits(q remote.Query) bool {
	holds := func(text string, words []string) bool {
		text = strings.ToLower(text)
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, strings.ToLower(word)) })
	}
	var header mail.Header
	if parsed, err := mail.ReadMessage(bytes.NewReader(e.body)); err == nil {
		header = parsed.Header
	}
	_, text, _ := bytes.Cut(e.body, []byte("\r\n\r\n"))
	flag := func(wanted bool, flag string, set bool) bool { return !wanted || slices.Contains(e.flags, flag) == set }
	return holds(header.Get("From"), q.From) && holds(header.Get("To"), q.To) && holds(header.Get("Subject"), q.Subject) &&
		holds(string(text), q.Body) && holds(string(e.body), q.Text) &&
		(q.Since.IsZero() || !e.date.Before(q.Since)) && (q.Before.IsZero() || e.date.Before(q.Before)) &&
		(q.Larger == 0 || int64(len(e.body)) > q.Larger) && (q.Smaller == 0 || int64(len(e.body)) < q.Smaller) &&
		flag(q.Unread, `\Seen`, false) && flag(q.Flagged, `\Flagged`, true) && flag(q.Answered, `\Answered`, true)
}
