//go:build linux

package harness

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Lie is the connection in which a server is made to lie. A function that lies gets it with each line of the server, and
// returns what the client is to see in place of the line.
type Lie struct {
	proxy *Proxy
	conn  int
}

// last returns the last line that the client sent in this connection.
func (l *Lie) last() string {
	said := l.proxy.Said()
	for i := len(said) - 1; i >= 0; i-- {
		if !said[i].FromServer && said[i].Conn == l.conn {
			return said[i].Text
		}
	}
	return ""
}

var (
	imapSize     = regexp.MustCompile(`RFC822\.SIZE (\d+)`)
	imapDate     = regexp.MustCompile(`INTERNALDATE "[^"]*"`)
	imapSequence = regexp.MustCompile(`^\* (\d+) FETCH `)
	popSize      = regexp.MustCompile(`^((?:\+OK )?\d+) (\d+)\r\n$`)
)

// WrongSizes announces a message of size bytes with wrong(size).
func WrongSizes(wrong func(size int64) int64) func(*Lie, string) string {
	return func(l *Lie, line string) string {
		line = imapSize.ReplaceAllStringFunc(line, func(item string) string {
			n, _ := strconv.ParseInt(imapSize.FindStringSubmatch(item)[1], 10, 64)
			return fmt.Sprintf("RFC822.SIZE %d", max(0, wrong(n)))
		})
		if m := popSize.FindStringSubmatch(line); m != nil && strings.EqualFold(strings.TrimRight(l.last(), " 0123456789"), "LIST") {
			n, _ := strconv.ParseInt(m[2], 10, 64)
			line = fmt.Sprintf("%s %d\r\n", m[1], max(0, wrong(n)))
		}
		return line
	}
}

// WrongDates gives every message an INTERNALDATE that is none, of three kinds.
func WrongDates(_ *Lie, line string) string {
	m := imapSequence.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	n, _ := strconv.Atoi(m[1])
	bad := []string{
		`INTERNALDATE NIL`, `INTERNALDATE "32-Foo-0001 99:99:99 +0000"`, `INTERNALDATE "01-Jan-0001 00:00:00 +0000"`,
	}
	return imapDate.ReplaceAllLiteralString(line, bad[n%len(bad)])
}

// Chatter says before every answer to FETCH something that no RFC knows.
func Chatter(_ *Lie, line string) string {
	if imapSequence.MatchString(line) {
		return "* XMAILFS-TEST (\"what\" {4}\r\n)\r\n* NIL)\r\n* 3 XNONSENSE\r\n" + line
	}
	return line
}

// BrokenFetch makes the answers that hold the size of one message impossible to parse, by a space too many. The message is
// given by its sequence number. A server that does this was seen.
func BrokenFetch(sequence int) func(*Lie, string) string {
	return func(_ *Lie, line string) string {
		prefix := fmt.Sprintf("* %d FETCH (", sequence)
		if strings.HasPrefix(line, prefix) && strings.Contains(line, "RFC822.SIZE") {
			return strings.Replace(line, "RFC822.SIZE ", "RFC822.SIZE  ", 1)
		}
		return line
	}
}

// WithoutSASL offers no mechanism of AUTHENTICATE, so that only LOGIN is left.
func WithoutSASL(_ *Lie, line string) string {
	return regexp.MustCompile(` (AUTH=\S*[A-Z]|SASL-IR)\b`).ReplaceAllString(line, "")
}

// WrongStructure announces parts without an encoding as so many bytes longer, or shorter, than they are.
func WrongStructure(more int) func(*Lie, string) string {
	octets := regexp.MustCompile(`("[78]bit") (\d+)`)
	return func(_ *Lie, line string) string {
		if !strings.Contains(line, "BODYSTRUCTURE ") {
			return line
		}
		return octets.ReplaceAllStringFunc(line, func(said string) string {
			m := octets.FindStringSubmatch(said)
			n, _ := strconv.Atoi(m[2])
			return fmt.Sprintf("%s %d", m[1], max(0, n+more))
		})
	}
}

// EmptyMultiparts announces every multipart as one without parts.
func EmptyMultiparts(_ *Lie, line string) string {
	if i := strings.Index(line, "BODYSTRUCTURE (("); i >= 0 {
		end := strings.LastIndex(line, " BODY[")
		return line[:i] + `BODYSTRUCTURE ("multipart" "mixed" ("boundary" "x") NIL NIL "7bit" 100 NIL NIL NIL NIL)` + line[end:]
	}
	return line
}

// Forbidden refuses to open a mailbox, with the given text.
func Forbidden(mailbox, says string) func(*Lie, string) string {
	return func(l *Lie, line string) string {
		tag, command, _ := strings.Cut(l.last(), " ")
		if strings.HasPrefix(command, "EXAMINE ") && strings.Contains(command, mailbox) && strings.HasPrefix(line, tag+" ") {
			return tag + " NO " + says + "\r\n"
		}
		return line
	}
}

// WithoutUIDNEXT names no UIDNEXT, as RFC 3501 allows, and offers no extension that tells what has changed.
func WithoutUIDNEXT(_ *Lie, line string) string {
	if strings.HasPrefix(line, "* OK [UIDNEXT ") || strings.HasPrefix(line, "* OK [HIGHESTMODSEQ ") {
		return "* OK that's it\r\n"
	}
	return regexp.MustCompile(` (CONDSTORE|QRESYNC|ESEARCH)\b`).ReplaceAllString(line, "")
}
