package message

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/mailfs/mailfs/remote"
)

// Suffix ends the name of every message.
const Suffix = ".eml"

// Longest name of a file, and of the address in it, in bytes. People copy files to encrypting filesystems, which allow 143.
const (
	maxName = 140
	maxFrom = 50
)

// Name returns the name of a message's file, DATE_FROM_SUBJECT_KEY.eml, and its mtime. Both are the same as long as the
// message exists. role is that of the mailbox: in sent mail and drafts the recipient stands in the place of the sender.
func Name(m *remote.Message, role remote.Role) (string, time.Time) {
	h := ParseHeader(m.Header)
	date := fileTime(m.Date)
	if m.Date.IsZero() {
		date = fileTime(h.date())
	}
	person := h.address("From")
	if role == remote.RoleSent || role == remote.RoleDrafts {
		person = h.address("To")
	}
	subject, _ := h.Text("Subject")

	head := date.Format(time.DateOnly) + "_" + component(person, "unknown", maxFrom) + "_"
	tail := "_" + m.Key + Suffix
	return head + component(subject, "no-subject", maxName-len(head)-len(tail)) + tail, date
}

// fileTime returns a time that filesystems can hold and names can begin with: of the years 1970 to 9999, in whole seconds.
func fileTime(t time.Time) time.Time {
	if t = t.UTC().Truncate(time.Second); !inFileTime(t) {
		return time.Unix(0, 0).UTC()
	}
	return t
}

// inFileTime tells whether fileTime returns a time as it is.
func inFileTime(t time.Time) bool { return t.Unix() >= 0 && t.UTC().Year() <= 9999 }

// component makes text a part of a file name: letters, marks and digits of every script and . , + = @ ~ - stay, every
// run of other characters becomes one "-". The result is valid UTF-8 in NFC, and cut between two characters to at most limit
// bytes. missing is the result for empty text.
func component(text, missing string, limit int) string {
	var b strings.Builder
	replaced := false
	for _, r := range norm.NFC.String(text) {
		if !allowedInNames(r) {
			if !replaced {
				b.WriteByte('-')
			}
			replaced = true
			if b.Len() > limit {
				break
			}
			continue
		}
		replaced = false
		b.WriteRune(r)
		if b.Len() > limit {
			break
		}
	}
	s := b.String()
	if s == "" {
		return missing
	}
	if len(s) > limit {
		end := limit
		for !utf8.RuneStart(s[end]) {
			end--
		}
		// A letter stays together with its marks, unless there is nothing else.
		for cut := end; cut > 0; {
			r, _ := utf8.DecodeRuneInString(s[cut:])
			if !unicode.Is(unicode.M, r) {
				end = cut
				break
			}
			_, n := utf8.DecodeLastRuneInString(s[:cut])
			cut -= n
		}
		s = s[:end]
	}
	return s
}

// allowedInNames tells whether a character stays in the name of a file.
func allowedInNames(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".,+=@~-", r)
	}
	return r != utf8.RuneError && unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.No)
}
