package remote

import "time"

// Query is what a message must be like to be found: all that is set must hold. Text is compared as SEARCH does (RFC 9051,
// section 6.4.4): a part of a field or of the text, in any case of letters.
type Query struct {
	From, To, Subject []string  // in the field of that name
	Body              []string  // in the text of the message
	Text              []string  // in the header or the text
	Since, Before     time.Time // days of INTERNALDATE, from their beginning; zero is no limit
	Larger, Smaller   int64     // bytes, both exclusive; 0 is no limit
	Unread            bool
	Flagged           bool
	Answered          bool
}

// NeedsBodies tells whether header, size, date and flags are not enough to answer.
func (q Query) NeedsBodies() bool { return len(q.Body)+len(q.Text) > 0 }
