package remotetest

import (
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Through returns a server whose mail is put, removed and flagged through c, an IMAP connection that is signed in. The caller
// still sets Open and, with [Server.Over], what freezes and cuts connections.
func Through(t testing.TB, c *imapclient.Client) *Server {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// within calls f while a mailbox is open.
	within := func(mailbox string, f func()) {
		t.Helper()
		_, err := c.Select(mailbox, nil).Wait()
		must(err)
		f()
		must(c.Unselect().Wait())
	}
	store := func(number int, op imap.StoreFlagsOp, flags ...string) {
		t.Helper()
		set := &imap.StoreFlags{Op: op, Silent: true}
		for _, f := range flags {
			set.Flags = append(set.Flags, imap.Flag(f))
		}
		must(c.Store(imap.SeqSetNum(uint32(number)), set, nil).Close())
	}
	return &Server{
		Put: func(mailbox string, bodies ...[]byte) {
			t.Helper()
			for _, body := range bodies {
				cmd := c.Append(mailbox, int64(len(body)), nil)
				_, err := cmd.Write(body)
				must(err)
				must(cmd.Close())
				_, err = cmd.Wait()
				must(err)
			}
		},
		Remove: func(mailbox string, number int) {
			t.Helper()
			within(mailbox, func() {
				store(number, imap.StoreFlagsAdd, `\Deleted`)
				must(c.Expunge().Close())
			})
		},
		SetFlags: func(mailbox string, number int, flags ...string) {
			t.Helper()
			within(mailbox, func() { store(number, imap.StoreFlagsSet, flags...) })
		},
		Flags: func(mailbox string, number int) (flags []string) {
			t.Helper()
			within(mailbox, func() {
				got, err := c.Fetch(imap.SeqSetNum(uint32(number)), &imap.FetchOptions{Flags: true}).Collect()
				must(err)
				for _, f := range got[0].Flags {
					if f != `\Recent` { // of the session, not of the message
						flags = append(flags, string(f))
					}
				}
			})
			return flags
		},
		Create: func(mailbox string) {
			t.Helper()
			must(c.Create(mailbox, nil).Wait())
		},
		Drop: func(mailbox string) {
			t.Helper()
			must(c.Delete(mailbox).Wait())
		},
	}
}
