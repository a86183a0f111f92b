package pop3

import (
	"bytes"
	"slices"
)

// evidence is how often the server's answers have shown what of TOP and LIST, in the account's lifetime. What follows:
//
//	observed              how often   then
//	topMissing            1           RETR is sent in TOP's stead, always
//	topCuts               1           RETR is sent for whole messages
//	topPadded             1           a TOP that is a CRLF longer than LIST says is not believed
//	topPadded             2           it is, with the empty line after its header taken out, unless the next two were seen
//	topAsAnnounced        1           a TOP that is a CRLF longer than LIST says is believed, unless topPadded was seen
//	topAndRETRPlusCRLF    1           the same
//	topAndRETRLonger      1           a TOP that is somewhat longer in another way is believed
//	topAndRETRUnlike      3           RETR is sent for whole messages: the size tells nothing of what TOP gives
//	topLacksEmptyLine     1           a TOP without lines need not end in the empty line after the header
//	sizeHolds             1           a message that comes shorter by RETR, by more than it may be miscounted, is cut, unless
//	                                  sizeTooSmall was seen
//	listExact             first       a whole message that is a CRLF longer than LIST says is stored without that CRLF
//	listInexact           first       it keeps that CRLF
//	messageAskedFor       2           no more messages are asked for only to find out about LIST
//
// A TOP that is as long as LIST says is always believed, one that is shorter never, however often LIST was wrong: nothing
// tells it from one that was cut. Where one is not believed, the message is asked for again by RETR, and the two are compared.
type evidence [observations]int

// observation is something that an answer shows.
type observation uint8

const (
	topAnswered        observation = iota // a TOP was not refused
	topMissing                            // TOP was refused, but not the RETR in its stead, and no TOP was ever answered
	topCuts                               // a TOP of all lines gave less than RETR
	topPadded                             // it gave what RETR gave, and one empty line more after the header (GNU Mailutils)
	topAsAnnounced                        // it gave as many bytes as LIST says
	topAndRETRPlusCRLF                    // both gave the same, which is a CRLF at the end longer than LIST says
	topAndRETRLonger                      // both gave the same, which is longer in another way
	topAndRETRUnlike                      // both gave the same, which is shorter or far longer than LIST says, or LIST says no size
	topLacksEmptyLine                     // a TOP without lines gave the header that RETR gave, without the empty line after it
	sizeHolds                             // a whole message is as long as LIST says
	sizeTooSmall                          // a whole message is longer than LIST says, and not only by a CRLF
	listExact                             // the first message that tells about LIST is as long as LIST says
	listInexact                           // the first message that tells about LIST is not
	messageAskedFor                       // a message was asked for only to find out about LIST
	observations
	nothingNew // an answer that shows nothing
)

// How often an observation must be made.
const (
	enoughUnlike = 3
	enoughPadded = 2
	// mostAskedFor bounds the messages that are asked for to find out about LIST: where none tells, all messages of the
	// server come longer than LIST says.
	mostAskedFor = 2
)

// means is the command that a request is put into.
type means uint8

const (
	byTOP  means = iota // TOP n 0: the header
	allTOP              // TOP n allLines: the message, and no mark on it
	byRETR              // RETR n: the message
)

// has tells whether an observation was made.
func (e *evidence) has(o observation) bool { return e[o] > 0 }

// note takes an observation, and tells whether it is the first of its kind.
func (e *evidence) note(o observation) (first bool) {
	if o == nothingNew {
		return false
	}
	e[o]++
	return e[o] == 1
}

// length is how long a message came, beside the size that LIST announces.
type length uint8

const (
	unannounced length = iota // LIST says no size
	asAnnounced
	plusCRLF   // two bytes longer, which end in a CRLF: it may be the protocol's and not the message's
	longer     // in another way, as where LIST counts LF for CRLF, or guesses
	muchLonger // so much that the size tells nothing
	shorter
)

// lengthOf returns how long content is beside a size in bytes; negative: LIST says none.
func lengthOf(content []byte, size int64) length {
	switch more := int64(len(content)) - size; {
	case size < 0:
		return unannounced
	case more == 0:
		return asAnnounced
	case more == 2 && bytes.HasSuffix(content, []byte("\r\n")):
		return plusCRLF
	case more > max(int64(bytes.Count(content, []byte("\n"))), size/16):
		return muchLonger
	case more > 0:
		return longer
	default:
		return shorter
	}
}

// topAnswer is what TOP gave for a message that is asked for again by RETR.
type topAnswer struct {
	refused bool
	noLines bool // TOP n 0
	content []byte
}

// compare returns what the RETR shows that gave content after a TOP did not do. l is how long content is.
func (e *evidence) compare(top *topAnswer, content []byte, l length) observation {
	switch {
	case top.refused && (e.has(topAnswered) || e.has(topMissing)):
		return nothingNew
	case top.refused:
		return topMissing
	case top.noLines:
		if len(top.content) > 0 && bytes.Equal(cutHeader(top.content), cutHeader(content)) {
			return topLacksEmptyLine
		}
		return nothingNew
	case bytes.Equal(top.content, content):
		switch l {
		case plusCRLF:
			return topAndRETRPlusCRLF
		case longer:
			return topAndRETRLonger
		default:
			return topAndRETRUnlike
		}
	case len(content) > 0 && bytes.Equal(withoutPad(top.content), content):
		return topPadded
	case len(top.content) < len(content):
		return topCuts
	default: // the server makes the message anew each time
		return nothingNew
	}
}

