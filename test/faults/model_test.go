package faults

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

var (
	seed   = flag.Uint64("seed", 0, "of the model test; 0: another one each time")
	rounds = flag.Int("rounds", 100, "how many server events and file operations the model test makes")
)

// file is what the model knows of a name in a directory.
type file struct {
	bodies []*message // all that were ever there under this name, the newest last
	inode  uint64     // as it was seen since the newest came; 0: not yet
	there  bool       // on the server now
}

// model is what the mount may and must show, in memory: every byte that a read returns is that of a message that was there
// under this name, a message keeps its name and inode number while it is there, and in the end the mount shows what the
// server holds.
type model struct {
	t      *testing.T
	random *rand.Rand
	server *imapPeer
	root   string
	files  map[string]map[string]*file // by mailbox and name; what is gone stays
	held   []*handle
	number int // of the message that was delivered last
}

// handle is a file that is held open.
type handle struct {
	*os.File
	bodies []*message // that may be read from it
}

// nameOf is the name of a message's file.
func nameOf(m *message) string {
	return fmt.Sprintf("%s_w@example.org_%s_%d.eml", m.date.Format(time.DateOnly), m.flags, m.uid)
}

func TestMountFollowsTheServerThroughAnyEvents(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d -rounds %d", s, *rounds)
	m := &model{t: t, random: rand.New(rand.NewPCG(s, s)), server: newIMAP(nil), files: map[string]map[string]*file{}}
	m.server.start(t)
	for _, name := range []string{"INBOX", "A", "B"} {
		m.server.boxes[name] = &mailbox{validity: 100 + uint32(len(m.files)), next: 1}
		m.files[name] = map[string]*file{}
		for range 8 {
			m.deliver(name)
		}
	}
	m.root = filepath.Join(mount(t, "model", fmt.Sprintf("imap://me@127.0.0.1:%d", m.server.port)).Path, "model")
	m.settle()
	for i := range *rounds {
		if m.random.IntN(2) == 0 {
			m.event()
		} else {
			m.operation()
		}
		if i%15 == 14 {
			m.settle()
		}
		if t.Failed() {
			t.Logf("in round %d", i)
			break
		}
	}
	m.settle()
	for _, h := range m.held {
		m.readHeld(h)
	}
}

// some returns one of the keys of a map, "" when there is none.
func some[V any](m *model, of map[string]V) string {
	keys := slices.Sorted(maps.Keys(of))
	if len(keys) == 0 {
		return ""
	}
	return keys[m.random.IntN(len(keys))]
}

// event changes something on the server, or cuts connections, or freezes them for longer than mailfs waits.
func (m *model) event() {
	p := m.server
	name := some(m, p.boxes)
	box := p.boxes[name]
	switch n := m.random.IntN(20); {
	case n < 7:
		m.deliver(name)
	case n < 11:
		if len(box.messages) > 0 {
			i := m.random.IntN(len(box.messages))
			m.files[name][nameOf(box.messages[i])].there = false
			p.mu.Lock()
			box.messages = slices.Delete(slices.Clone(box.messages), i, i+1)
			p.mu.Unlock()
		}
	case n < 13 && name != "INBOX": // made anew: other mail, under the same UIDs, and in part under the same names
		m.gone(name)
		old := box.messages
		p.mu.Lock()
		p.boxes[name] = &mailbox{validity: box.validity + 10, next: 1}
		p.mu.Unlock()
		for i := range 1 + m.random.IntN(6) {
			m.deliver(name)
			if i < len(old) && m.random.IntN(2) == 0 {
				m.twin(name, old[i])
			}
		}
	case n < 15 && name != "INBOX":
		to := name + string(rune('a'+m.random.IntN(26)))
		if p.boxes[to] != nil || len(to) > 5 {
			return
		}
		p.mu.Lock()
		p.boxes[to] = box
		delete(p.boxes, name)
		p.mu.Unlock()
		m.gone(name)
		if m.files[to] == nil {
			m.files[to] = map[string]*file{}
		}
		for _, message := range box.messages {
			m.add(to, message)
		}
	case n < 18:
		p.cut()
	case n == 18:
		p.freeze()
		m.operation() // fails, or is served from what is known
		p.thaw()
	}
}

// deliver puts a new message into a mailbox.
func (m *model) deliver(name string) {
	m.number++
	m.put(name, fmt.Sprintf("s%d", m.number))
}

// twin delivers a message whose subject, and so perhaps whose name, is that of another.
func (m *model) twin(name string, of *message) { m.put(name, of.flags) }

// put delivers a message with a subject. flags holds the subject, which is a keyword too.
func (m *model) put(name, subject string) {
	m.number++
	box := m.server.boxes[name]
	text := strings.Repeat(fmt.Sprintf("line of message %d\r\n", m.number), m.random.IntN(300))
	if m.random.IntN(12) == 0 {
		text = strings.Repeat(fmt.Sprintf("line of message %d\r\n", m.number), 80_000)
	}
	date := time.Date(2022, 3, 4, 10, 0, 0, 0, time.UTC)
	message := &message{uid: box.next, flags: subject, date: date, body: fmt.Appendf(nil, "From: w@example.org\r\nSubject: %s\r\n"+
		"Date: %s\r\nMessage-ID: <%d@example.org>\r\n\r\n%s", subject, date.Format(time.RFC1123Z), m.number, text)}
	m.server.mu.Lock()
	box.messages = append(slices.Clone(box.messages), message)
	box.next++
	m.server.mu.Unlock()
	m.add(name, message)
}

