package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextInAnyCharsetBecomesUTF8(t *testing.T) {
	for _, c := range []struct{ charset, data, want string }{
		{"utf-8", "Grüße", "Grüße"}, {"UTF-8", "bad \xff", "bad \uFFFD"}, {"iso-8859-1", "Gr\xfc\xdfe \x80", "Grüße €"},
		{"windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"}, {"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"},
		{"gb2312", "\xc4\xe3\xba\xc3", "你好"}, {"gb18030", "\xc4\xe3\xba\xc3", "你好"}, {"big5", "\xa7A\xa6n", "你好"},
		{"shift_jis", "\x93\xfa\x96{", "日本"}, {"euc-jp", "\xc6\xfc\xcb\xdc", "日本"}, {"euc-kr", "\xb0\xa1", "가"},
		{"iso-2022-jp", "\x1b$BF|K\\\x1b(B", "日本"}, {"", "\x1b$BF|K\\\x1b(B", "日本"}, {"iso-8859-15", "\xa4", "€"},
		{"utf-16", "\xfe\xff\x00a\x00b", "ab"}, {"us-ascii", "Gr\xfc\xdfe", "Grüße"}, {"x-martian", "hello", "hello"},
		{"", "\xef\xbb\xbfmark", "mark"}, {"ks_c_5601-1987", "\xb0\xa1", "가"}, {"\"utf-8\"", "ü", "ü"},
	} {
		if got := decodeCharset(c.charset, []byte(c.data)); got != c.want {
			t.Errorf("%s: %q is %q, want %q", c.charset, c.data, got, c.want)
		}
	}
}

// The names are those of WHATWG, of IANA, of Windows and Python, and of old bounces.
func TestACharsetIsKnownByEachOfItsNames(t *testing.T) {
	for text, c := range map[string]struct{ data, names string }{
		"Grüße":    {"Gr\xfc\xdfe", "iso-8859-1 ISO8859-1 iso_8859-1 ISO_8859-1:1987 iso88591 8859-1 latin1 latin-1 l1 cp819 IBM819 csISOLatin1 windows-1252 win1252 win-1252 cp1252 CP-1252 ms1252 x-cp1252 windows1252 windows_1252 ansi_x3.110-1983 us-ascii x-unknown unknown-8bit ascii ANSI_X3.4-1968 iso-8859-9 latin5 cp1254 iso-8859-15 28591"},
		"5 €":      {"5 \xa4", "iso-8859-15 latin9 latin-9 Latin0 l9 iso8859_15 ISO8859-15 iso885915 csISO885915"},
		"Łódź":     {"\xa3\xf3d\xbc", "iso-8859-2 latin2 latin-2 l2 iso8859-2 iso_8859-2:1987 csISOLatin2 28592"},
		"Привет":   {"\xcf\xf0\xe8\xe2\xe5\xf2", "windows-1251 win-1251 win1251 cp1251 cp-1251 x-cp1251 ms-cp1251 1251 windows1251 ansi-1251"},
		"встречу":  {"\xd7\xd3\xd4\xd2\xc5\xde\xd5", "koi8-r koi8r koi8 KOI8_R cskoi8r cp20866 koi8-u koi8u"},
		"здесь":    {"\xa7\xa4\xa5\xe1\xec", "cp866 ibm866 dos-866 csibm866 866"},
		"日本":       {"\x93\xfa\x96{", "shift_jis shift-jis sjis x-sjis ms_kanji cp932 ms932 windows-31j csWindows31J windows-932 cp943 csshiftjis"},
		"日":        {"\xc6\xfc", "euc-jp eucjp x-euc-jp euc_jp ujis Extended_UNIX_Code_Packed_Format_for_Japanese cp51932"},
		"本":        {"\x1b$BK\\\x1b(B", "iso-2022-jp iso-2022-jp-2 iso2022-jp iso2022jp csISO2022JP iso-2022-jp-ms cp50220 50221"},
		"가":        {"\xb0\xa1", "euc-kr euckr ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 korean cp949 uhc ms949 windows-949 x-windows-949 iso-ir-149"},
		"가 나":      {"\x1b$)C\x0e0!\x0f \x0e3*\x0f", "iso-2022-kr csISO2022KR ISO2022-KR"},
		"你":        {"\xc4\xe3", "gb2312 gbk gb_2312-80 gb18030 euc-cn euccn cp936 ms936 windows-936 x-gbk chinese csgb2312 gb2312-80 GB_2312 csISO58GB231280"},
		"你 x":      {"\x1b$)A\x0eDc\x0f x", "iso-2022-cn iso-2022-cn-ext"},
		"你好":       {"~{Dc:C~}", "hz-gb-2312 hz"},
		"好":        {"\xa6n", "big5 big-5 big5-hkscs cn-big5 csbig5 x-x-big5 cp950 ms950 windows-950"},
		"ไทย":      {"\xe4\xb7\xc2", "tis-620 tis620 windows-874 cp874 iso-8859-11 iso8859-11"},
		"Hi Mom ☺": {"Hi Mom +Jjo-", "utf-7 UTF7 unicode-1-1-utf-7 x-unicode-1-1-utf-7 csUnicode11UTF7 cp65000"},
		"naïve":    {"na\xc3\xafve", "utf-8 utf8 UTF_8 unicode-1-1-utf-8 x-unicode20utf8 cp65001 csUTF8 charset=utf-8 'utf-8' utf-8; utf-8*en"},
		"ab":       {"a\x00b\x00", "utf-16le utf16le cp1200"},
		"ba":       {"\x00b\x00a", "utf-16be utf-16 ucs-2 iso-10646-ucs-2 csUnicode"},
		"a":        {"\x00\x00\x00a", "utf-32 utf-32be ucs-4 iso-10646-ucs-4"},
	} {
		for name := range strings.FieldsSeq(c.names) {
			if got := decodeCharset(name, []byte(c.data)); got != text {
				t.Errorf("%s: %q is %q, want %q", name, c.data, got, text)
			}
		}
	}
}

func TestUTF7IsDecoded(t *testing.T) {
	for coded, want := range map[string]string{
		"A+ImIDkQ.": "A≢Α.", "+ZeVnLIqe-": "日本語", "1 +- 1": "1 + 1", "+": "+", "+-": "+", "+2D3eAA-": "\U0001F600",
		"+2D0-": "\uFFFD", "+3gA-": "\uFFFD", "+AOk": "é", "+AOk-A": "éA", "+AOk.": "é.", "\xff": "\uFFFD", "a +! b": "a +! b",
	} {
		if got := decodeUTF7([]byte(coded)); got != want {
			t.Errorf("%q is %q, want %q", coded, got, want)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	f.Add([]byte("Hi Mom +Jjo-! +- +2D3eAA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := decodeUTF7(data); !utf8.ValidString(got) || len(got) > 3*len(data) {
			t.Errorf("%q is %q", data, got)
		}
	})
}

func FuzzCharset(f *testing.F) {
	for _, name := range []string{"utf-8", "iso-2022-jp", "iso-2022-kr", "utf-16", "win-1251", "hz", "big5", "latin9"} {
		f.Add(name, []byte("\x1b$)C\x0e0!\x0f ~{Dc:C~} \xff\xfe"))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if got := decodeCharset(name, data); !utf8.ValidString(got) || len(got) > 10*len(data)+10 {
			t.Errorf("%s: %q is %q", name, data, got)
		}
	})
}