// judge returns what a message that came whole by a command shows of LIST. l is how long it is; believed says that it is the
// whole message for certain. The first message that shows it decides, so that a message does not read one way now and
// another way later.
func (e *evidence) judge(l length, believed bool) observation {
	switch {
	case e.has(listExact) || e.has(listInexact), l == unannounced, l == plusCRLF:
		return nothingNew
	case l == asAnnounced:
		return listExact
	case believed:
		return listInexact
	default:
		return nothingNew
	}
}

// command returns the command for a header or a whole message. sized says that LIST announces its size: where it does not, a
// header costs the whole message, which gives both.
func (e *evidence) command(what aim, sized bool) means {
	switch {
	case e.has(topMissing):
		return byRETR
	case what == header && sized:
		return byTOP
	case e.has(topCuts), e[topAndRETRUnlike] >= enoughUnlike:
		return byRETR
	default:
		return allTOP
	}
}

// pads tells whether the server's TOP adds an empty line after the header, as far as is known always.
func (e *evidence) pads() bool {
	return e[topPadded] >= enoughPadded && !e.has(topAsAnnounced) && !e.has(topAndRETRPlusCRLF)
}

// believes tells whether what a TOP of all lines gave is what RETR would give. l is how long it is; padded says that an empty
// line follows the one after its header, and matters only where that was seen before.
func (e *evidence) believes(l length, padded bool) bool {
	switch l {
	case asAnnounced:
		return true
	case plusCRLF:
		if e.has(topPadded) {
			return e.pads() && padded
		}
		return e.has(topAndRETRPlusCRLF) || e.has(topAsAnnounced)
	case longer:
		return e.has(topAndRETRLonger)
	default:
		return false
	}
}

// believesHeader tells whether what a TOP without lines gave is the whole header. size is what LIST announces; negative: none.
func (e *evidence) believesHeader(content []byte, size int64) bool {
	return int64(len(content)) >= size || hasEmptyLine(content) || len(content) > 0 && e.has(topLacksEmptyLine)
}

// hasEmptyLine tells whether the header of a message is all there.
func hasEmptyLine(content []byte) bool {
	return bytes.HasPrefix(content, []byte("\r\n")) || bytes.HasPrefix(content, []byte("\n")) ||
		bytes.Contains(content, []byte("\n\r\n")) || bytes.Contains(content, []byte("\n\n"))
}

// miscount is by how many bytes LIST may be wrong for a message that is whole, beside one for each line.
const miscount = 256

// refuses tells whether a message that came by RETR is cut: it is shorter than LIST says, which has proved exact, and by more
// than a server miscounts that counts another end of a line, or makes some header fields anew. dots is how
// many stuffed dots came with it; some servers count them.
func (e *evidence) refuses(content []byte, size, dots int64) bool {
	switch missing := size - int64(len(content)); {
	case missing <= 0:
		return false
	case len(content) == 0:
		return true
	default:
		lines := int64(bytes.Count(content, []byte("\n")))
		return missing != dots && missing > lines+miscount && e.has(sizeHolds) && !e.has(sizeTooSmall)
	}
}

// foreign is what of a whole message, as it came, is not the message's own.
type foreign uint8

const (
	none      foreign = iota
	emptyLine         // the one after the header that TOP adds
	lastCRLF          // the CRLF before the terminator of the answer
)

// foreignIn returns what is to be taken out of a whole message that came by a command. l is how long it came.
//
// A POP3 answer ends in CRLF before its terminator, so a message that doesn't end so arrives with two bytes that are not its
// own. From a server whose LIST counts exactly (Dovecot is one), a message that is two bytes longer than announced is such a
// message. From one that counts in another way everything stays as it was sent.
func (e *evidence) foreignIn(by means, l length) foreign {
	switch {
	case l != plusCRLF:
		return none
	case by == allTOP && e.pads():
		return emptyLine
	case e.has(listExact):
		return lastCRLF
	default:
		return none
	}
}

// asksForAnother tells whether another message is to be asked for, whose answer tells what to make of one that came. l is how
// long that one is.
func (e *evidence) asksForAnother(l length) bool {
	if e[messageAskedFor] >= mostAskedFor {
		return false
	}
	return l == plusCRLF && !e.has(listExact) && !e.has(listInexact) || l == shorter && !e.has(sizeHolds) && !e.has(sizeTooSmall)
}

// withoutPad returns a message without the empty line that TOP has added after its header; nil if there is none.
func withoutPad(m []byte) []byte {
	header, body, ok := bytes.Cut(m, []byte("\r\n\r\n\r\n"))
	if !ok || bytes.Contains(header, []byte("\r\n\r\n")) {
		return nil
	}
	return slices.Concat(header, []byte("\r\n\r\n"), body)
}
