//go:build linux

package harness

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Client is another program that works on the account: it fills and changes mailboxes, and reads what the server holds. A
// command that fails fails the test.
type Client struct {
	*imapclient.Client
	t testing.TB
}

// Mail is a message as it stands on a server.
type Mail struct {
	UID   imap.UID
	Date  time.Time // INTERNALDATE, whole seconds
	Flags []imap.Flag
	Body  []byte // the whole message, with its header
}

// Make creates mailboxes.
func (c *Client) Make(names ...string) {
	c.t.Helper()
	for _, name := range names {
		if err := c.Create(name, nil).Wait(); err != nil {
			c.t.Fatalf("CREATE %q: %v", name, err)
		}
	}
}

// Put appends messages to a mailbox.
func (c *Client) Put(mailbox string, mails ...Mail) {
	c.t.Helper()
	for _, m := range mails {
		cmd := c.Append(mailbox, int64(len(m.Body)), &imap.AppendOptions{Flags: m.Flags, Time: m.Date})
		_, err := cmd.Write(m.Body)
		if err := errors.Join(err, cmd.Close()); err != nil {
			c.t.Fatalf("APPEND to %q: %v", mailbox, err)
		}
		if _, err := cmd.Wait(); err != nil {
			c.t.Fatalf("APPEND to %q: %v", mailbox, err)
		}
	}
}

// Held returns the messages of a mailbox in the order of UIDs. It changes nothing on the server.
func (c *Client) Held(mailbox string) []Mail {
	c.t.Helper()
	selected, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		c.t.Fatalf("EXAMINE %q: %v", mailbox, err)
	}
	if selected.NumMessages == 0 {
		return nil
	}
	all, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	if err != nil {
		c.t.Fatalf("FETCH from %q: %v", mailbox, err)
	}
	var mails []Mail
	for _, m := range all {
		if len(m.BodySection) != 1 {
			c.t.Fatalf("FETCH from %q: UID %d came without a body", mailbox, m.UID)
		}
		slices.Sort(m.Flags)
		mails = append(mails, Mail{m.UID, m.InternalDate, m.Flags, m.BodySection[0].Bytes})
	}
	return mails
}

// All returns the messages of every mailbox that can be selected, by its name.
func (c *Client) All() map[string][]Mail {
	c.t.Helper()
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		c.t.Fatalf("LIST: %v", err)
	}
	all := make(map[string][]Mail)
	for _, l := range list {
		if !slices.ContainsFunc(l.Attrs, func(a imap.MailboxAttr) bool {
			return strings.EqualFold(string(a), `\Noselect`) || strings.EqualFold(string(a), `\NonExistent`)
		}) {
			all[l.Mailbox] = c.Held(l.Mailbox)
		}
	}
	return all
}

// Remove expunges one message.
func (c *Client) Remove(mailbox string, uid imap.UID) {
	c.t.Helper()
	c.SetFlags(mailbox, uid, imap.FlagDeleted)
	if err := c.Expunge().Close(); err != nil {
		c.t.Fatalf("EXPUNGE: %v", err)
	}
}

// SetFlags adds flags to one message.
func (c *Client) SetFlags(mailbox string, uid imap.UID, flags ...imap.Flag) {
	c.t.Helper()
	if _, err := c.Select(mailbox, nil).Wait(); err != nil {
		c.t.Fatalf("SELECT %q: %v", mailbox, err)
	}
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: flags, Silent: true}
	if err := c.Store(imap.UIDSetNum(uid), store, nil).Close(); err != nil {
		c.t.Fatalf("STORE: %v", err)
	}
}

// Drop deletes a mailbox.
func (c *Client) Drop(mailbox string) {
	c.t.Helper()
	if err := c.Delete(mailbox).Wait(); err != nil {
		c.t.Fatalf("DELETE %q: %v", mailbox, err)
	}
}
