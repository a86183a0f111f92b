package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// structureFields are the header fields that come with a structure. Content-Type shows whether the structure can be right.
var structureFields = append(slices.Clone(remote.HeaderFields), "Content-Type")

// Structures implements remote.Account: BODYSTRUCTURE of RFC 9051, section 7.5.2, and the header fields with it, in one
// round trip.
func (a *Account) Structures(ctx context.Context, at remote.Place, uids []remote.UID,
	got func(remote.UID, *remote.Part, []byte)) error {
	options := header.options()
	options.BodySection[0].HeaderFields = structureFields
	options.BodyStructure = &goimap.FetchItemBodyStructure{Extended: true}
	return a.read(ctx, uids, &reading{
		box:     box{bodies, at},
		options: options,
		parse: func(data *imapclient.FetchMessageData) (uid remote.UID, give func(), err error) {
			var structure goimap.BodyStructure
			var fields []byte
			for item := data.Next(); item != nil; item = data.Next() {
				switch item := item.(type) {
				case imapclient.FetchItemDataUID:
					uid = remote.UID(item.UID)
				case imapclient.FetchItemDataBodyStructure:
					structure = item.BodyStructure
				case imapclient.FetchItemDataBodySection:
					if fields, err = readHeader(item.Literal); err != nil {
						return uid, nil, err
					}
				}
			}
			if structure == nil {
				return uid, nil, nil
			}
			return uid, func() {
				if structure.MediaType() == wire.NoStructure+"/x" { // the message has to be read whole
					got(uid, nil, nil)
					return
				}
				got(uid, partOf(structure, remote.MaxDepth+1), fields)
			}, nil
		},
		unparsable: func(uid remote.UID) { got(uid, nil, nil) },
	})
}

// readHeader reads a header, and drops what is beyond remote.MaxHeader bytes. The header is never nil without an error.
func readHeader(l goimap.LiteralReader) ([]byte, error) {
	if l == nil {
		return []byte{}, nil
	}
	kept := make([]byte, min(l.Size(), remote.MaxHeader))
	if _, err := io.ReadFull(l, kept); err != nil {
		return nil, err
	}
	_, err := io.Copy(io.Discard, l)
	return kept, err
}

// partOf returns a part as package remote has it, with the parts within it down to a depth.
func partOf(s goimap.BodyStructure, depth int) *remote.Part {
	p := &remote.Part{Type: s.MediaType()}
	var inside []goimap.BodyStructure
	switch s := s.(type) {
	case *goimap.BodyStructureMultiPart:
		inside = s.Children
		if s.Extended != nil {
			p.Params = s.Extended.Params
		}
	case *goimap.BodyStructureSinglePart:
		p.Params, p.Encoding, p.Size = s.Params, strings.ToLower(s.Encoding), int64(s.Size)
		if m := s.MessageRFC822; m != nil {
			inside = []goimap.BodyStructure{m.BodyStructure}
			p.Subject = m.Envelope.Subject
		}
	}
	if d := s.Disposition(); d != nil {
		p.Disposition, p.DispositionParams = strings.ToLower(d.Value), d.Params
	}
	if depth > 0 {
		for _, child := range inside {
			p.Parts = append(p.Parts, partOf(child, depth-1))
		}
	}
	return p
}

// sectionAsked returns a section as go-imap asks for it. ErrUnsupported: no part can have its number.
func sectionAsked(s remote.Section) (*goimap.FetchItemBodySection, error) {
	part, err := partNumbers(s.Number)
	if err != nil {
		return nil, err
	}
	asked := &goimap.FetchItemBodySection{Part: part, Peek: true}
	switch s.Aspect {
	case remote.Fields:
		asked.Specifier, asked.HeaderFields = goimap.PartSpecifierHeader, remote.HeaderFields
	case remote.FullHeader:
		asked.Specifier = goimap.PartSpecifierHeader
		asked.Partial = &goimap.SectionPartial{Size: remote.MaxFullHeader + 1}
	}
	return asked, nil
}

// partNumbers returns the number of a part as go-imap has it: "1.2" is 1, 2.
func partNumbers(number string) ([]int, error) {
	if number == "" {
		return nil, nil
	}
	var part []int
	for field := range strings.SplitSeq(number, ".") {
		n, err := strconv.ParseUint(field, 10, 31)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%w: no part can have the number %q", remote.ErrUnsupported, number)
		}
		part = append(part, int(n))
	}
	return part, nil
}

