package message

import (
	"slices"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// Doubtful tells whether a structure that a server tells can't be the one that Parse finds in the message, so that the message
// must be read to know its parts. header has the fields of the message's header as far as they are known.
func Doubtful(root *remote.Part, header []byte) bool {
	h := ParseHeader(header)
	if _, ok := h.raw("Content-Type"); ok && disagree(h, root) {
		return true
	}
	return doubtful(root, nil)
}

// disagree tells whether the field Content-Type says something else than the server.
func disagree(h Header, root *remote.Part) bool {
	mediaType, params := h.contentType("text/plain")
	outer := &remote.Part{Type: mediaType, Params: params}
	if !outer.IsMultipart() {
		return mediaType != root.Type || decodeParameter(params, "name") != decodeParameter(root.Params, "name")
	}
	return !root.IsMultipart() || root.Params != nil && boundaryOf(outer) != boundaryOf(root)
}

// doubtful tells whether a part can't be what the server says. boundaries are those of the multiparts that the part lies in.
func doubtful(p *remote.Part, boundaries []string) bool {
	if doubtfulParams(p.Params) || doubtfulParams(p.DispositionParams) || halfDecoded(p.Subject) {
		return true
	}
	kind, subtype, _ := strings.Cut(p.Type, "/")
	switch {
	case kind == "" || subtype == "" || strings.ContainsAny(p.Type, " \t;,=\"()"): // the server can't read the type
		return true
	case p.IsMultipart():
		if len(p.Parts) == 0 {
			return true
		}
		if only := p.Parts[0]; len(p.Parts) == 1 && only.Size == 0 && len(only.Parts) == 0 {
			return true // the server has found no part: it must name one (RFC 9051, section 9), and names an empty text
		}
		boundary := boundaryOf(p)
		if p.Params != nil && boundary == "" || boundary != "" && slices.Contains(boundaries, boundary) || strings.HasSuffix(p.Params["boundary"], " ") {
			return true
		}
		if p.Type == "multipart/digest" && slices.ContainsFunc(p.Parts, func(child *remote.Part) bool { return !isMessage(child.Type) }) {
			return true // RFC 2046, section 5.1.5: parts of no type are messages
		}
		boundaries = append(boundaries[:len(boundaries):len(boundaries)], boundary)
	case isMessage(p.Type):
		encoding, _ := splitParameters(p.Encoding)
		if !verbatim(encoding) || len(p.Parts) == 0 { // servers parse the encoded bytes, or nothing
			return true
		}
	}
	return slices.ContainsFunc(p.Parts, func(child *remote.Part) bool { return doubtful(child, boundaries) })
}

func doubtfulParams(params map[string]string) bool {
	for _, value := range params {
		if halfDecoded(value) {
			return true
		}
	}
	return false
}

// halfDecoded tells whether a text may have held encoded words that were decoded one by one where they had to be joined: a
// character or base64 was cut between them.
func halfDecoded(text string) bool {
	if strings.Contains(text, "\uFFFD") {
		return true
	}
	if !strings.Contains(text, "=?") {
		return false
	}
	at, _, word := findWord(text)
	return at >= 0 && (word.charset == "utf-8" || word.charset == "us-ascii" || word.charset == "iso-8859-1")
}

// Unsplit tells whether the content of a part, in its Content-Transfer-Encoding, goes on into another part: it holds a
// delimiter of a multipart that the part lies in. Then the structure is not that of the message.
func Unsplit(root *remote.Part, number string, content []byte) bool {
	for _, boundary := range boundariesAround(root, number, nil) {
		if at, _, _ := nextDelimiter(boundary, content, 0); at >= 0 {
			return true
		}
	}
	return false
}

// boundariesAround returns the boundaries of the multiparts that a part lies in. around has those that p lies in.
func boundariesAround(p *remote.Part, number string, around []string) []string {
	if !p.IsMultipart() && p.Number == number {
		return around
	}
	if boundary := boundaryOf(p); p.IsMultipart() && boundary != "" {
		around = append(around[:len(around):len(around)], boundary)
	}
	for _, child := range p.Parts {
		if found := boundariesAround(child, number, around); found != nil {
			return found
		}
	}
	return nil
}
