package message

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// decodeCharset returns text as valid UTF-8. name is the charset that the message names, "" where it names none. Text in an
// unknown charset is decoded as if none were named: its ASCII stays.
func decodeCharset(name string, data []byte) string {
	if rest, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok && utf8.Valid(rest) {
		return string(rest)
	}
	name = cleanCharset(name)
	switch {
	case name == "utf-8", name == "utf8":
		return strings.ToValidUTF8(string(data), "\uFFFD")
	case nameless[name]:
		return decodeUnnamed(string(data))
	}
	decode := decoderOf(name)
	if decode == nil {
		return decodeUnnamed(string(data))
	}
	return strings.ToValidUTF8(decode(data), "\uFFFD")
}

// decodeUnnamed decodes text that names no charset. Text that is not valid UTF-8 is taken for Windows-1252, the charset of
// most 8-bit mail that names none; the escape sequences of ISO-2022-JP (RFC 1468) speak for themselves.
func decodeUnnamed(s string) string {
	if strings.Contains(s, "\x1b$") {
		if text, err := japanese.ISO2022JP.NewDecoder().String(s); err == nil {
			return strings.ToValidUTF8(text, "\uFFFD")
		}
	}
	return validUTF8(s)
}

// cleanCharset returns the name of a charset in lower case, without what some programs write around it.
func cleanCharset(name string) string {
	name = strings.ToLower(strings.TrimLeft(name, "\"' \t\r\n"))
	name = strings.TrimPrefix(name, "charset=")
	name = strings.TrimLeft(name, "\"' ")
	if i := strings.IndexAny(name, "\"';,*()? \t\r\n"); i >= 0 { // "*" begins a language, RFC 2231, section 5
		name = name[:i]
	}
	return name
}

// nameless are the names that say nothing about text that is not ASCII.
var nameless = func() map[string]bool {
	m := map[string]bool{"": true}
	for name := range strings.FieldsSeq(`us-ascii ascii us_ascii usascii us csascii ansi_x3.4-1968 ansi_x3.4-1986 iso_646.irv:1991
		iso646-us iso-ir-6 646 ibm367 cp367 x-ascii ascii-8bit x-us-ascii unknown-8bit x-unknown-8bit unknown x-unknown default x-default
		8bit 7bit binary none ansi replacement x-user-defined _autodetect _autodetect_all autodetect`) {
		m[name] = true
	}
	return m
}()

// decoder turns text of a charset into UTF-8. What is not text of that charset becomes U+FFFD.
type decoder func([]byte) string

// decoderOf returns the decoder of a charset, by the name that cleanCharset returns; nil for an unknown charset.
func decoderOf(name string) decoder {
	if len(name) > 60 { // the longest of IANA's names is of 45 bytes
		return nil
	}
	for _, variant := range []string{name, strings.ReplaceAll(name, "_", "-"), strings.TrimPrefix(name, "x-"), strings.TrimPrefix(name, "cs")} {
		if d := namedDecoder(variant); d != nil {
			return d
		}
	}
	if canonical := numberedCharset(name); canonical != "" {
		return namedDecoder(canonical)
	}
	return nil
}

// namedDecoder looks a name up: in the table of mailfs, then in that of the Encoding Standard of WHATWG, which takes a charset
// for its superset (ISO-8859-1 is Windows-1252), then in that of IANA.
func namedDecoder(name string) decoder {
	if d := otherCharsets[name]; d != nil {
		return d
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return decoderFor(e)
	}
	for _, name := range []string{name, "cs" + name} {
		if e, err := ianaindex.IANA.Encoding(name); err == nil && e != nil {
			return decoderFor(e)
		}
	}
	return nil
}

func decoderFor(e encoding.Encoding) decoder {
	return func(data []byte) string {
		text, err := e.NewDecoder().Bytes(data)
		if err != nil {
			return decodeUnnamed(string(data))
		}
		return string(text)
	}
}

