//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/test/harness"
)

// world is the account that is read, and what must be in it.
type world struct {
	options
	counts
	dovecot *harness.Dovecot
	proxy   *harness.Proxy
	mount   *harness.Mount
	random  *rand.Rand // of the events
	last    int        // the number of the letter that was delivered last

	mu     sync.Mutex                // guards what follows
	held   map[string]map[int]uint32 // UID of each letter on the server, by mailbox and number
	inodes map[string]uint64         // by path below the mount
}

type client = harness.Client

// box is the mailbox that is deleted and made anew. Over POP3 there is none.
const box = "Box"

// client calls f with a connection to the server that does not go through the proxy.
func (w *world) client(f func(c *client)) {
	t := &outside{}
	defer t.end()
	f(w.dovecot.Dial(t, user))
}

// event is one thing that happens on the server or in the network.
func (w *world) event() {
	events := []struct {
		weight int
		name   string
		happen func()
	}{
		{40, "deliveries", func() { w.client(func(c *client) { w.deliver(c, w.mailbox()) }) }},
		{25, "expunges", func() { w.client(w.expunge) }},
		{10, "flags", func() { w.client(w.flag) }},
		{8, "cuts", w.proxy.Cut},
		{6, "cuts within an answer", func() { w.proxy.CutAfter(1 + w.random.IntN(300_000)) }},
		{3, "freezes", w.freeze},
		{3, "restarts", w.restart},
		{3, "mailboxes made anew", w.anew},
	}
	sum := 0
	for _, e := range events {
		sum += e.weight
	}
	at := w.random.IntN(sum)
	for _, e := range events {
		if at -= e.weight; at < 0 {
			e.happen()
			w.count(e.name)
			break
		}
	}
	w.proxy.Forget()
	time.Sleep(time.Duration(w.random.IntN(500)) * time.Millisecond)
}

// mailbox returns one of the mailboxes.
func (w *world) mailbox() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := slices.Sorted(maps.Keys(w.held))
	return names[w.random.IntN(len(names))]
}

// some returns a letter that is on the server.
func (w *world) some() (mailbox string, number int, uid uint32) {
	mailbox = w.mailbox()
	w.mu.Lock()
	defer w.mu.Unlock()
	numbers := slices.Sorted(maps.Keys(w.held[mailbox]))
	if len(numbers) == 0 {
		return "", 0, 0
	}
	number = numbers[w.random.IntN(len(numbers))]
	return mailbox, number, w.held[mailbox][number]
}

func (w *world) deliver(c *client, mailbox string) {
	w.last++
	data := w.put(c, mailbox, letter(w.last))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[mailbox][w.last] = uint32(data.UID)
}

// put appends a message. After a mailbox was made anew, Dovecot may say once more that it was deleted.
func (w *world) put(c *client, mailbox string, body []byte) *imap.AppendData {
	for try := 0; ; try++ {
		cmd := c.Append(mailbox, int64(len(body)), &imap.AppendOptions{Time: harness.First.Add(time.Duration(w.last) * time.Minute)})
		_, err := cmd.Write(body)
		cmd.Close()
		data, e := cmd.Wait()
		if err = errors.Join(err, e); err == nil {
			return data
		}
		if try == 10 {
			panic(failure(fmt.Sprintf("APPEND: %v", err)))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (w *world) expunge(c *client) {
	mailbox, number, uid := w.some()
	if uid == 0 {
		return
	}
	c.Remove(mailbox, imap.UID(uid))
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held[mailbox], number)
}

func (w *world) flag(c *client) {
	if mailbox, _, uid := w.some(); uid != 0 {
		c.SetFlags(mailbox, imap.UID(uid), imap.FlagFlagged)
	}
}

// freeze lets nothing pass for longer than mailfs waits.
func (w *world) freeze() {
	w.proxy.Freeze()
	time.Sleep(w.timeout + time.Second)
	w.proxy.Thaw()
}

func (w *world) restart() {
	w.dovecot.Stop()
	time.Sleep(time.Duration(w.random.IntN(2000)) * time.Millisecond)
	if err := w.dovecot.Restart(); err != nil {
		panic(failure(fmt.Sprintf("starting Dovecot again: %v", err)))
	}
}

// anew deletes a mailbox and makes it again, with other mail under the same UIDs. Over POP3, which has only INBOX, all mail
// of that is expunged.
func (w *world) anew() {
	w.client(func(c *client) {
		if w.server != "pop3" {
			c.Drop(box)
			w.remake(c)
			return
		}
		w.mu.Lock()
		uids := imap.UIDSet{}
		for _, uid := range w.held["INBOX"] {
			uids.AddNum(imap.UID(uid))
		}
		w.held["INBOX"] = map[int]uint32{}
		w.mu.Unlock()
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			panic(failure(err.Error()))
		}
		if len(uids) > 0 {
			c.Store(uids, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close()
			c.Expunge().Close()
		}
		for range 20 {
			w.deliver(c, "INBOX")
		}
	})
}

func (w *world) remake(c *client) {
	c.Make(box)
	w.mu.Lock()
	w.held[box] = map[int]uint32{}
	w.mu.Unlock()
	for range 20 {
		w.deliver(c, box)
	}
}
