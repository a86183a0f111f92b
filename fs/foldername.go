package fs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFolderName is the longest name in bytes that Linux and macOS take.
const maxFolderName = 255

// hiddenNames are the views that every mailbox has without listing them.
var hiddenNames = map[string]bool{".text": true, ".parts": true, ".search": true, ".mailfs": true}

// messageName matches the names of messages. A folder is never called so: see folderName.
var messageName = regexp.MustCompile(`(?s)^[0-9]{4}-[0-9]{2}-[0-9]{2}_.*_[^_]*\.eml$`)

// folderNames returns the names of the directories of the folders of one level. Folders are given by their names as LIST
// tells them, decoded and all different. The results are all different too, and each is valid UTF-8 without '/' and
// control characters, at most 255 bytes long.
func folderNames(siblings []string) []string {
	names := make([]string, len(siblings))
	taken := make(map[string]bool, len(siblings))
	for i, s := range siblings {
		names[i] = folderName(s)
		for try := 1; taken[names[i]]; try++ {
			names[i] = cutFolderName(folderName(s), fmt.Sprintf("%s\x00%d", s, try))
		}
		taken[names[i]] = true
	}
	return names
}

// folderName percent-encodes what can't stand in the name of a directory or would mean something else there. '%' is
// encoded where it would look like an encoding, so that no two names become one.
func folderName(s string) string {
	switch {
	case s == "":
		return "%25" // no other folder is called so
	case s == ".", s == "..", hiddenNames[s]:
		return "%2E" + s[1:]
	}
	lastDot := -1
	if messageName.MatchString(s) {
		lastDot = strings.LastIndexByte(s, '.')
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == '/' || unicode.IsControl(r) || i == lastDot ||
			r == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	if b.Len() > maxFolderName {
		return cutFolderName(b.String(), s)
	}
	return b.String()
}

// cutFolderName makes a name end in a hash of whole, after as many of its characters as there is room for.
func cutFolderName(name, whole string) string {
	sum := sha256.Sum256([]byte(whole))
	hash := "~" + hex.EncodeToString(sum[:8])
	end := min(len(name), maxFolderName-len(hash))
	for end < len(name) && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + hash
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