// otherCharsets are charsets and names that neither table has, or that one of them takes for something else.
var otherCharsets = func() map[string]decoder {
	m := map[string]decoder{}
	for names, d := range map[string]decoder{
		"utf-7 utf7 unicode-1-1-utf-7 x-unicode-1-1-utf-7 x-unicode-2-0-utf-7 csunicode11utf7 csutf7 x-utf-7 unicode-2-0-utf-7": decodeUTF7,
		"iso-2022-kr iso2022kr csiso2022kr iso2022-kr":      func(data []byte) string { return decodeShifted(data, korean.EUCKR) },
		"iso-2022-cn iso2022cn iso-2022-cn-ext csiso2022cn": func(data []byte) string { return decodeShifted(data, simplifiedchinese.GBK) },
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = d
		}
	}
	for names, e := range map[string]encoding.Encoding{
		"utf-8 utf8 unicode-1-1-utf-8 unicode-2-0-utf-8 utf8mb4 utf-8-mac x-utf_8j x-utf-8 utf8n":            unicode.UTF8,
		"utf-16 utf16 ucs-2 ucs2 iso-10646-ucs-2 unicode unicode-1-1 csunicode unicodefffe utf-16be utf16be": unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
		"utf-16le utf16le ucs-2le x-utf-16le":                             unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
		"utf-32 utf32 ucs-4 ucs4 iso-10646-ucs-4 utf-32be utf32be csucs4": utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
		"utf-32le utf32le": utf32.UTF32(utf32.LittleEndian, utf32.UseBOM),
		"ansi_x3.110-1983 iso-ir-99 csa_t500-1983 naplps t.61 t.61-8bit iso-8859": charmap.Windows1252, // RFC 1345: mostly ISO 8859-1
		"hz-gb-2312 hz hz-gb2312":                                                                    simplifiedchinese.HZGB2312,
		"euc-cn euccn x-euc-cn gb2312-80 gb-2312 ms936 gb":                                           simplifiedchinese.GBK,
		"gb18030-2000 gb18030-2005 gb-18030 gb18030-2022":                                            simplifiedchinese.GB18030,
		"big-5 big5-eten ms950 zh-tw-big5 euc-tw x-euc-tw":                                           traditionalchinese.Big5,
		"ms932 ms-kanji cswindows31j cp932 cp943 cp943c ibm-943 ibm943 sjis-win x-ms-cp932 shiftjis": japanese.ShiftJIS,
		"iso-2022-jp-1 iso-2022-jp-2 iso-2022-jp-3 iso-2022-jp-2004 iso-2022-jp-ms iso2022jp iso2022-jp cp50220 cp50221 cp50222 jis junet": japanese.ISO2022JP,
		"eucjp euc-jp-ms eucjp-ms eucjp-win eucjpms ujis":                  japanese.EUCJP,
		"euckr uhc ms949 cp949 euc-kr-win ksc-5601 ks-c-5601 ksc5601-1987": korean.EUCKR,
		"mac macroman mac-roman x-macroman":                                charmap.Macintosh,
		"mac-cyrillic maccyrillic x-maccyrillic":                           charmap.MacintoshCyrillic,
		"tis620 tis-620-0 iso8859-11 tis620-2533":                          charmap.Windows874,
		"koi8 koi-8 koi8r":      charmap.KOI8R,
		"koi8u":                 charmap.KOI8U,
		"latin0 latin9 latin-9": charmap.ISO8859_15,
		"latin7":                charmap.ISO8859_13,
		"latin8":                charmap.ISO8859_14,
		"latin10":               charmap.ISO8859_16,
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = decoderFor(e)
		}
	}
	return m
}()

// codePages are the charsets of Microsoft's code pages that are not "windows-" and the number.
var codePages = map[string]string{
	"932": "shift_jis", "936": "gbk", "949": "euc-kr", "950": "big5", "1200": "utf-16le", "1201": "utf-16be", "10000": "macintosh",
	"12000": "utf-32le", "12001": "utf-32be", "20127": "iso-8859-1", "20866": "koi8-r", "21866": "koi8-u", "20932": "euc-jp", "50220": "iso-2022-jp",
	"50221": "iso-2022-jp", "50222": "iso-2022-jp", "50225": "iso-2022-kr", "51932": "euc-jp", "51936": "gbk", "51949": "euc-kr",
	"52936": "hz-gb-2312", "54936": "gb18030", "65000": "utf-7", "65001": "utf-8",
	"28591": "iso-8859-1", "28592": "iso-8859-2", "28593": "iso-8859-3", "28594": "iso-8859-4", "28595": "iso-8859-5", "28596": "iso-8859-6",
	"28597": "iso-8859-7", "28598": "iso-8859-8", "28599": "iso-8859-9", "28603": "iso-8859-13", "28605": "iso-8859-15",
}

// numberedCharset returns the name by which WHATWG or IANA has a charset that is named by a number in one of many ways: win1251,
// cp-1252, ms_1250, 8859-1, iso8859_15, latin-2. It is "" for any other name.
func numberedCharset(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_.: ", r) {
			return -1
		}
		return r
	}, strings.TrimPrefix(name, "x-"))
	at := strings.IndexFunc(name, func(r rune) bool { return '0' <= r && r <= '9' })
	if at < 0 {
		return ""
	}
	prefix, number := name[:at], name[at:]
	number = number[:digits(number)]
	switch {
	case strings.HasPrefix(number, "8859") && (prefix == "" || prefix == "iso" || prefix == "is"):
		number, _, _ = strings.Cut(number[4:], "1987")
		return "iso-8859-" + number
	case prefix == "latin" && number != "", prefix == "isolatin":
		return map[string]string{"1": "latin1", "2": "latin2", "3": "latin3", "4": "latin4", "5": "latin5", "6": "latin6", "7": "latin7",
			"8": "latin8", "9": "latin9", "0": "latin9", "10": "latin10"}[number]
	case !strings.Contains(" windows win cp ms msdos ansi ibm dos codepage oem mscp wincp  ", " "+prefix+" "):
		return ""
	case codePages[number] != "":
		return codePages[number]
	case len(number) == 4 && strings.HasPrefix(number, "125"), number == "874":
		return "windows-" + number
	default:
		return "ibm" + number
	}
}

// decodeShifted decodes ISO-2022-KR (RFC 1557) and the part of ISO-2022-CN (RFC 1922) that has the characters of GB 2312: between
// SO and SI, two bytes are a character, which e has with both high bits set.
func decodeShifted(data []byte, e encoding.Encoding) string {
	out := make([]byte, 0, len(data))
	shifted := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == 0x0e || c == 0x0f:
			shifted = c == 0x0e
		case c == 0x1b && i+3 < len(data) && data[i+1] == '$': // which set SO means
			i += 3
		case c == '\n':
			shifted = false
			out = append(out, c)
		case shifted && 0x21 <= c && c < 0x7f:
			out = append(out, c|0x80)
		default:
			out = append(out, c)
		}
	}
	return decoderFor(e)(out)
}

// cleanLines returns text with LF at the ends of lines and U+FFFD for each control character but tab and form feed:
// terminals and grep don't take them for text.
func cleanLines(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r < ' ' && r != '\n' && r != '\t' && r != '\f', r == 0x7f:
			return '\uFFFD'
		default:
			return r
		}
	}, s)
}