// add notes that a message is in a mailbox now.
func (m *model) add(box string, message *message) {
	f := m.files[box][nameOf(message)]
	if f == nil {
		f = &file{}
		m.files[box][nameOf(message)] = f
	}
	f.bodies, f.inode, f.there = append(f.bodies, message), 0, true
}

// gone notes that nothing is in a mailbox any more.
func (m *model) gone(box string) {
	for _, f := range m.files[box] {
		f.there = false
	}
}

// operation does what a program does with files.
func (m *model) operation() {
	box := some(m, m.files)
	name := some(m, m.files[box])
	if name == "" {
		return
	}
	f, path := m.files[box][name], filepath.Join(m.root, box, name)
	switch m.random.IntN(6) {
	case 0:
		m.list(box)
	case 1:
		m.stat(path, f)
	case 2:
		b, err := os.ReadFile(path)
		m.check(path, f.bodies, b, 0, len(b), err, true)
	case 3, 4:
		h, err := os.Open(path)
		if err != nil {
			m.mayFail(path, err)
			return
		}
		if m.random.IntN(2) == 0 && len(m.held) < 10 {
			m.held = append(m.held, &handle{h, slices.Clone(f.bodies)})
			m.t.Cleanup(func() { h.Close() })
			return
		}
		defer h.Close()
		buf, offset := make([]byte, 1+m.random.IntN(50_000)), m.random.IntN(len(f.bodies[0].body))
		n, err := h.ReadAt(buf, int64(offset))
		m.check(path, f.bodies, buf[:n], offset, len(buf), err, false)
	case 5:
		if len(m.held) > 0 {
			i := m.random.IntN(len(m.held))
			m.readHeld(m.held[i])
			m.held[i].Close()
			m.held = slices.Delete(m.held, i, i+1)
		}
	}
}

func (m *model) readHeld(h *handle) {
	b, err := io.ReadAll(io.NewSectionReader(h, 0, 1<<30))
	m.check(h.Name(), h.bodies, b, 0, len(b), err, true)
}

// list lists a mailbox. Nothing is shown that never was there.
func (m *model) list(box string) []string {
	entries, err := os.ReadDir(filepath.Join(m.root, box))
	if err != nil {
		m.mayFail(box, err)
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if m.files[box][e.Name()] == nil {
			m.t.Errorf("%s shows %s, which never was there", box, e.Name())
		}
	}
	return names
}

// stat checks that the inode number of a message stays.
func (m *model) stat(path string, f *file) {
	info, err := os.Lstat(path)
	if err != nil {
		m.mayFail(path, err)
		return
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	if f.inode != 0 && f.inode != inode && f.there {
		m.t.Errorf("%s: the inode number was %d and is %d", path, f.inode, inode)
	}
	if f.there && len(f.bodies) == 1 {
		f.inode = inode
	}
}

// check checks what was read from an offset on with a buffer of some size. Whole says that all was read to its end.
func (m *model) check(path string, bodies []*message, got []byte, offset, size int, err error, whole bool) {
	if err != nil && !errors.Is(err, io.EOF) {
		m.mayFail(path, err)
		return
	}
	for _, b := range bodies {
		want := b.body[min(offset, len(b.body)):]
		if !whole {
			want = want[:min(size, len(want))]
		}
		if bytes.Equal(got, want) {
			return
		}
	}
	m.t.Errorf("%s: %d bytes from %d on, %.80q, are those of no message that was there", path, len(got), offset, got)
}

// mayFail checks that an error is one of those that events cause.
func (m *model) mayFail(path string, err error) {
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.ESTALE, syscall.EHOSTDOWN, syscall.ETIMEDOUT} {
		if errors.Is(err, errno) {
			return
		}
	}
	m.t.Errorf("%s: %v", path, err)
}

// settle waits until the mount shows exactly what the server holds, and each message reads as its bytes.
func (m *model) settle() {
	m.t.Helper()
	var why string
	deadline := time.Now().Add(harness.Patience)
	for why = m.differs(); why != "" && !m.t.Failed() && time.Now().Before(deadline); why = m.differs() {
		time.Sleep(100 * time.Millisecond)
	}
	if why != "" {
		m.t.Errorf("the mount does not come to show what the server holds: %s", why)
	}
}

// differs tells in what the mount differs from the server, "" if in nothing.
func (m *model) differs() string {
	shown := namesIn(m.root)
	if want := m.server.names(); !slices.Equal(slices.Sorted(slices.Values(shown)), want) {
		return fmt.Sprintf("the mailboxes are %q, want %q", shown, want)
	}
	for _, box := range shown {
		var want []string
		for name, f := range m.files[box] {
			if f.there {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		var got []string
		for _, name := range m.list(box) {
			if !strings.HasPrefix(name, ".") {
				got = append(got, name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Sprintf("%s shows %q, want %q", box, got, want)
		}
		for _, name := range want {
			f, path := m.files[box][name], filepath.Join(m.root, box, name)
			m.stat(path, f)
			b, err := os.ReadFile(path)
			m.check(path, f.bodies, b, 0, len(b), err, true)
			if err != nil || !bytes.Equal(b, f.bodies[len(f.bodies)-1].body) {
				return fmt.Sprintf("%s reads %d bytes (%v) that are not its %d", path, len(b), err, len(f.bodies[len(f.bodies)-1].body))
			}
		}
	}
	return ""
}
