package remote

import "strconv"

// Part is a part of a message's MIME structure (RFC 2045, RFC 2046), read from BODYSTRUCTURE (RFC 9051, section 7.5.2) or
// from the message itself.
type Part struct {
	// Number addresses the part within the message, as in "1.2" (RFC 9051, section 6.4.5.1); [Part.Enumerate] sets it. A
	// multipart that is the body of a message has the number of that message: "" for the outermost one.
	Number string
	// Type is the media type in lower case: "text/plain".
	Type string
	// Params are the parameters of Content-Type: names in lower case, values as the message has them.
	Params map[string]string
	// Encoding is the Content-Transfer-Encoding in lower case.
	Encoding string
	// Size is the number of bytes of the content in its Content-Transfer-Encoding.
	Size int64
	// Disposition is the Content-Disposition (RFC 2183) in lower case, "" where there is none.
	Disposition string
	// DispositionParams are the parameters of Content-Disposition, written as Params.
	DispositionParams map[string]string
	// Subject is that of the message in a message/rfc822, encoded (RFC 2047) or decoded.
	Subject string
	// Parts are those of a multipart, or the body of the message in a message/rfc822.
	Parts []*Part
}

// MaxParts and MaxDepth bound the structures that mailfs reads. Dovecot's answers stay within the same bounds.
const (
	MaxParts = 10_000
	MaxDepth = 100
)

// IsMultipart tells whether the part only holds other parts.
func (p *Part) IsMultipart() bool { return len(p.Type) > 10 && p.Type[:10] == "multipart/" }

// Enumerate sets the numbers of all parts of a message, of which p is the outermost. ErrTooComplex: there are more than
// MaxParts, or some lie deeper than MaxDepth.
func (p *Part) Enumerate() error {
	count := 0
	return p.enumerate("", false, 0, &count)
}

// enumerate sets the number of a part at a depth and of the parts in it, and adds them to count. Where numbered is true, the
// number of the part is prefix; else the part is the body of the message that has the number prefix.
func (p *Part) enumerate(prefix string, numbered bool, depth int, count *int) error {
	*count++
	if *count > MaxParts || depth > MaxDepth {
		return ErrTooComplex
	}
	p.Number = prefix
	if !numbered && !p.IsMultipart() {
		p.Number = below(prefix, 1)
	}
	for i, child := range p.Parts {
		var err error
		if p.IsMultipart() {
			err = child.enumerate(below(p.Number, i+1), true, depth+1, count)
		} else {
			err = child.enumerate(p.Number, false, depth+1, count)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below returns the number of the n-th part in the part with the number prefix.
func below(prefix string, n int) string {
	if prefix == "" {
		return strconv.Itoa(n)
	}
	return prefix + "." + strconv.Itoa(n)
}

// MaxFullHeader bounds, in bytes, a header that mailfs reads as a whole.
const MaxFullHeader = 1 << 20

// Section names something that a message holds (RFC 9051, section 6.4.5.1).
type Section struct {
	// Number is that of a part, or "" for the message itself.
	Number string
	Aspect Aspect
}

// Aspect says what of a part a Section is.
type Aspect uint8

// The aspects of a part.
const (
	// Content is the content of the part, in its Content-Transfer-Encoding. The message itself has none.
	Content Aspect = iota
	// Fields are the HeaderFields of the message itself, or of the message in a message/rfc822.
	Fields
	// FullHeader is the whole header of the message itself, or of the message in a message/rfc822. It is cut after
	// MaxFullHeader+1 bytes, so that a longer header shows.
	FullHeader
)