// Sections implements remote.Account: BODY.PEEK[section] of RFC 9051, section 6.4.5.
func (a *Account) Sections(ctx context.Context, at remote.Place, uids []remote.UID,
	sections []remote.Section, got func(remote.UID, [][]byte)) error {
	options := &goimap.FetchOptions{UID: true}
	for _, s := range sections {
		asked, err := sectionAsked(s)
		if err != nil {
			return err
		}
		options.BodySection = append(options.BodySection, asked)
	}
	return a.read(ctx, uids, &reading{
		box:     box{bodies, at},
		options: options,
		parse: func(data *imapclient.FetchMessageData) (uid remote.UID, give func(), err error) {
			contents := make([][]byte, len(sections))
			came := make([]bool, len(sections))
			for item := data.Next(); item != nil; item = data.Next() {
				switch item := item.(type) {
				case imapclient.FetchItemDataUID:
					uid = remote.UID(item.UID)
				case imapclient.FetchItemDataBodySection:
					i := slices.IndexFunc(options.BodySection, func(s *goimap.FetchItemBodySection) bool {
						return item.MatchCommand(s)
					})
					if i < 0 || came[i] {
						continue
					}
					came[i] = true
					if item.Literal == nil {
						continue
					}
					if contents[i], err = drain(item.Literal); err != nil {
						return uid, nil, err
					}
				}
			}
			if slices.Contains(came, false) {
				return uid, nil, nil
			}
			return uid, func() { got(uid, contents) }, nil
		},
	})
}

// Decoded implements remote.Account: BINARY.PEEK of RFC 3516.
func (a *Account) Decoded(ctx context.Context, at remote.Place, uid remote.UID, number string) (
	[]byte, error) {
	part, err := partNumbers(number)
	if err != nil {
		return nil, err
	}
	var content []byte
	options := &goimap.FetchOptions{UID: true, BinarySection: []*goimap.FetchItemBinarySection{{Part: part, Peek: true}}}
	err = a.binary(ctx, at, uid, options, func(item imapclient.FetchItemData) (err error) {
		if s, ok := item.(imapclient.FetchItemDataBinarySection); ok && s.Literal != nil && slices.Equal(s.Section.Part, part) {
			content, err = drain(s.Literal)
		}
		return err
	})
	if err == nil && content == nil {
		err = fmt.Errorf("%w: no decoded part %s of UID %d", remote.ErrUnsupported, number, uid)
	}
	return content, err
}

// DecodedSizes implements remote.Account: BINARY.SIZE of RFC 3516.
func (a *Account) DecodedSizes(ctx context.Context, at remote.Place, uid remote.UID, numbers []string) (
	[]int64, error) {
	options := &goimap.FetchOptions{UID: true}
	sizes := make([]int64, len(numbers))
	for i, number := range numbers {
		part, err := partNumbers(number)
		if err != nil {
			return nil, err
		}
		sizes[i] = -1
		options.BinarySectionSize = append(options.BinarySectionSize, &goimap.FetchItemBinarySectionSize{Part: part})
	}
	err := a.binary(ctx, at, uid, options, func(item imapclient.FetchItemData) error {
		if s, ok := item.(imapclient.FetchItemDataBinarySectionSize); ok {
			for i, asked := range options.BinarySectionSize {
				if slices.Equal(asked.Part, s.Part) {
					sizes[i] = int64(s.Size)
				}
			}
		}
		return nil
	})
	if err == nil && slices.Contains(sizes, -1) {
		err = fmt.Errorf("%w: no sizes of the decoded parts of UID %d", remote.ErrUnsupported, uid)
	}
	if err != nil {
		return nil, err
	}
	return sizes, nil
}

// binary fetches items of RFC 3516 of one message. A refusal (UNKNOWN-CTE of section 4.3, mostly), or an answer that can't
// be parsed, is ErrUnsupported: the caller can do with BODY. So is the end of the connection, which is Dovecot's answer to
// base64 that is none; therefore nothing else is under way on the connection.
func (a *Account) binary(ctx context.Context, at remote.Place, uid remote.UID,
	options *goimap.FetchOptions, take func(imapclient.FetchItemData) error) error {
	set := remote.NewUIDSet(uid)
	b := box{bodies, at}
	err := a.pool.use(ctx, b.fetching(set, true), func(s *session) error {
		if !s.caps.Has(goimap.CapBinary) && !s.caps.Has(goimap.CapIMAP4rev2) {
			return fmt.Errorf("%w: BINARY", remote.ErrUnsupported)
		}
		return s.fetch(set, options, false, func(data *imapclient.FetchMessageData) error {
			for item := data.Next(); item != nil; item = data.Next() {
				if err := take(item); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if refused(err) || errors.Is(err, wire.ErrUnparsable) || errors.Is(err, remote.ErrLost) {
		return fmt.Errorf("%w: %w", remote.ErrUnsupported, err)
	}
	return err
}
