package remote

import "time"

// Query describes messages: a search finds those for which everything holds that is set. A text is found as by SEARCH (RFC
// 9051, section 6.4.4), anywhere in a field or in the message, whatever the case of letters.
type Query struct {
	From, To, Subject []string  // texts in the header field of that name
	Body              []string  // texts in the message after the header
	Text              []string  // texts anywhere in the message
	Since, Before     time.Time // INTERNALDATE, by the day: from this one on, and before this one; zero is no limit
	Larger, Smaller   int64     // size in bytes: above, and below; 0 is no limit
	Unread            bool
	Flagged           bool
	Answered          bool
}

// NeedsBodies tells whether a search needs whole messages, not only header, size, date and flags.
func (q Query) NeedsBodies() bool { return len(q.Body)+len(q.Text) > 0 }
