package pop3

import (
	"slices"
	"testing"
)

// seen is the evidence of some observations.
func seen(all ...observation) *evidence {
	var e evidence
	for _, o := range all {
		e.note(o)
	}
	return &e
}

// times is one observation, made n times.
func times(n int, o observation) []observation { return slices.Repeat([]observation{o}, n) }

// What is asked for and what is believed follows from what was observed, as the table of evidence says.
func TestWhatIsDoneFollowsFromWhatWasObserved(t *testing.T) {
	for _, c := range []struct {
		name     string
		seen     []observation
		header   means    // the command for a header whose message has a size
		whole    means    // the command for a message
		believed []length // a TOP of all lines that is this long is the message
		padded   bool     // so is one that is a CRLF longer and has an empty line after its header
		takenOut foreign  // of a TOP of all lines that is a CRLF longer
		another  bool     // another message is asked for, where one is a CRLF longer
	}{
		{"nothing", nil, byTOP, allTOP, []length{asAnnounced}, false, none, true},
		{"TOP is answered", []observation{topAnswered}, byTOP, allTOP, []length{asAnnounced}, false, none, true},
		{"TOP is missing", []observation{topMissing}, byRETR, byRETR, []length{asAnnounced}, false, none, true},
		{"TOP is missing, and answered once", []observation{topMissing, topAnswered}, byRETR, byRETR, []length{asAnnounced}, false, none, true},
		{"TOP cuts", []observation{topCuts}, byTOP, byRETR, []length{asAnnounced}, false, none, true},
		{"TOP is as long as LIST says", []observation{topAsAnnounced}, byTOP, allTOP, []length{asAnnounced, plusCRLF}, true, none, true},
		{"both are a CRLF longer", []observation{topAndRETRPlusCRLF}, byTOP, allTOP, []length{asAnnounced, plusCRLF}, true, none, true},
		{"both are longer", []observation{topAndRETRLonger}, byTOP, allTOP, []length{asAnnounced, longer}, false, none, true},
		{"both are unlike LIST, twice", times(2, topAndRETRUnlike), byTOP, allTOP, []length{asAnnounced}, false, none, true},
		{"both are unlike LIST, three times", times(3, topAndRETRUnlike), byTOP, byRETR, []length{asAnnounced}, false, none, true},
		{"TOP pads once", []observation{topPadded}, byTOP, allTOP, []length{asAnnounced}, false, none, true},
		{"TOP pads twice", times(2, topPadded), byTOP, allTOP, []length{asAnnounced}, true, emptyLine, true},
		{"TOP pads some", []observation{topPadded, topPadded, topAsAnnounced}, byTOP, allTOP, []length{asAnnounced}, false, none, true},
		{"TOP pads some, both are a CRLF longer", []observation{topPadded, topPadded, topAndRETRPlusCRLF}, byTOP, allTOP,
			[]length{asAnnounced}, false, none, true},
		{"LIST is exact", []observation{topAsAnnounced, listExact}, byTOP, allTOP, []length{asAnnounced, plusCRLF}, true, lastCRLF, false},
		{"LIST is exact, TOP pads", []observation{topPadded, topPadded, listExact}, byTOP, allTOP, []length{asAnnounced}, true,
			emptyLine, false},
		{"LIST is inexact", []observation{listInexact}, byTOP, allTOP, []length{asAnnounced}, false, none, false},
		{"one message was asked for", []observation{messageAskedFor}, byTOP, allTOP, []length{asAnnounced}, false, none, true},
		{"two messages were asked for", times(2, messageAskedFor), byTOP, allTOP, []length{asAnnounced}, false, none, false},
	} {
		e := seen(c.seen...)
		if got := e.command(header, true); got != c.header {
			t.Errorf("%s: a header is asked for by %d, want %d", c.name, got, c.header)
		}
		for _, sized := range []bool{true, false} {
			if got := e.command(body, sized); got != c.whole {
				t.Errorf("%s: a message is asked for by %d, want %d", c.name, got, c.whole)
			}
		}
		if got := e.command(header, false); got != c.whole {
			t.Errorf("%s: a header without a size is asked for by %d, want %d", c.name, got, c.whole)
		}
		for l := unannounced; l <= shorter; l++ {
			if got, want := e.believes(l, false), slices.Contains(c.believed, l); got != want {
				t.Errorf("%s: a TOP of length %d is believed: %v, want %v", c.name, l, got, want)
			}
			if got, want := e.foreignIn(allTOP, l), c.takenOut; l == plusCRLF && got != want || l != plusCRLF && got != none {
				t.Errorf("%s: of a TOP of length %d is taken out %d", c.name, l, got)
			}
			inexact := l == shorter && !e.has(sizeHolds) && e[messageAskedFor] < mostAskedFor
			if got := e.asksForAnother(l); got != (c.another && l == plusCRLF || inexact) {
				t.Errorf("%s: for one of length %d another message is asked for: %v", c.name, l, got)
			}
		}
		if got := e.believes(plusCRLF, true); got != c.padded {
			t.Errorf("%s: a TOP with an empty line is believed: %v, want %v", c.name, got, c.padded)
		}
		if got := e.foreignIn(byRETR, plusCRLF); got != none && got != lastCRLF || (got == lastCRLF) != e.has(listExact) {
			t.Errorf("%s: of a RETR that is a CRLF longer is taken out %d", c.name, got)
		}
	}
}

