package pop3

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestALineOfAListThatCannotBeUnderstoodCostsNoMessage(t *testing.T) {
	for name, lists := range map[string]map[string]string{
		"short LIST line":           {"LIST": "+OK\r\n1 52\r\n2\r\n3 52\r\n.\r\n"},
		"malformed UIDL lines":      {"UIDL": "+OK\r\n1 a\r\n\r\nx y\r\n2\r\n3 c\r\n.\r\n"},
		"LIST ends early":           {"LIST": "+OK\r\n1 52\r\n.\r\n"},
		"both end early":            {"LIST": "+OK\r\n1 52\r\n.\r\n", "UIDL": "+OK\r\n1 a\r\n.\r\n"},
		"no sizes at all":           {"LIST": "+OK\r\n.\r\n", "LIST 1": "-ERR\r\n", "LIST 2": "+OK\r\n", "LIST 3": "+OK 1 52\r\n"},
		"STAT says more":            {"STAT": "+OK 5 500\r\n"},
		"STAT says far more":        {"STAT": "+OK 2000000000 500\r\n"},
		"STAT says less":            {"STAT": "+OK 1 52\r\n"},
		"tabs":                      {"LIST": "+OK\r\n1\t52\r\n2\t52\r\n3\t52\r\n.\r\n", "UIDL": "+OK\r\n1\ta\r\n2\tb\r\n3\tc\r\n.\r\n"},
		"blanks":                    {"LIST": "+OK\r\n  1   52\r\n 2 52 \r\n\t3 \t52\r\n.\r\n", "UIDL": "+OK\r\n 1  a\r\n  2 b\r\n3   c\r\n.\r\n"},
		"extras":                    {"LIST": "+ok 3 messages\r\n1 52 octets\r\n2 52 (small)\r\n3 52\r\n.\r\n", "UIDL": "+Ok\r\n1 a b\r\n2 a c\r\n3 a\td\r\n.\r\n"},
		"sizes out of range":        {"LIST": "+OK\r\n1 99999999999999999999\r\n2 -52\r\n3 9223372036854775807\r\n.\r\n"},
		"no line is any":            {"LIST": "+OK\r\nfirst\r\nsecond\r\nthird\r\n.\r\n", "UIDL": "+OK\r\n1:a\r\n2:b\r\n3:c\r\n.\r\n"},
		"STAT with words":           {"STAT": "+OK messages: 3\r\n"},
		"STAT with words, LIST odd": {"STAT": "+OK you have mail\r\n", "LIST": "+OK\r\n1 52\r\n2\r\n3 52\r\n.\r\n", "UIDL": "+OK\r\n1 a\r\n.\r\n"},
		"STAT without anything":     {"STAT": "+OK\r\n"},
		"STAT says none":            {"STAT": "+OK 0 0\r\n"},
		"one without UIDL":          {"UIDL": "+OK\r\n1 a\r\n3 c\r\n.\r\n", "UIDL 2": "-ERR\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letters(3), func(r *responder) {
				r.misbehave = func(_ int, line string) *misdeed {
					if answer, ok := lists[line]; ok {
						return &misdeed{raw: answer}
					}
					return nil
				}
			})
			a := r.account(10 * time.Second)
			l := list(t, a)
			if len(l.messages) != 3 {
				t.Fatalf("%d messages", len(l.messages))
			}
			uids := l.uids(t, "letter 1", "letter 2", "letter 3")
			got, err := bodies(t, a, remote.Readahead, uids...)
			if err != nil {
				t.Fatal(err)
			}
			for i, u := range uids {
				if got[u] != string(r.messages[i].content) || l.messages[u].Size != int64(len(got[u])) {
					t.Errorf("message %d: %q, listed with %d bytes", i+1, got[u], l.messages[u].Size)
				}
			}
			again := list(t, r.account(10*time.Second))
			if again.known.Minus(l.known).Len() != 0 {
				t.Error("UIDs differ in the next session")
			}
		})
	}
}

