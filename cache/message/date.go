package message

import (
	"slices"
	"strings"
	"time"
)

// date returns the time of a message: that of its Date field as other mail programs read it, else the newest of its Received
// fields (RFC 5321, section 4.4); zero where neither can be read. A time that no file can have counts as one that can't be
// read.
func (h Header) date() time.Time {
	var newest time.Time
	for _, f := range h.fields {
		switch {
		case strings.EqualFold(f.name, "Date"):
			if t, ok := parseDate(f.value); ok && inFileTime(t) {
				return t
			}
		case strings.EqualFold(f.name, "Received"):
			text, _ := cutComments(f.value)
			i := strings.LastIndexByte(text, ';')
			if t, ok := parseDate(text[i+1:]); i >= 0 && ok && inFileTime(t) && t.After(newest) {
				newest = t
			}
		}
	}
	return newest
}

// maxDate is the length, in bytes, of the longest text that is read as a date.
const maxDate = 512

// parseDate reads a date in any form that mail was seen with: RFC 5322 (section 3.3, and the obsolete forms of section 4.3),
// RFC 850, asctime, ISO 8601. A weekday, in any language, counts for nothing; so does every word that is no part of a date. A
// time without a zone is UTC, as is one in an unknown zone.
func parseDate(text string) (time.Time, bool) {
	if len(text) > maxDate {
		text = text[:maxDate]
	}
	text, comment := cutComments(text)
	d := dateReader{text: text}
	d.read()
	if !d.zoned {
		if offset, ok := zones[strings.ToUpper(strings.TrimSpace(comment))]; ok { // "08:00:00 (MST)"
			d.offset = offset
		}
	}
	return d.time()
}

// cutComments returns a text with each comment (RFC 5322, section 3.2.2) replaced by a space, and the last comment without its
// parentheses. A parenthesis that is not closed begins no comment.
func cutComments(text string) (rest, last string) {
	if strings.IndexByte(text, '(') < 0 {
		return text, ""
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] == '(' {
			end := commentEnd(text[i:])
			if end < 0 { // no later one is closed either, unless it lies within
				b.WriteString(strings.ReplaceAll(text[i:], "(", " "))
				break
			}
			last = text[i+1 : i+end-1]
			b.WriteByte(' ')
			i += end
			continue
		}
		b.WriteByte(text[i])
		i++
	}
	return b.String(), last
}

