package wire

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// greeting is how a connection begins (RFC 9051, section 7.1); any other beginning is that of another protocol.
var greeting = regexp.MustCompile(`(?i)^\s*\*\s*(?:OK|NO|BAD|BYE|PREAUTH)\b`)

// frame reads what the server says next, and makes ready what go-imap is to see of it, which may be nothing.
func (c *Conn) frame() error {
	c.ready = c.store[:0]
	err := c.response()
	if cap(c.ready) <= bufferSize {
		c.store = c.ready
	}
	return err
}

// response is frame, with ready empty. A line that it leaves in the buffer is read again the next time.
func (c *Conn) response() error {
	if c.fetching.state != fetchBody {
		c.size, c.inResponse = 0, c.fetching.state == fetchReading
	}
	end, err := c.line(0)
	if err != nil {
		if c.fetching.state == fetchHeld { // what has come stands
			c.ready = append(c.ready, c.fetching.close()...)
			return nil
		}
		return err
	}
	line := c.buf[c.r : c.r+end]
	c.scanner = scanner{b: line, conn: c}
	s := &c.scanner
	if c.fetching.state == fetchBody {
		c.r += end
		c.fetching.state = fetchReading
		c.size += int64(end)
		return c.ended(c.readFetch(s))
	}
	if !c.greeted && len(bytes.TrimSpace(line)) > 0 {
		if !greeting.Match(line) {
			return c.end(fmt.Errorf("%w: the server greets with %q", ErrUnparsable, remote.Shorten(string(bytes.TrimSpace(line)))))
		}
		c.greeted = true
	}
	s.blanks()
	word := s.atom()
	var number []byte
	if rest, ok := bytes.CutPrefix(word, []byte("*")); ok {
		if s.pos -= len(rest); len(rest) == 0 {
			s.blanks()
		}
		word = s.word()
		if len(word) > 0 && digits(word) == len(word) {
			number = word
			s.blanks()
			word = s.word()
		}
		if n, ok := parseNumber(number, max32); ok && n > 0 && bytes.EqualFold(word, []byte("FETCH")) {
			before := c.fetching.begin(number)
			c.ready = append(c.ready, before...)
			c.r += end
			c.inResponse = true
			c.size = int64(end)
			return c.ended(c.readFetch(s))
		}
		if c.fetching.state == fetchHeld {
			c.ready = append(c.ready, c.fetching.close()...)
			return nil // the line is read again
		}
		c.r += end
		return c.ended(c.untagged(s, number, strings.ToUpper(string(word))))
	}
	if c.fetching.state == fetchHeld {
		c.ready = append(c.ready, c.fetching.close()...)
		return nil
	}
	c.r += end
	return c.ended(c.tagged(s, word))
}

// ended notes that a response was read.
func (c *Conn) ended(err error) error {
	if c.fetching.state != fetchBody {
		c.inResponse = false
	}
	if err != nil {
		c.ready = nil
	}
	return err
}

// word reads the word that says which response it is: up to a blank, a parenthesis or a bracket.
func (s *scanner) word() []byte {
	word := s.atom()
	if i := bytes.IndexByte(word, '['); i >= 0 {
		s.pos -= len(word) - i
		word = word[:i]
	}
	return word
}

// untagged reads an untagged response but FETCH. number stands before its word, or is nil.
func (c *Conn) untagged(s *scanner, number []byte, word string) error {
	switch {
	case number != nil && (word == "EXISTS" || word == "RECENT" || word == "EXPUNGE"):
		if word == "EXISTS" {
			c.noteExists()
		}
		c.ready = append(c.ready, c.answers.counted(number, word, s.b)...)
	case number == nil && statusWords[word]:
		if word == "BYE" {
			c.mu.Lock()
			c.ending.Bye = remote.Shorten(strings.TrimSpace(string(bytes.TrimRight(s.b[s.pos:], "\r\n"))))
			c.mu.Unlock()
		}
		c.ready = append(c.ready, c.answers.statusLine("*", word, s)...)
	case number == nil && untagged[word] != nil:
		c.inResponse = true
		text := untagged[word](&c.answers, s)
		if s.err != nil {
			return s.err
		}
		if err := c.skip(s); err != nil { // a literal where none was looked for
			return err
		}
		if text != nil {
			c.ready = append(append(append(c.ready, "* "...), word...), text...)
		}
	default:
		return c.skip(s)
	}
	return nil
}

