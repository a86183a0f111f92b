package remote

import "strconv"

// Part is one part of a message's MIME structure (RFC 2045, RFC 2046), as a server tells it in BODYSTRUCTURE (RFC 9051,
// section 7.5.2) or the message itself shows it.
type Part struct {
	// Number addresses the part within the message, as in RFC 9051, section 6.4.5.1: "1.2". The parts of a multipart have
	// one, the multipart itself has that of what it lies in, "" at the top.
	Number string
	// Type is the media type in lower case: "text/plain".
	Type string
	// Params are the parameters of Content-Type: names in lower case, values as they stand.
	Params map[string]string
	// Encoding is the Content-Transfer-Encoding in lower case.
	Encoding string
	// Size of the content in bytes, encoded as it is.
	Size int64
	// Disposition is the Content-Disposition (RFC 2183) in lower case, "" where there is none; DispositionParams as Params.
	Disposition       string
	DispositionParams map[string]string
	// Subject of the message that a message/rfc822 holds, as it stands or decoded.
	Subject string
	// Parts of a multipart; of a message/rfc822 the one part that is its body.
	Parts []*Part
}

// MaxParts and MaxDepth bound the structures that are dealt with: Dovecot tells no more of a message than this.
const (
	MaxParts = 10_000
	MaxDepth = 100
)

// IsMultipart tells whether the part only holds others.
func (p *Part) IsMultipart() bool { return len(p.Type) > 10 && p.Type[:10] == "multipart/" }

// Enumerate gives numbers to all parts of a message, of which p is the outermost. It is ErrTooComplex when there are more
// than MaxParts, or when they lie deeper than MaxDepth.
func (p *Part) Enumerate() error {
	count := 0
	return p.enumerate("", false, 0, &count)
}

// enumerate numbers a part that lies in what has the number prefix. numbered says that it is the part of that number
// itself; else it is the body of a message.
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

func below(prefix string, n int) string {
	if prefix == "" {
		return strconv.Itoa(n)
	}
	return prefix + "." + strconv.Itoa(n)
}

// MaxFullHeader is the longest header in bytes that is dealt with as a whole.
const MaxFullHeader = 1 << 20

// Section names a piece of a message (RFC 9051, section 6.4.5.1).
type Section struct {
	// Number of a part; "" is the message itself.
	Number string
	// Aspect of the part.
	Aspect Aspect
}

// Aspect is what of a part is meant.
type Aspect uint8

// The aspects of a part.
const (
	// Content is what the part holds, in its Content-Transfer-Encoding. Not for the message itself.
	Content Aspect = iota
	// Fields are the header fields HeaderFields of the message that the part is.
	Fields
	// FullHeader is the whole header of the message that the part is, cut after MaxFullHeader+1 bytes.
	FullHeader
)
