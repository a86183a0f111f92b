package pop3

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	count, sure := parseCount(stat.said)
	s.drop = &maildrop{}
	// An empty maildrop has been seen to refuse LIST and UIDL.
	if count == 0 && len(list.answer) == 0 && len(uidl.answer) == 0 {
		return nil
	}
	if list.refused {
		return list.refusal()
	}
	if uidl.refused && (a.hasUIDL || s.has("UIDL") || forNow(uidl.said)) {
		return uidl.refusal() // naming messages after their headers now would give each of them another name
	}
	a.hasUIDL = a.hasUIDL || !uidl.refused

	ids, sizes := parseList(uidl.answer), parseSizes(list.answer)
	if !sure { // the lists count
		lines := max(countLines(list.answer), countLines(uidl.answer))
		if lines == 0 && count != 0 {
			return fmt.Errorf("%w: the server answers %q to STAT, and LIST names no message", remote.ErrServer, remote.Shorten(stat.said))
		}
		count = lines
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
				x = &exchange{command: fmt.Sprintf("RETR %d", n), multi: true, size: max(sizes[n], 0)}
				if err := s.ask(x); err != nil {
					return err
				}
				if why := x.refusal(); x.refused && errors.Is(why, remote.ErrUnavailable) {
					return why // a name that is made of less than the header would change later
				}
			}
			ids[n] = fmt.Sprintf("\x00%d\x00%s", sizes[n], cutHeader(x.answer)) // NUL is in no unique-id
		}
	}
	return nil
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
