package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// scenario is one thing that a server does, and what the user must see all the same.
type scenario struct {
	name  string // a sentence: what the server does, or what holds although it does
	mails []*message

	// One of these is set, and has the peer do it.
	imap func(p *imapPeer)
	pop3 func(p *pop3Peer)

	// heals says that the server serves well after a while: what the user must see, he must see then. Before that he may
	// see errors, but no wrong bytes.
	heals bool
	// see checks what the user sees; nil: all of mails in INBOX, with the right names, sizes, dates and bytes.
	see func(t *testing.T, w *world)

	connections int // how many there may be; default 6
}

// world is what a scenario is tried in: a mount with two accounts.
type world struct {
	mount *harness.Mount
	odd   string // directory of the account with the fault
	mails []*message
	imap  *imapPeer
	pop3  *pop3Peer
}

const (
	timeout = "5s" // --timeout of the mounts
	refresh = "1s"
)

// try mounts the peer of a scenario and a healthy one, and checks what is to be seen of both.
func (s scenario) try(t *testing.T) {
	w := &world{mails: s.mails}
	if w.mails == nil {
		w.mails = letters(5)
	}
	var url string
	var server *peer
	if s.imap != nil {
		w.imap = newIMAP(w.mails)
		s.imap(w.imap)
		w.imap.start(t)
		server, url = &w.imap.peer, fmt.Sprintf("imap://me@127.0.0.1:%d", w.imap.port)
	} else {
		w.pop3 = newPOP3(w.mails)
		s.pop3(w.pop3)
		w.pop3.start(t)
		server, url = &w.pop3.peer, fmt.Sprintf("pop3://me@127.0.0.1:%d", w.pop3.port)
	}
	healthy := newIMAP(letters(3))
	healthy.start(t)
	w.mount = mount(t, "odd", url, "healthy", fmt.Sprintf("imap://me@127.0.0.1:%d", healthy.port))
	w.odd = filepath.Join(w.mount.Path, "odd")

	done := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() { w.readHealthy(t, done) })
	func() {
		defer beside.Wait()
		defer close(done)
		switch {
		case s.see != nil:
			s.see(t, w)
		case s.heals:
			w.eventuallyAll(t)
		default:
			if err := w.all(); err != nil {
				t.Error(err)
			}
		}
	}()

	most := s.connections
	if most == 0 {
		most = 6
	}
	connections, _ := server.counts(``)
	_, signins := server.counts(`(?i)^(LOGIN|AUTHENTICATE|USER) `)
	// A listing asks for a mailbox as a whole, and each message is read once or twice, with a second question at most. The
	// rest is what the seconds cost that it takes, in each of which the mailbox is listed again, and what each connection
	// that may be made asks once more.
	_, commands := server.counts(`(?i)(FETCH|TOP|RETR) `)
	mostCommands := 100 + 4*len(w.mails) + 10*(most-6)
	if connections > most || commands > mostCommands {
		t.Errorf("%d connections with %d sign-ins and %d commands for messages, want at most %d and %d", connections, signins, commands,
			most, mostCommands)
	}
}

// mount mounts accounts by their names and URLs.
func mount(t *testing.T, accounts ...string) *harness.Mount {
	t.Helper()
	config := fmt.Sprintf("refresh = %q\ntimeout = %q\n", refresh, timeout)
	for i := 0; i < len(accounts); i += 2 {
		config += fmt.Sprintf("[account.%s]\nurl = %q\ntls = \"off\"\npassword_command = \"echo %s\"\n", accounts[i], accounts[i+1],
			harness.Password)
	}
	name := filepath.Join(run.TempDir(t), "config.toml")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return run.MountAs(t, harness.Command{Args: []string{"--config", name}})
}

// readHealthy reads the healthy account until done. It must be served all the while.
func (w *world) readHealthy(t *testing.T, done chan struct{}) {
	dir := filepath.Join(w.mount.Path, "healthy", "INBOX")
	want := letters(3)
	for rounds := 0; ; rounds++ {
		if rounds > 0 {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 3 {
			t.Errorf("the healthy account: %d messages (%v)", len(entries), err)
			return
		}
		for _, m := range want {
			name := fmt.Sprintf("%s%d.eml", m.prefix(), m.uid)
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(b, m.body) {
				t.Errorf("the healthy account: %s has %d bytes (%v), want %d", name, len(b), err, len(m.body))
				return
			}
		}
	}
}

// all returns an error unless INBOX shows all messages with the right names, sizes, dates and bytes, and nothing else.
func (w *world) all() error {
	dir := filepath.Join(w.odd, "INBOX")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != len(w.mails) {
		return fmt.Errorf("INBOX shows %d messages, want %d: %.1000q", len(names), len(w.mails), names)
	}
	for _, m := range w.mails {
		i := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, m.prefix()) })
		if i < 0 {
			return fmt.Errorf("no name begins with %s: %.1000q", m.prefix(), names)
		}
		path := filepath.Join(dir, names[i])
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, m.body) {
			return fmt.Errorf("%s reads %d bytes that are not its %d: %.100q", names[i], len(b), len(m.body), b)
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() != int64(len(m.body)) || !info.ModTime().Equal(m.date) {
			return fmt.Errorf("%s: size %d and time %v, want %d and %v", names[i], info.Size(), info.ModTime().UTC(), len(m.body), m.date)
		}
	}
	return nil
}

// eventuallyAll waits until all holds. Meanwhile no bytes are read that are not those of the message.
func (w *world) eventuallyAll(t *testing.T) {
	t.Helper()
	var err error
	deadline := time.Now().Add(harness.Patience)
	for {
		if err = w.all(); err == nil {
			return
		}
		if strings.Contains(err.Error(), "that are not its") || time.Now().After(deadline) {
			t.Error(err)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestUserSeesAllMailWhateverTheServerDoes(t *testing.T) {
	t.Parallel()
	for _, s := range slices.Concat(signingIn, listing, fetching, maildrops) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.try(t)
		})
	}
}
