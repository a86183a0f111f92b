package pop3

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// How many messages are asked for by themselves.
const (
	// fewUnlisted is how many messages may lack in LIST or UIDL before the lists are asked for again.
	fewUnlisted = 20
	// mostUnlisted is how many messages that STAT counts and no list names are asked for. More are an error, unless none of so
	// many is there.
	mostUnlisted = 1000
)

// fillIn asks again for what the lists left out: by the lists, where that is much, and by itself. count is how many messages
// STAT says there are. A message that the server does not know when it is asked for by itself is none; a maildrop of which
// less is known than STAT says, without the server having said so, is an error.
func (a *Account) fillIn(s *session, count int, ids map[int]string, sizes map[int]int64, hasUIDL bool) error {
	unlisted := missing(count, ids, sizes)
	if lacking := len(unlisted) + halves(ids, sizes, hasUIDL); lacking > fewUnlisted {
		a.log.Warn("the lists of the maildrop are incomplete: they are asked for again", "messages", count, "lacking", lacking)
		list := &exchange{command: "LIST", multi: true}
		again := []*exchange{list}
		uidl := &exchange{command: "UIDL", multi: true}
		if hasUIDL {
			again = append(again, uidl)
		}
		if err := s.ask(again...); err != nil {
			return err
		}
		for number, text := range parseList(uidl.answer) {
			if _, ok := ids[number]; !ok {
				ids[number] = text
			}
		}
		for number, size := range parseSizes(list.answer) {
			if _, ok := sizes[number]; !ok {
				sizes[number] = size
			}
		}
		unlisted = missing(count, ids, sizes)
	}
	some := unlisted[:min(len(unlisted), mostUnlisted)]
	found, err := a.askAlone(s, some, ids, sizes, hasUIDL)
	switch {
	case err != nil:
		return err
	case count > 0 && len(ids) == 0 && len(sizes) == 0, len(unlisted) > len(some) && found > 0:
		return fmt.Errorf("%w: STAT counts %d messages, and LIST and UIDL do not name them", remote.ErrServer, count)
	case found < len(unlisted):
		a.log.Warn("STAT counts messages that the server does not know", "messages", count, "unknown", len(unlisted)-found)
	}
	return nil
}

// missing returns the numbers up to count that no list names.
func missing(count int, ids map[int]string, sizes map[int]int64) []int {
	var unlisted []int
	for n := 1; n <= count && len(unlisted) <= mostUnlisted; n++ {
		_, named := ids[n]
		_, sized := sizes[n]
		if !named && !sized {
			unlisted = append(unlisted, n)
		}
	}
	return unlisted
}

// halves returns how many messages one list names and the other does not.
func halves(ids map[int]string, sizes map[int]int64, hasUIDL bool) int {
	n := 0
	for number := range ids {
		if _, ok := sizes[number]; !ok {
			n++
		}
	}
	for number := range sizes {
		if _, ok := ids[number]; !ok && hasUIDL {
			n++
		}
	}
	return n
}

// askAlone asks for the messages that neither list names, and for what one list lacks of the messages of the other one. It
// returns how many of the former are there. One whose size the server does not tell gets the size -1.
func (a *Account) askAlone(s *session, unlisted []int, ids map[int]string, sizes map[int]int64, hasUIDL bool) (found int, err error) {
	var alone []*exchange
	ask := func(verb string, n int) { alone = append(alone, &exchange{command: verb + " " + strconv.Itoa(n)}) }
	for n := range sizes {
		if _, ok := ids[n]; !ok && hasUIDL {
			ask("UIDL", n)
		}
	}
	for n := range ids {
		if _, ok := sizes[n]; !ok {
			ask("LIST", n)
		}
	}
	nowhere := make(map[int]bool, len(unlisted))
	for _, n := range unlisted {
		nowhere[n] = true
		ask("LIST", n)
		if hasUIDL {
			ask("UIDL", n)
		}
	}
	if len(alone) == 0 {
		return 0, nil
	}
	a.log.Warn("the lists of the maildrop are incomplete: messages are asked for one by one", "commands", len(alone))
	if err := s.ask(alone...); err != nil {
		return 0, err
	}
	unknown := map[int]error{} // why nothing is known of a message
	for _, x := range alone {
		verb, argument, _ := strings.Cut(x.command, " ")
		asked, _ := strconv.Atoi(argument)
		if x.refused {
			why := x.refusal()
			if errors.Is(why, remote.ErrUnavailable) {
				return 0, why
			}
			if _, ok := unknown[asked]; nowhere[asked] && !(ok && gone(x.said)) {
				unknown[asked] = why
				if gone(x.said) {
					unknown[asked] = remote.ErrNoMessage
				}
			}
			continue
		}
		number, text, ok := parseEntry(x.said)
		switch size, sized := parseSize(text); {
		case ok && number == asked && verb == "UIDL":
			ids[asked] = text
		case ok && number == asked && sized:
			sizes[asked] = size
		case nowhere[asked]:
			if _, ok := sizes[asked]; !ok { // it is there: the server has not refused to tell of it
				sizes[asked] = -1
			}
		}
	}
	for _, n := range unlisted {
		_, named := ids[n]
		_, sized := sizes[n]
		switch {
		case named || sized:
			found++
		case !errors.Is(unknown[n], remote.ErrNoMessage):
			return 0, unknown[n]
		}
	}
	return found, nil
}

// parseCount reads the answer to STAT: how many messages there are. Where the answer does not begin with a number, it is not
// sure, and count is the first number in it, or -1.
func parseCount(said string) (count int, sure bool) {
	for i, field := range strings.Fields(said) {
		if n, err := strconv.ParseUint(strings.Trim(field, ":;,.()[]"), 10, 31); err == nil {
			return int(n), i == 0
		}
	}
	return -1, false
}

// countLines returns how many lines of the content of an answer are not blank.
func countLines(content []byte) int {
	n := 0
	for line := range bytes.Lines(content) {
		if len(bytes.TrimSpace(line)) > 0 {
			n++
		}
	}
	return n
}

// parseList reads the content of a LIST or UIDL answer, without the lines that can't be understood.
func parseList(content []byte) map[int]string {
	list := map[int]string{}
	for line := range bytes.Lines(content) {
		if number, text, ok := parseEntry(string(line)); ok {
			if _, twice := list[number]; !twice {
				list[number] = text
			}
		}
	}
	return list
}

// parseSizes reads the content of a LIST answer, without the lines that can't be understood.
func parseSizes(content []byte) map[int]int64 {
	sizes := map[int]int64{}
	for number, text := range parseList(content) {
		if size, ok := parseSize(text); ok {
			sizes[number] = size
		}
	}
	return sizes
}

// parseEntry reads one line of LIST or UIDL: a message number and what is told of that message, with any white space between
// them. What is told may hold white space itself.
func parseEntry(line string) (number int, text string, ok bool) {
	line = strings.TrimSpace(line)
	end := strings.IndexFunc(line, isSpace)
	if end < 0 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(line[:end], 10, 31)
	text = strings.TrimSpace(line[end:])
	return int(n), text, err == nil && n > 0 && text != ""
}

// isSpace tells whether a character separates the words of an answer.
func isSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// mostSize is the largest size, in bytes, that LIST is taken at its word for.
const mostSize = 1 << 50

// parseSize reads what LIST tells of a message: its size, and maybe more (RFC 1939, section 5).
func parseSize(text string) (int64, bool) {
	first, _, _ := strings.Cut(strings.Join(strings.Fields(text), " "), " ")
	size, err := strconv.ParseInt(first, 10, 64)
	return size, err == nil && 0 <= size && size <= mostSize
}
