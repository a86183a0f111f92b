package wire

import "testing"

// go-imap may ask for the capabilities while a sign-in begins.
func TestAnAnswerToTheCommandBeforeDoesNotEndAnInvitation(t *testing.T) {
	for _, command := range []string{"T2 LOGIN {2}\r\n", "T2 AUTHENTICATE SCRAM-SHA-256\r\n", "T2 IDLE\r\n"} {
		var sent tags
		sent.sent([]byte("T1 CAPABILITY\r\n"))
		sent.sent([]byte(command))
		if !sent.answered("T1") || !sent.invitation() {
			t.Errorf("%q: after the answer to the command before, no continuation request is expected", command)
		}
		sent.sent([]byte(command))
		if !sent.answered("T2") || sent.invitation() {
			t.Errorf("%q: a continuation request is expected after its own answer", command)
		}
	}
}
