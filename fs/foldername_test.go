package fs

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestAFolderNameEscapesWhatWouldMeanSomethingElse(t *testing.T) {
	for _, c := range []struct{ folder, want string }{
		{"INBOX", "INBOX"},
		{"Entwürfe & Notizen", "Entwürfe & Notizen"},
		{"收件箱", "收件箱"},
		{"", "%25"},
		{".", "%2E"},
		{"..", "%2E."},
		{"...", "..."},
		{".text", "%2Etext"},
		{".parts", "%2Eparts"},
		{".search", "%2Esearch"},
		{".mailfs", "%2Emailfs"},
		{".Text", ".Text"},
		{".trash", ".trash"},
		{"a/b", "a%2Fb"},
		{"a\x00b", "a%00b"},
		{"a\nb\x7f", "a%0Ab%7F"},
		{"a\u0085b", "a%C2%85b"},
		{"a\xffb", "a%FFb"},
		{"\uFFFD", "\uFFFD"},
		{"100%", "100%"},
		{"100%2F", "100%252F"},
		{"%/", "%%2F"},
		{"%2Etext", "%252Etext"},
		{"2026-11-22_alice@example.com_Report_4711.eml", "2026-11-22_alice@example.com_Report_4711%2Eeml"},
		{"2026.eml", "2026.eml"},
		{"\u202Eevil", "\u202Eevil"},
	} {
		if got := folderName(c.folder); got != c.want {
			t.Errorf("folderName(%q) = %q, want %q", c.folder, got, c.want)
		}
	}
}

func TestALongFolderNameIsCutAndKeptApart(t *testing.T) {
	long := strings.Repeat("ü", 200)
	a, b := folderName(long), folderName(long+"x")
	if a == b || len(a) > maxFolderName || !utf8.ValidString(a) || !strings.HasPrefix(a, strings.Repeat("ü", 100)) {
		t.Errorf("%q, %q", a, b)
	}
	if fits := strings.Repeat("x", maxFolderName); folderName(fits) != fits {
		t.Errorf("a name of %d bytes was cut", maxFolderName)
	}
}

func TestFolderNamesOfSiblingsDiffer(t *testing.T) {
	long := strings.Repeat("x", 300)
	names := folderNames([]string{folderName(long), long, long + "y"})
	if slices.Sort(names); len(slices.Compact(names)) != 3 {
		t.Errorf("%q", names)
	}
}

func FuzzFolderNames(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b", "%2F", "%", "\xff", ".text", "2026-11-22_a_b_1.eml"} {
		f.Add(s, s+"x")
		f.Add(s, strings.Repeat(s, 200))
		f.Add(strings.Repeat("é", 127)+s, strings.Repeat("é", 127))
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		siblings := []string{a, b}
		if a == b {
			siblings = siblings[:1]
		}
		names := folderNames(siblings)
		for i, n := range names {
			if !utf8.ValidString(n) || strings.ContainsFunc(n, unicode.IsControl) || strings.Contains(n, "/") ||
				len(n) > maxFolderName || n == "" || n == "." || n == ".." || hiddenNames[n] || messageName.MatchString(n) {
				t.Errorf("folderNames(%q)[%d] = %q", siblings, i, n)
			}
		}
		if len(names) == 2 && names[0] == names[1] {
			t.Errorf("%q and %q are both %q", a, b, names[0])
		}
	})
}
