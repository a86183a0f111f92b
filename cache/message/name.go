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

// Lengths in bytes. A name must fit where people copy it to: encrypting filesystems allow 143 bytes.
const (
	maxName = 140
	maxFrom = 50
)

// Name returns the file name and the mtime of a message: DATE_FROM_SUBJECT_KEY.eml. They depend on nothing that can change
// while the message exists.
func Name(m *remote.Message, role remote.Role) (string, time.Time) {
	h := ParseHeader(m.Header)
	date := mtime(m.Date)
	if m.Date.IsZero() {
		date = mtime(h.date())
	}
	who := h.address("From")
	if role == remote.RoleSent || role == remote.RoleDrafts {
		who = h.address("To")
	}
	subject, _ := h.Text("Subject")

	head := date.Format(time.DateOnly) + "_" + component(who, "unknown", maxFrom) + "_"
	tail := "_" + m.Key + Suffix
	return head + component(subject, "no-subject", maxName-len(head)-len(tail)) + tail, date
}

// mtime is a time that a filesystem can hold and a name can begin with: the years 1970 to 9999.
func mtime(t time.Time) time.Time {
	if t = t.UTC().Truncate(time.Second); t.Unix() < 0 || t.Year() > 9999 {
		return time.Unix(0, 0).UTC()
	}
	return t
}

// component makes text a part of a file name: letters, marks and digits of every script and . , + = @ ~ - stay, every
// other run of characters becomes one "-". It is valid UTF-8 in NFC, and cut at limit bytes between two characters.
func component(text, missing string, limit int) string {
	var b strings.Builder
	replaced := false
	for _, r := range norm.NFC.String(text) {
		if !stays(r) {
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

func stays(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".,+=@~-", r)
	}
	return r != utf8.RuneError && unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.No)
}
