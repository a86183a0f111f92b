package pop3

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// maildrop is the messages of one session. It never changes.
type maildrop struct {
	messages []message // sorted by UID
}

// message is a message of a maildrop.
type message struct {
	uid    remote.UID
	key    string
	number int   // within this session (RFC 1939, section 5)
	size   int64 // in bytes, as LIST announces it; -1 when LIST does not
}

// find returns a message by UID.
func (d *maildrop) find(uid remote.UID) (message, bool) {
	i, ok := slices.BinarySearchFunc(d.messages, uid, func(m message, u remote.UID) int { return cmp.Compare(m.uid, u) })
	if !ok {
		return message{}, false
	}
	return d.messages[i], true
}

// mostUnlisted bounds the messages that are asked for one by one since STAT counts them and no list names them.
const mostUnlisted = 1000

// load reads which messages the maildrop holds. Where a line of a list can't be understood, that message is asked for by
// itself. A message without a unique-id is named after its size and header, which costs a TOP for each message and session;
// so are all messages of a server without UIDL.
func (a *Account) load(s *session) error {
	stat := &exchange{command: "STAT"}
	uidl := &exchange{command: "UIDL", multi: true}
	list := &exchange{command: "LIST", multi: true}
	if err := s.ask(stat, uidl, list); err != nil {
		return err
	}
	if stat.refused {
		if locked(stat.said) {
			return fmt.Errorf("%w: the server says %q", errInUse, remote.Shorten(stat.said))
		}
		return stat.refusal()
	}
	count, err := strconv.Atoi(strings.SplitN(stat.said, " ", 2)[0])
	if err != nil || count < 0 {
		return fmt.Errorf("%w: the server answers %q to STAT", remote.ErrServer, remote.Shorten(stat.said))
	}
	s.drop = &maildrop{}
	if count == 0 && len(list.answer) == 0 { // an empty maildrop has been seen to refuse LIST and UIDL
		return nil
	}
	if list.refused {
		return list.refusal()
	}
	if uidl.refused && (a.hasUIDL || s.has("UIDL")) {
		return uidl.refusal() // naming messages after their headers now would give each of them another name
	}
	a.hasUIDL = a.hasUIDL || !uidl.refused

	ids, sizes := parseList(uidl.answer), map[int]int64{}
	for number, text := range parseList(list.answer) {
		if size, ok := parseSize(text); ok {
			sizes[number] = size
		}
	}
	if err := a.fillIn(s, count, ids, sizes, !uidl.refused); err != nil {
		return err
	}
	numbers := make([]int, 0, len(sizes))
	for n := range sizes {
		numbers = append(numbers, n)
	}
	for n := range ids {
		if _, ok := sizes[n]; !ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	if err := a.renameShared(s, ids, sizes); err != nil {
		return err
	}
	if err := a.hashHeaders(s, numbers, ids, sizes); err != nil {
		return err
	}

	s.drop.messages = make([]message, 0, len(numbers))
	taken := make(map[remote.UID]bool, len(numbers))
	for _, n := range numbers {
		size, ok := sizes[n]
		if !ok {
			size = -1
		}
		uid, key := remote.KeyOfUIDL(ids[n])
		// Copies of a message may share a unique-id (RFC 1939, section 7).
		for copies := 2; taken[uid]; copies++ {
			uid, key = remote.KeyOfUIDL(fmt.Sprintf("%s\x00%d", ids[n], copies))
		}
		taken[uid] = true
		s.drop.messages = append(s.drop.messages, message{uid: uid, key: key, number: n, size: size})
	}
	slices.SortFunc(s.drop.messages, func(m, n message) int { return cmp.Compare(m.uid, n.uid) })
	return nil
}

// renameShared names messages after size and header where they share a unique-id and are no copies of each other, as on a
// server that makes unique-ids of a part of the header: when one of them goes, its name would come to mean another one. A
// unique-id that was shared once counts as shared from then on.
func (a *Account) renameShared(s *session, ids map[int]string, sizes map[int]int64) error {
	sharing := map[string][]int{}
	for n, id := range ids {
		sharing[id] = append(sharing[id], n)
	}
	maps.DeleteFunc(sharing, func(id string, numbers []int) bool { return len(numbers) < 2 && !a.shared[id] })
	others := map[int]string{}
	if err := a.hashHeaders(s, slices.Concat(slices.Collect(maps.Values(sharing))...), others, sizes); err != nil {
		return err
	}
	for id, numbers := range sharing {
		if a.shared[id] || slices.ContainsFunc(numbers, func(n int) bool { return others[n] != others[numbers[0]] }) {
			if a.shared == nil {
				a.shared = map[string]bool{}
			}
			a.shared[id] = true
			for _, n := range numbers {
				ids[n] = others[n]
			}
		}
	}
	return nil
}

// fillIn asks one by one for the messages that the lists left out. count is how many STAT says there are.
func (a *Account) fillIn(s *session, count int, ids map[int]string, sizes map[int]int64, hasUIDL bool) error {
	var unlisted int
	var alone []*exchange
	for n := range sizes {
		if _, ok := ids[n]; !ok && hasUIDL {
			alone = append(alone, &exchange{command: "UIDL " + strconv.Itoa(n)})
		}
	}
	for n := range ids {
		if _, ok := sizes[n]; !ok {
			alone = append(alone, &exchange{command: "LIST " + strconv.Itoa(n)})
		}
	}
	for n := 1; n <= count && unlisted < mostUnlisted; n++ {
		_, named := ids[n]
		_, sized := sizes[n]
		if named || sized {
			continue
		}
		unlisted++
		alone = append(alone, &exchange{command: "LIST " + strconv.Itoa(n)})
		if hasUIDL {
			alone = append(alone, &exchange{command: "UIDL " + strconv.Itoa(n)})
		}
	}
	if len(alone) == 0 {
		return nil
	}
	a.log.Warn("the lists of the maildrop are incomplete: messages are asked for one by one", "messages", count, "commands", len(alone))
	if err := s.ask(alone...); err != nil {
		return err
	}
	for _, x := range alone {
		number, text, ok := parseEntry(x.said)
		_, asked, _ := strings.Cut(x.command, " ")
		if x.refused || !ok || strconv.Itoa(number) != asked {
			continue
		}
		if x.verb() == "UIDL" {
			ids[number] = text
		} else if size, ok := parseSize(text); ok {
			sizes[number] = size
		}
	}
	return nil
}

// hashHeaders gives those of the messages that have no unique-id one that is made of their size and header.
func (a *Account) hashHeaders(s *session, numbers []int, ids map[int]string, sizes map[int]int64) error {
	nameless := slices.DeleteFunc(slices.Clone(numbers), func(n int) bool { _, ok := ids[n]; return ok })
	for part := range slices.Chunk(nameless, window) {
		tops := make([]*exchange, len(part))
		for i, n := range part {
			tops[i] = &exchange{command: fmt.Sprintf("TOP %d 0", n), multi: true}
		}
		if err := s.ask(tops...); err != nil {
			return err
		}
		for i, n := range part {
			x := tops[i]
			if x.refused {
				x = &exchange{command: fmt.Sprintf("RETR %d", n), multi: true, size: sizes[n]}
				if err := s.ask(x); err != nil {
					return err
				}
			}
			ids[n] = fmt.Sprintf("\x00%d\x00%s", sizes[n], cutHeader(x.answer)) // NUL is in no unique-id
		}
	}
	return nil
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

// parseEntry reads one line of LIST or UIDL: a message number and what is told of that message.
func parseEntry(line string) (number int, text string, ok bool) {
	first, text, _ := strings.Cut(strings.TrimSpace(line), " ")
	number, err := strconv.Atoi(first)
	text = strings.TrimSpace(text)
	return number, text, err == nil && number > 0 && text != ""
}

// parseSize reads what LIST tells of a message: its size, and maybe more (RFC 1939, section 5).
func parseSize(text string) (int64, bool) {
	size, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
	return size, err == nil && size >= 0
}

// cutHeader returns the header of a message: the lines before the first empty one, with CRLF, at most MaxHeader bytes.
func cutHeader(m []byte) []byte {
	header := make([]byte, 0, min(len(m), remote.MaxHeader))
	for line := range bytes.Lines(m) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 || len(header) == remote.MaxHeader {
			break
		}
		header = append(header, line[:min(len(line), remote.MaxHeader-len(header))]...)
		header = append(header, "\r\n"[:min(2, remote.MaxHeader-len(header))]...)
	}
	return header
}