func TestRETRInTheSteadOfTOPShowsWhatTOPIsWorth(t *testing.T) {
	const message = "Subject: x\r\n\r\nbody\r\n"
	const padded = "Subject: x\r\n\r\n\r\nbody\r\n"
	for _, c := range []struct {
		name string
		seen []observation
		top  *topAnswer
		size int64
		want observation
	}{
		{"refused", nil, &topAnswer{refused: true}, int64(len(message)), topMissing},
		{"refused though it was answered before", []observation{topAnswered}, &topAnswer{refused: true}, int64(len(message)), nothingNew},
		{"refused again", []observation{topMissing}, &topAnswer{refused: true}, int64(len(message)), nothingNew},
		{"the same, a CRLF longer", nil, &topAnswer{content: []byte(message)}, int64(len(message)) - 2, topAndRETRPlusCRLF},
		{"the same, longer", nil, &topAnswer{content: []byte(message)}, int64(len(message)) - 1, topAndRETRLonger},
		{"the same, far longer", nil, &topAnswer{content: []byte(message)}, 1, topAndRETRUnlike},
		{"the same, shorter", nil, &topAnswer{content: []byte(message)}, int64(len(message)) + 5, topAndRETRUnlike},
		{"the same, without a size", nil, &topAnswer{content: []byte(message)}, -1, topAndRETRUnlike},
		{"the same header, without its empty line", nil, &topAnswer{noLines: true, content: []byte(message[:12])}, 99, topLacksEmptyLine},
		{"less of the header", nil, &topAnswer{noLines: true, content: []byte(message[:8])}, 99, nothingNew},
		{"nothing of the header", nil, &topAnswer{noLines: true}, 99, nothingNew},
		{"an empty line more", nil, &topAnswer{content: []byte(padded)}, int64(len(message)), topPadded},
		{"cut", nil, &topAnswer{content: []byte(message[:10])}, int64(len(message)), topCuts},
		{"another message, longer", nil, &topAnswer{content: []byte(message + "more\r\n")}, int64(len(message)), nothingNew},
	} {
		if got := seen(c.seen...).compare(c.top, []byte(message), lengthOf([]byte(message), c.size)); got != c.want {
			t.Errorf("%s: it shows %d, want %d", c.name, got, c.want)
		}
	}
}

func TestTheFirstMessageThatTellsDecidesAboutLIST(t *testing.T) {
	for _, c := range []struct {
		name     string
		seen     []observation
		length   length
		believed bool
		want     observation
	}{
		{"as announced", nil, asAnnounced, true, listExact},
		{"longer", nil, longer, true, listInexact},
		{"shorter", nil, shorter, true, listInexact},
		{"shorter, but it may be cut", nil, shorter, false, nothingNew},
		{"a CRLF longer", nil, plusCRLF, true, nothingNew},
		{"without a size", nil, unannounced, true, nothingNew},
		{"after an exact one", []observation{listExact}, longer, true, nothingNew},
		{"after an inexact one", []observation{listInexact}, asAnnounced, true, nothingNew},
	} {
		if got := seen(c.seen...).judge(c.length, c.believed); got != c.want {
			t.Errorf("%s: it shows %d, want %d", c.name, got, c.want)
		}
	}
}

func TestLengthsAreToldApart(t *testing.T) {
	for _, c := range []struct {
		content string
		size    int64
		want    length
	}{
		{"abc\r\n", -1, unannounced}, {"abc\r\n", 5, asAnnounced}, {"abc\r\n", 3, plusCRLF}, {"abcde", 3, muchLonger},
		{"abc\r\n", 4, longer}, {"a\r\nb\r\nc\r\n", 6, longer}, {"a\r\nb\r\nc\r\n", 5, muchLonger}, {"abc\r\n", 6, shorter}, {"", 0, asAnnounced}, {"\r\n", 0, plusCRLF},
	} {
		if got := lengthOf([]byte(c.content), c.size); got != c.want {
			t.Errorf("%q beside %d bytes is of length %d, want %d", c.content, c.size, got, c.want)
		}
	}
}

func TestAMessageThatComesShorterIsCutWhereLISTIsExact(t *testing.T) {
	for _, c := range []struct {
		name       string
		seen       []observation
		content    string
		size, dots int64
		want       bool
	}{
		{"nothing is known", nil, "abc", 5, 0, false},
		{"nothing comes", nil, "", 5, 0, true},
		{"LIST holds", []observation{sizeHolds}, "abc", 5 + miscount, 0, true},
		{"LIST holds, but for some bytes", []observation{sizeHolds}, "abc", 5, 0, false},
		{"LIST holds, and counts stuffed dots", []observation{sizeHolds}, "abc", 5 + miscount, 2 + miscount, false},
		{"LIST holds, and as long as it says", []observation{sizeHolds}, "abcde", 5, 0, false},
		{"LIST holds by chance", []observation{sizeHolds, sizeTooSmall}, "abc", 5 + miscount, 0, false},
		{"LIST says nothing", []observation{sizeHolds}, "abc", -1, 0, false},
	} {
		if got := seen(c.seen...).refuses([]byte(c.content), c.size, c.dots); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestAHeaderEndsInAnEmptyLineOrIsAskedForAgain(t *testing.T) {
	for _, c := range []struct {
		seen    []observation
		content string
		size    int64
		want    bool
	}{
		{nil, "A: b\r\n\r\n", 100, true}, {nil, "A: b\n\n", 100, true}, {nil, "\r\n", 100, true}, {nil, "A: b\r\n", 6, true},
		{nil, "A: b\r\n", 100, false}, {nil, "", 100, false}, {nil, "", 0, true}, {nil, "", -1, true},
		{[]observation{topLacksEmptyLine}, "A: b\r\n", 100, true}, {[]observation{topLacksEmptyLine}, "", 100, false},
	} {
		if got := seen(c.seen...).believesHeader([]byte(c.content), c.size); got != c.want {
			t.Errorf("%q of %d bytes, after %v: %v", c.content, c.size, c.seen, got)
		}
	}
}
