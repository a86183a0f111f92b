package faults

import (
	"sync/atomic"
	"testing"
	"time"
)

// signingIn are the scenarios in which a connection is made, or given up.
var signingIn = []scenario{
	{
		name: "what NAMESPACE answers is named CAPABILITY and holds parentheses",
		imap: func(p *imapPeer) {
			p.caps = "IMAP4 IMAP4rev1 AUTH=LOGIN IDLE MOVE NAMESPACE"
			p.command = func(c *conn, tag, verb, _ string) bool {
				if verb == "NAMESPACE" {
					c.say("* CAPABILITY ((\"\" \"/\")) NIL NIL\r\n%s OK completed\r\n", tag)
				}
				return verb == "NAMESPACE"
			}
		},
	},
	{name: "a mechanism that is announced is refused with NO", imap: refusesSASL("NO AUTHENTICATE PLAIN failed")},
	{name: "a mechanism that is announced is refused with BAD", imap: refusesSASL("BAD unsupported mechanism")},
	{
		name: "no mailbox can be opened before ID was sent",
		imap: func(p *imapPeer) {
			p.caps = "IMAP4rev1 XLIST SPECIAL-USE ID LITERAL+ XAPPLEPUSHSERVICE UIDPLUS X-CM-EXT-1"
			p.command = func(c *conn, tag, verb, _ string) bool {
				refused := (verb == "SELECT" || verb == "EXAMINE") && !c.named
				if refused {
					c.say("%s NO %s Unsafe Login. Please contact kefu@example.com for help\r\n", tag, verb)
				}
				return refused
			}
		},
	},
	{
		name:  "connections that are signed in get BAD to every command from some time on",
		heals: true,
		imap: func(p *imapPeer) {
			answered := &atomic.Int32{}
			p.command = func(c *conn, tag, verb, _ string) bool {
				bad := c.number <= 2 && verb != "LOGOUT" && answered.Add(1) > 12
				if bad {
					c.say("%s BAD User is authenticated but not connected.\r\n", tag)
				}
				return bad
			}
		},
		see: func(t *testing.T, w *world) {
			for range 3 { // until the answers have run out, and after that
				w.eventuallyAll(t)
				time.Sleep(1200 * time.Millisecond)
			}
		},
	},
	{
		name:        "requests are throttled with BAD and BYE for a while",
		heals:       true,
		connections: 60, // as each that is asked for a body ends: two for each time that the user tries again
		mails:       letters(30),
		imap: func(p *imapPeer) {
			now := forAWhile(3 * time.Second)
			bodies := &atomic.Int32{}
			p.command = func(c *conn, tag, verb, rest string) bool {
				throttled := verb == "UID FETCH" && wholeBody.MatchString(rest) && bodies.Add(1) > 2 && now()
				if throttled {
					c.say("%s BAD Request is throttled. Suggested Backoff Time: 5000 milliseconds\r\n* BYE Connection closed. 14\r\n", tag)
					c.flush()
					c.Close()
				}
				return throttled
			}
		},
	},
	{
		name:  "requests are throttled with NO for a while",
		heals: true,
		mails: letters(30),
		imap: func(p *imapPeer) {
			now := forAWhile(3 * time.Second)
			bodies := &atomic.Int32{}
			p.command = func(c *conn, tag, verb, rest string) bool {
				throttled := verb == "UID FETCH" && wholeBody.MatchString(rest) && bodies.Add(1) > 2 && now()
				if throttled {
					c.say("%s NO Request is throttled. Suggested Backoff Time: 5000 milliseconds\r\n", tag)
				}
				return throttled
			}
		},
	},
}

// refusesSASL announces a mechanism that the answer refuses; only LOGIN works.
func refusesSASL(answer string) func(*imapPeer) {
	return func(p *imapPeer) {
		p.caps = "IMAP4rev1 AUTH=NTLM AUTH=PLAIN SASL-IR"
		p.command = func(c *conn, tag, verb, _ string) bool {
			if verb == "AUTHENTICATE" {
				c.say("%s %s\r\n", tag, answer)
			}
			return verb == "AUTHENTICATE"
		}
	}
}
