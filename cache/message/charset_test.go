package message

import (
	"testing"
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