// commentEnd returns the length of the comment that a text begins with; -1 if the comment does not end.
func commentEnd(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// dateReader takes a date apart.
type dateReader struct {
	text   string
	tokens []string // of the text that are neither a time nor a zone: numbers, words, "," behind the first word

	year, month, day     int // 0: not found yet
	hour, minute, second int
	timed, zoned         bool // the time, the zone was found
	offset               int  // of the zone, in seconds east of UTC
}

// read finds the pieces of the date.
func (d *dateReader) read() {
	for s := d.text; ; {
		s = strings.TrimLeft(s, " \t\r\n\v\f\"'")
		if s == "" {
			break
		}
		n := d.token(s)
		s = s[n:]
	}
	if d.month == 0 || d.day == 0 {
		d.words()
	}
}

// token reads one piece from the beginning of a text that is not empty, and returns its length.
func (d *dateReader) token(s string) int {
	c := s[0]
	switch {
	case isDigit(c):
		if n := d.numbers(s); n > 0 {
			return n
		}
		n := digits(s)
		d.tokens = append(d.tokens, s[:n])
		return n
	case (c == '+' || c == '-') && d.timed && !d.zoned:
		if n := d.numericZone(s); n > 0 {
			return n
		}
		return 1
	case isLetter(c):
		n := 1
		for n < len(s) && isLetter(s[n]) {
			n++
		}
		d.word(s[:n], s[n:])
		return n
	case c == ',':
		if len(d.tokens) == 1 {
			d.tokens = append(d.tokens, ",")
		}
	}
	return 1
}

// word takes a word of letters. rest is the text behind it.
func (d *dateReader) word(word, rest string) {
	word = strings.ToUpper(word)
	if d.timed {
		if word == "PM" && d.hour < 12 {
			d.hour += 12
			return
		}
		if word == "AM" && d.hour == 12 {
			d.hour = 0
			return
		}
		if offset, ok := zones[word]; ok && !d.zoned {
			d.offset, d.zoned = offset, true
			if after := strings.TrimLeft(rest, " "); offset == 0 && after != "" && (after[0] == '+' || after[0] == '-') {
				d.zoned = false // "GMT+0200": what follows says how far
			}
			return
		}
	}
	if !d.timed || monthOf(word) > 0 { // else it is a zone that nobody knows
		d.tokens = append(d.tokens, word)
	}
}

// numbers reads a time or a date of numbers, of which the text begins with the first, and returns its length; 0 if there is
// neither.
func (d *dateReader) numbers(s string) int {
	n := digits(s)
	if n == len(s) {
		return 0
	}
	separator := s[n]
	if !d.timed && n <= 2 && (separator == ':' || separator == '.') {
		if n := d.clock(s); n > 0 {
			return n
		}
	}
	switch {
	case d.month == 0 && n == 8 && (separator == 'T' || separator == 't'): // ISO 8601, basic format
		return d.basic(s)
	case d.month == 0 && (separator == '-' || separator == '/' || separator == '.'):
		return d.calendar(s)
	}
	return 0
}

// clock reads a time like 8:00, 08:00:00, 08:00:00.123, 08.00.00.
func (d *dateReader) clock(s string) int {
	var values [3]int
	n, count := 0, 0
	separator := s[digits(s)]
	for count < 3 {
		k := digits(s[n:])
		if k == 0 || k > 2 {
			break
		}
		values[count], n = number(s[n:n+k]), n+k
		if count++; count == 3 || n == len(s) || s[n] != separator || n+1 == len(s) || !isDigit(s[n+1]) {
			break
		}
		n++
	}
	if count < 2 || separator == '.' && count < 3 || values[0] > 24 || values[1] > 59 || values[2] > 60 {
		return 0
	}
	if n+1 < len(s) && (s[n] == '.' || s[n] == ',') && isDigit(s[n+1]) { // a fraction of a second
		n += 1 + digits(s[n+1:])
	}
	d.hour, d.minute, d.second, d.timed = values[0], values[1], values[2], true
	return n
}

// basic reads 20220404T080000.
func (d *dateReader) basic(s string) int {
	if len(s) < 13 || digits(s[9:]) != 4 && digits(s[9:]) != 6 {
		return 0
	}
	n := 9 + digits(s[9:])
	d.year, d.month, d.day = number(s[:4]), number(s[4:6]), number(s[6:8])
	d.hour, d.minute, d.timed = number(s[9:11]), number(s[11:13]), true
	if n == 15 {
		d.second = number(s[13:15])
	}
	return n
}

// calendar reads 2022-04-04, 2022/04/04, 04-Apr-22, 4.4.2022 or 4/4/2022. In the last form the month comes first, where it
// can.
func (d *dateReader) calendar(s string) int {
	n := digits(s)
	separator := s[n]
	first, rest := s[:n], s[n+1:]
	k := digits(rest)
	if k == 0 {
		for k < len(rest) && isLetter(rest[k]) {
			k++
		}
	}
	if k == 0 || k == len(rest) || rest[k] != separator {
		return 0
	}
	second, third := rest[:k], rest[k+1:]
	third = third[:digits(third)]
	if third == "" {
		return 0
	}
	year, month, day := "", 0, ""
	switch {
	case !isDigit(second[0]):
		if month = monthOf(strings.ToUpper(second)); month == 0 {
			return 0
		}
		if year, day = third, first; len(first) == 4 {
			year, day = first, third
		}
	case len(first) == 4:
		year, month, day = first, number(second), third
	case separator == '/' && number(first) <= 12 && len(third) >= 2:
		year, month, day = third, number(first), second
	case separator != '-':
		year, month, day = third, number(second), first
	default:
		return 0
	}
	if len(day) > 2 || month == 0 || month > 12 || number(day) > 31 || number(day) == 0 {
		return 0
	}
	length := n + 1 + k + 1 + len(third)
	d.year, d.month, d.day = yearOf(year), month, number(day)
	if length+1 < len(s) && strings.IndexByte("Tt_:", s[length]) >= 0 && isDigit(s[length+1]) { // the time follows
		length++
	}
	return length
}

// numericZone reads +0200, +02:00, +2, -0700.
func (d *dateReader) numericZone(s string) int {
	n := digits(s[1:])
	hours, minutes := 0, 0
	end := 1 + n
	switch n {
	case 1, 2:
		hours = number(s[1:end])
		if end+2 < len(s) && s[end] == ':' && digits(s[end+1:]) == 2 {
			minutes = number(s[end+1 : end+3])
			end += 3
		}
	case 3, 4:
		hours, minutes = number(s[1:end-2]), number(s[end-2:end])
	default:
		return 0
	}
	d.zoned = true
	d.offset = 0
	if hours <= 24 && minutes < 60 {
		d.offset = hours*3600 + minutes*60
	}
	if s[0] == '-' {
		d.offset = -d.offset
	}
	return end
}

// words finds the day, the month and the year among the words and numbers: "4 Apr 2022", "Apr 4 2022", "2022 Apr 4". A first
// word with a comma behind it is a weekday, in whatever language.
func (d *dateReader) words() {
	tokens := d.tokens
	if len(tokens) > 1 && tokens[1] == "," {
		if !isDigit(tokens[0][0]) {
			tokens = tokens[2:]
		}
	}
	tokens = slices.DeleteFunc(slices.Clone(tokens), func(t string) bool { return !isDigit(t[0]) && len(t) < 3 }) // "4th of Apr"
	isNumber := func(i int) bool { return i >= 0 && i < len(tokens) && isDigit(tokens[i][0]) }
	at := -1
	for i, t := range tokens {
		if monthOf(t) == 0 {
			continue
		}
		if isNumber(i - 1) {
			at = i
			break
		}
		if at < 0 && isNumber(i+1) && (i+2 >= len(tokens) || isNumber(i+2)) { // not the weekday of "mar. 5 abr. 2022"
			at = i
		}
	}
	if at < 0 {
		return
	}
	next := func(i int) string {
		for ; i < len(tokens); i++ {
			if isNumber(i) {
				return tokens[i]
			}
		}
		return ""
	}
	day, year := "", ""
	switch {
	case isNumber(at-1) && len(tokens[at-1]) <= 2:
		day, year = tokens[at-1], next(at+1)
	case isNumber(at - 1):
		day, year = next(at+1), tokens[at-1]
	default:
		day, year = tokens[at+1], next(at+2)
	}
	if len(day) > 2 || number(day) == 0 || number(day) > 31 || year == "" {
		return
	}
	d.month, d.day, d.year = monthOf(tokens[at]), number(day), yearOf(year)
}

// time returns the date that was read.
func (d *dateReader) time() (time.Time, bool) {
	if d.month < 1 || d.month > 12 || d.day < 1 || d.day > 31 || d.year < 1 || d.year > 9999 {
		return time.Time{}, false
	}
	t := time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, d.second, 0, time.UTC)
	return t.Add(-time.Duration(d.offset) * time.Second), true
}