// tagged reads a tagged response, a continuation request, or what is neither.
func (c *Conn) tagged(s *scanner, tag []byte) error {
	switch {
	case bytes.HasPrefix(tag, []byte("+")):
		if !c.tags.invitation() {
			c.answers.misunderstood("+", s.b)
			break
		}
		text := bytes.TrimRight(s.b[bytes.IndexByte(s.b, '+')+1:], "\r\n")
		c.ready = append(append(append(c.ready, "+ "...), bytes.TrimLeft(text, " \t")...), "\r\n"...)
	case string(tag) == ownTag:
		return c.compressAnswered(s.b)
	case c.tags.answered(string(tag)):
		s.blanks()
		at := s.pos
		condition := strings.ToUpper(string(s.word()))
		if condition != "OK" && condition != "NO" {
			if condition != "BAD" {
				s.pos = at // which says something, but not that it is done
			}
			condition = "BAD"
		}
		c.noteAnswer(condition)
		c.ready = append(c.ready, c.answers.statusLine(string(tag), condition, s)...)
	case len(bytes.TrimSpace(s.b)) > 0:
		c.answers.misunderstood("", s.b)
	}
	return nil
}

// skip drops what is left of a response behind the lines that s has read, with the literals in it.
func (c *Conn) skip(s *scanner) error {
	c.inResponse = true
	for line := s.b; ; {
		size, ok := literalAfter(line)
		if !ok {
			return nil
		}
		if c.size += size; size < 0 || c.size > maxLine {
			return c.end(fmt.Errorf("%w: a response of more than %d bytes", ErrUnparsable, maxLine))
		}
		if err := c.discard(size); err != nil {
			return err
		}
		end, err := c.line(0)
		if err != nil {
			return err
		}
		line = c.buf[c.r : c.r+end]
		c.r += end
	}
}

// literalAfter returns the size in bytes of the literal that a line announces at its end, behind a blank, a parenthesis or
// another literal.
func literalAfter(line []byte) (size int64, announced bool) {
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || open > 0 && !bytes.ContainsRune([]byte(" \t(~"), rune(line[open-1])) || bytes.IndexByte(line[open:], '\n') != len(line)-open-1 {
		return 0, false
	}
	size, announced = (&scanner{b: line, pos: open}).announced()
	return size, announced
}

// receiveLiteral appends the literal of size bytes that s announces at its end, and the line after it, to what s reads.
func (c *Conn) receiveLiteral(s *scanner, size int64) error {
	limit := int64(maxString)
	if c.buffering {
		limit = maxUnnamed
	}
	if size < 0 || size > limit {
		return c.end(fmt.Errorf("%w: a literal of more than %d bytes", ErrUnparsable, limit))
	}
	if !c.buffering {
		c.size += size
	}
	if !s.owned { // the line lies in the buffer that the next bytes are received into
		s.b, s.owned = slices.Clip(bytes.Clone(s.b)), true
	}
	var err error
	if s.b, err = c.take(s.b, int(size)); err != nil {
		return err
	}
	end, err := c.line(0)
	if err != nil {
		return err
	}
	if c.size += int64(end); c.size > maxLine {
		return c.end(fmt.Errorf("%w: a response of more than %d bytes", ErrUnparsable, maxLine))
	}
	s.b = append(s.b, c.buf[c.r:c.r+end]...)
	c.r += end
	return nil
}

// take appends the next n bytes to b.
func (c *Conn) take(b []byte, n int) ([]byte, error) {
	for n > 0 {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return b, err
			}
		}
		part := c.buf[c.r:min(c.w, c.r+n)]
		b = append(b, part...)
		c.r += len(part)
		n -= len(part)
	}
	return b, nil
}

// discard drops the next size bytes.
func (c *Conn) discard(size int64) error {
	if size < 0 {
		return c.end(fmt.Errorf("%w: a literal of more bytes than there can be", ErrUnparsable))
	}
	for size > 0 {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return err
			}
		}
		n := min(size, int64(c.w-c.r))
		c.r += int(n)
		size -= n
	}
	return nil
}