// What a maildrop's lists do not tell is asked for again, or an error. It is never taken for "not there".
func TestAMaildropOfWhichTooLittleIsToldIsAnError(t *testing.T) {
	none := func(answer string, numbers ...int) map[string]string {
		lists := map[string]string{"LIST": "+OK\r\n.\r\n", "UIDL": "+OK\r\n.\r\n"}
		for _, n := range numbers {
			lists[fmt.Sprintf("LIST %d", n)], lists[fmt.Sprintf("UIDL %d", n)] = answer, answer
		}
		return lists
	}
	short := func(answer string) map[string]string {
		lists := none(answer, 2, 3)
		lists["LIST"], lists["UIDL"] = "+OK\r\n1 52\r\n.\r\n", "+OK\r\n1 a\r\n.\r\n"
		return lists
	}
	for name, c := range map[string]struct {
		answers map[string]string
		want    error
	}{
		"empty lists, and nobody knows the messages":  {none("-ERR no such message\r\n", 1, 2, 3), remote.ErrServer},
		"short lists, refused without a word":         {short("-ERR\r\n"), remote.ErrServer},
		"short lists, refused for now":                {short("-ERR [SYS/TEMP] busy\r\n"), remote.ErrUnavailable},
		"empty lists, and a STAT with words":          {map[string]string{"STAT": "+OK messages: 3\r\n", "LIST": "+OK\r\n.\r\n", "UIDL": "+OK\r\n.\r\n"}, remote.ErrServer},
		"empty lists, and a STAT without any":         {map[string]string{"STAT": "+OK what\r\n", "LIST": "+OK\r\n.\r\n", "UIDL": "+OK\r\n.\r\n"}, remote.ErrServer},
		"STAT refused for now":                        {map[string]string{"STAT": "-ERR [SYS/TEMP] busy\r\n"}, remote.ErrUnavailable},
		"LIST refused for now":                        {map[string]string{"LIST": "-ERR please try again later\r\n"}, remote.ErrUnavailable},
		"LIST refused":                                {map[string]string{"LIST": "-ERR no\r\n"}, remote.ErrServer},
		"UIDL refused for now by a server of any age": {map[string]string{"CAPA": "-ERR\r\n", "UIDL": "-ERR [SYS/TEMP] busy\r\n"}, remote.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			a := startServer(t, letters(3), func(r *responder) {
				r.misbehave = func(_ int, line string) *misdeed {
					if answer, ok := c.answers[line]; ok {
						return &misdeed{raw: answer}
					}
					return nil
				}
			}).account(10 * time.Second)
			l := &listed{}
			if err := l.try(t.Context(), a); !errors.Is(err, c.want) || len(l.messages) > 0 {
				t.Errorf("%d messages, %v; want %v", len(l.messages), err, c.want)
			}
		})
	}
}

func TestListsThatEndEarlyAreAskedForAgain(t *testing.T) {
	for lists := 1; lists <= 2; lists++ { // UIDL, or both
		short := 0
		r := startServer(t, letters(300), func(r *responder) {
			r.misbehave = func(_ int, line string) *misdeed {
				if (line == "UIDL" || line == "LIST") && short < lists {
					short++
					return &misdeed{raw: "+OK\r\n.\r\n"}
				}
				return nil
			}
		})
		if l := list(t, r.account(10*time.Second)); len(l.messages) != 300 || len(r.said("LIST")) != 2 {
			t.Errorf("%d messages, %d times LIST", len(l.messages), len(r.said("LIST")))
		}
	}
}

func TestLargeSizesAreListed(t *testing.T) {
	const size = 5<<30 + 7
	r := startServer(t, letters(1), func(r *responder) { r.messages[0].size = size })
	for _, m := range list(t, r.account(10*time.Second)).messages {
		if m.Size != size {
			t.Errorf("listed with %d bytes", m.Size)
		}
	}
}

func FuzzLinesOfLists(f *testing.F) {
	for _, line := range []string{"1 1205 octets", "1\t1205", "  2   uid with blanks ", "3", "x 5", "1 ", "-1 5", "1 \x00", "1:5", "9999999999 5",
		"1 99999999999999999999\r\n2 5", ".", "", "\xff 1", "1 \u0085"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		list := parseList(content)
		for number, text := range list {
			if number < 1 || strings.TrimSpace(text) != text || text == "" {
				t.Errorf("%d is %q", number, text)
			}
			// The answer to a question about this message alone says the same.
			if n, alone, ok := parseEntry(fmt.Sprintf("%d %s", number, text)); n != number || alone != text || !ok {
				t.Errorf("%d %q by itself is %d %q %v", number, text, n, alone, ok)
			}
			size, ok := parseSize(text)
			if ok && (size < 0 || size > mostSize || parseSizes(content)[number] != size) {
				t.Errorf("%q is of %d bytes", text, size)
			}
		}
		if len(list) > countLines(content) {
			t.Errorf("%d entries on %d lines", len(list), countLines(content))
		}
		parseCount(string(content))
	})
}