// yearOf returns the year that digits stand for: two or three digits as RFC 5322, section 4.3, says; 0 if there is none.
func yearOf(s string) int {
	y := number(s)
	switch {
	case len(s) == 2 && y < 50:
		return y + 2000
	case len(s) == 2, len(s) == 3:
		return y + 1900
	case len(s) == 4:
		return y
	default:
		return 0
	}
}

// monthOf returns the number of a month that is named in English, in upper case, by its first three letters or more; 0 if it
// is none.
func monthOf(word string) int {
	if len(word) < 3 {
		return 0
	}
	for i := range 12 {
		if name := monthNames[i]; strings.HasPrefix(name, word) || word == "SEPT" && i == 8 {
			return i + 1
		}
	}
	return 0
}

var monthNames = [12]string{"JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER",
	"NOVEMBER", "DECEMBER"}

// zones are the zones that have names, in seconds east of UTC: those of RFC 5322, section 4.3, and those that mutt knows. The
// machine's own table of zones is not asked: a time is the same on every machine.
var zones = func() map[string]int {
	m := map[string]int{"NST": -12600, "NDT": -9000, "ACST": 34200, "ACDT": 37800}
	for hours, names := range map[int]string{
		0:   "UT UTC GMT Z WET EGST",
		1:   "CET MET BST WEST CAT WAT",
		2:   "CEST MEST MESZ EET IST SAST",
		3:   "EEST EAT MSK IDT",
		4:   "MSD GST",
		7:   "ICT WIB",
		8:   "HKT SGT AWST PHT",
		9:   "JST KST",
		10:  "AEST",
		11:  "AEDT",
		12:  "NZST",
		13:  "NZDT",
		-3:  "ADT BRT ART",
		-4:  "EDT AST",
		-5:  "EST CDT",
		-6:  "CST MDT",
		-7:  "MST PDT",
		-8:  "PST AKDT",
		-9:  "AKST",
		-10: "HST",
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = hours * 3600
		}
	}
	for c := 'A'; c < 'Z'; c++ { // military zones were defined with the wrong sign, so that they say nothing
		m[string(c)] = 0
	}
	return m
}()

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isLetter tells whether a byte is part of a word: bytes that are not ASCII are letters of some language.
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80 }

// digits returns the number of digits that a text begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// number returns the value of digits; more than nine of them are 0.
func number(s string) int {
	if len(s) > 9 {
		return 0
	}
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n
}
