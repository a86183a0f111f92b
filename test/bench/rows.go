//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Contestants: who does the same job.
const (
	mailfs      = "mailfs"
	mbsync      = "mbsync"
	mbsyncPlain = "mbsync without COMPRESS"
	raw         = "raw limit"
	disk        = "local disk"
	allowed     = "allowed" // not a measurement but the bar itself
)

// sample is what one contestant needed once. What is zero was not measured.
type sample struct {
	value float64 // seconds or bytes, as the row is
	cpu   time.Duration
	peak  int64 // bytes resident at most, from the start of the process
	down  int64 // bytes from the server
	aside float64
}

// row is a line of the table.
type row struct {
	name, what string
	bytes      bool // not seconds
	bars       []bar
	aside      string // what sample.aside is, a format
	rtt        time.Duration
	narrow     bool // the network has no length, but a rate
	measure    func(context.Context, *bench, row) (map[string][]sample, error)
}

// bar is what must hold: mailfs needs at most factor times what the other needs.
type bar struct {
	against string
	factor  float64
}

// rate of all networks that have a length, in bits per second.
const rate = 100e6

func rows() []row {
	var all []row
	lengths := []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond}
	for _, rtt := range lengths {
		bars := []bar{{mbsync, 1}, {mbsyncPlain, 1}}
		switch rtt.Milliseconds() {
		case 20:
			bars = []bar{{mbsync, 0.8}, {mbsyncPlain, 1}, {raw, 1.05}}
		case 100:
			bars = []bar{{mbsync, 0.8}, {mbsyncPlain, 1}, {raw, 1.1}}
		}
		all = append(all, row{
			name: "cp", what: "cp -r of INBOX, nothing cached", bars: bars, rtt: rtt, measure: coldCopy,
			aside: "mounting took %.2f s",
		})
	}
	for _, rtt := range lengths {
		all = append(all, row{
			name: "boxes", what: fmt.Sprintf("cp -r of %d mailboxes with %d messages each, nothing cached", manyBoxes, inEach),
			bars: []bar{{mbsync, 1}, {mbsyncPlain, 1}}, rtt: rtt, measure: manyCopy, aside: "mounting took %.2f s",
		})
	}
	for _, rtt := range lengths[:2] {
		all = append(all,
			row{name: "grep", what: "grep -r in INBOX, nothing cached", rtt: rtt, measure: coldGrep},
			row{name: "tar", what: "tar of INBOX, nothing cached", rtt: rtt, measure: coldTar})
	}
	for _, rtt := range lengths {
		all = append(all, row{name: "ls", what: "ls -l of 10,000 messages, nothing cached", rtt: rtt, measure: coldList})
	}
	for _, rtt := range lengths {
		all = append(all, row{
			name: "pop3", what: "cp -r of a maildrop, nothing cached", bars: []bar{{raw, 1.1}}, rtt: rtt, measure: coldPOP3,
			aside: "mounting took %.2f s",
		})
	}
	for i := range all {
		all[i].name += fmt.Sprintf("-%dms", all[i].rtt.Milliseconds())
	}
	all = append(all, row{
		name: "cp-0ms-narrow", what: "cp -r of INBOX, nothing cached, at 100 Mbit/s", narrow: true, measure: coldCopy,
		bars: []bar{{mbsync, 1}, {mbsyncPlain, 1}, {raw, 1}}, aside: "mounting took %.2f s",
	})
	all = append(all,
		row{name: "cp-warm", what: "cp -r of INBOX, once more", bars: []bar{{disk, 1.2}}, measure: warmCopy},
		row{name: "grep-warm", what: "grep -r in INBOX, once more", bars: []bar{{disk, 1.6}}, measure: warmGrep},
		row{name: "tar-warm", what: "tar of INBOX, once more", measure: warmTar},
		row{name: "ls-warm", what: "ls -l of 10,000 messages, once more", bars: []bar{{disk, 1}}, measure: warmList},
	)
	for _, rtt := range lengths[1:] {
		for _, where := range []struct{ name, what, mailbox string }{
			{"busy", "slowest of 20 small cat in INBOX while cp -r runs there", "INBOX"},
			{"busy-other", "slowest of 20 small cat in another mailbox while cp -r runs in INBOX", "Tiny"},
		} {
			all = append(all, row{
				name: fmt.Sprintf("%s-%dms", where.name, rtt.Milliseconds()), what: where.what, rtt: rtt,
				bars: []bar{{allowed, 1}}, aside: "half of them within %.3f s",
				measure: func(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
					return busyCat(ctx, b, r, where.mailbox)
				},
			})
		}
	}
	near := lengths[1]
	return append(all,
		row{name: "cat-bytes", what: "bytes from the server for the first cat of a mount, 40 to 80 KB", bytes: true,
			rtt: near, bars: []bar{{allowed, 1}}, measure: catBytes},
		row{name: "find-bytes", what: "bytes from the server for find -size in INBOX", bytes: true, rtt: near,
			bars: []bar{{raw, 1.05}}, measure: findBytes},
		row{name: "head-bytes", what: "bytes from the server for head -c 4096 of 50 MB", bytes: true, rtt: near,
			bars: []bar{{allowed, 1}}, measure: headBytes, aside: "the answer took %.3f s"},
		row{name: "overshoot", what: "bytes from the server beyond 10 messages read in a row", bytes: true, rtt: near,
			bars: []bar{{allowed, 1}}, measure: overshoot},
	)
}

// contestant is one of those who compete in a row.
type contestant struct {
	name string
	run  func() (sample, error)
}

// interleave has the contestants take turns, n times.
func (b *bench) interleave(contestants ...contestant) (map[string][]sample, error) {
	got := map[string][]sample{}
	for range b.n {
		for _, c := range contestants {
			if b.who != "" && !slices.Contains(strings.Split(b.who, ","), c.name) {
				continue
			}
			s, err := c.run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			got[c.name] = append(got[c.name], s)
		}
	}
	return got, nil
}

// network returns the port at which a server is reached over a network of the row's length, which stands until done.
// There is none, and nothing is counted, where the length is 0.
func (r row) network(port int) (at int, l *link, done func(), err error) {
	if r.rtt == 0 && !r.narrow {
		return port, nil, func() {}, nil
	}
	if l, err = newLink(port, r.rtt, rate); err != nil {
		return 0, nil, nil, err
	}
	return l.port, l, l.close, nil
}

// come returns how many bytes have come from the server.
func (l *link) come() int64 {
	if l == nil {
		return 0
	}
	return l.down.Load()
}

// timed measures what mailfs needs for a job.
func timed(m *mount, l *link, job func() error) (s sample, err error) {
	cpu, down, start := m.cpu(), l.come(), time.Now()
	err = job()
	s.value = time.Since(start).Seconds()
	s.cpu, s.down, s.peak = m.cpu()-cpu, l.come()-down, m.peak()
	return s, err
}

// cold measures a job in a fresh mount.
func (b *bench) cold(ctx context.Context, r row, scheme string, port int, l *link, job func(*mount) error) (
	sample, error) {
	m, err := b.mount(ctx, scheme, port)
	if err != nil {
		return sample{}, err
	}
	err = b.profile(ctx, m, r.name)
	var s sample
	if err == nil {
		s, err = timed(m, l, func() error { return job(m) })
	}
	s.aside = m.took.Seconds()
	return s, errors.Join(err, m.unmount())
}

// warm measures a job in a mount that has done it before, and in the copy on the disk.
func warm(ctx context.Context, b *bench, r row, f folder, job func(dir string) error) (map[string][]sample, error) {
	if err := b.disk(ctx); err != nil {
		return nil, err
	}
	m, err := b.mount(ctx, "imap", b.dovecot.IMAP)
	if err != nil {
		return nil, err
	}
	mounted, local := filepath.Join(m.path, f.name), filepath.Join(b.local, f.name)
	got, err := func() (map[string][]sample, error) {
		for _, dir := range []string{mounted, local} {
			if err := job(dir); err != nil {
				return nil, err
			}
		}
		if err := b.profile(ctx, m, r.name); err != nil {
			return nil, err
		}
		return b.interleave(
			contestant{mailfs, func() (sample, error) { return timed(m, nil, func() error { return job(mounted) }) }},
			contestant{disk, func() (s sample, err error) {
				start := time.Now()
				err = job(local)
				s.value = time.Since(start).Seconds()
				return s, err
			}})
	}()
	return got, errors.Join(err, m.unmount())
}

// disk makes the copies on the disk, once.
func (b *bench) disk(ctx context.Context) error {
	if b.local != "" {
		return nil
	}
	m, err := b.mount(ctx, "imap", b.dovecot.IMAP)
	if err != nil {
		return err
	}
	local := filepath.Join(b.run.Dir, "local")
	err = os.Mkdir(local, 0o755)
	for _, f := range []folder{b.corpus.mixed, b.corpus.tiny} {
		if err == nil {
			err = copyAll(ctx, filepath.Join(m.path, f.name), filepath.Join(local, f.name))
		}
		if err == nil {
			err = f.same(filepath.Join(local, f.name))
		}
	}
	b.local = local
	return errors.Join(err, m.unmount())
}

// do runs a command. What it prints goes through a pipe: grep and tar look at less when it goes to /dev/null.
func do(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %.1000s", name, err, stderr.String())
	}
	return nil
}

func copyAll(ctx context.Context, from, to string) error { return do(ctx, "cp", "-r", from, to) }

func grep(ctx context.Context, dir string) error {
	err := do(ctx, "grep", "-r", "xyzzy", dir)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // nothing found, as expected: it is in no message
		return nil
	}
	return err
}

func tar(ctx context.Context, dir string) error {
	return do(ctx, "sh", "-c", `tar cf - -C "$1" . | cat >/dev/null`, "sh", dir)
}

func list(ctx context.Context, dir string) error { return do(ctx, "ls", "-l", dir) }

// same makes sure that a directory holds all of a mailbox.
func (f folder) same(dir string) error {
	messages, bytes := 0, int64(0)
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		messages++
		bytes += info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	if messages != f.messages || bytes != f.bytes {
		return fmt.Errorf("%d messages and %d bytes of %s were copied, there are %d and %d", messages, bytes, f.name,
			f.messages, f.bytes)
	}
	return nil
}

// copying is a job that copies a mailbox, or all below it, and afterwards, not timed, looks whether all is there.
func (b *bench) copying(ctx context.Context, r row, scheme string, port int, l *link, f folder) (sample, error) {
	to, err := os.MkdirTemp(b.run.Dir, "copy")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(to)
	to = filepath.Join(to, "copy")
	s, err := b.cold(ctx, r, scheme, port, l, func(m *mount) error {
		return copyAll(ctx, filepath.Join(m.path, f.name), to)
	})
	if err != nil {
		return s, err
	}
	return s, f.same(to)
}

func coldCopy(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return b.againstMbsync(ctx, r, b.corpus.mixed, func(port int) []contestant {
		return []contestant{{raw, func() (sample, error) { return rawBodies(ctx, port, "INBOX") }}}
	})
}

// manyCopy copies many mailboxes of a few messages each.
func manyCopy(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return b.againstMbsync(ctx, r, b.corpus.many, func(int) []contestant { return nil })
}

// againstMbsync has cp -r of a mailbox, or of all below it, compete with mbsync and others.
func (b *bench) againstMbsync(ctx context.Context, r row, f folder, others func(port int) []contestant) (
	map[string][]sample, error) {
	port, l, done, err := r.network(b.dovecot.IMAP)
	if err != nil {
		return nil, err
	}
	defer done()
	pull := func(compress bool) func() (sample, error) {
		return func() (sample, error) {
			before := l.come()
			s, err := b.mbsync(ctx, port, compress, f)
			s.down = l.come() - before
			return s, err
		}
	}
	return b.interleave(append([]contestant{
		{mailfs, func() (sample, error) { return b.copying(ctx, r, "imap", port, l, f) }},
		{mbsync, pull(true)},
		{mbsyncPlain, pull(false)},
	}, others(port)...)...)
}

func coldPOP3(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	port, l, done, err := r.network(b.dovecot.POP3)
	if err != nil {
		return nil, err
	}
	defer done()
	return b.interleave(
		contestant{mailfs, func() (sample, error) { return b.copying(ctx, r, "pop3", port, l, b.corpus.mixed) }},
		contestant{raw, func() (sample, error) { return rawRetrieve(ctx, port) }})
}

// coldRead measures a job that reads all of INBOX.
func coldRead(ctx context.Context, b *bench, r row, job func(context.Context, string) error) (
	map[string][]sample, error) {
	port, l, done, err := r.network(b.dovecot.IMAP)
	if err != nil {
		return nil, err
	}
	defer done()
	return b.interleave(
		contestant{mailfs, func() (sample, error) {
			s, err := b.cold(ctx, r, "imap", port, l, func(m *mount) error { return job(ctx, m.inbox()) })
			s.aside = 0
			return s, err
		}},
		contestant{raw, func() (sample, error) { return rawBodies(ctx, port, "INBOX") }})
}

func coldGrep(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return coldRead(ctx, b, r, grep)
}

func coldTar(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return coldRead(ctx, b, r, tar)
}

func coldList(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	port, l, done, err := r.network(b.dovecot.IMAP)
	if err != nil {
		return nil, err
	}
	defer done()
	return b.interleave(
		contestant{mailfs, func() (sample, error) {
			return b.cold(ctx, r, "imap", port, l, func(m *mount) error { return list(ctx, filepath.Join(m.path, "Tiny")) })
		}},
		contestant{raw, func() (sample, error) { return rawListing(ctx, port, "Tiny") }})
}

func warmCopy(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	to := filepath.Join(b.run.Dir, "copy")
	return warm(ctx, b, r, b.corpus.mixed, func(dir string) error {
		return errors.Join(copyAll(ctx, dir, to), os.RemoveAll(to))
	})
}

func warmGrep(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return warm(ctx, b, r, b.corpus.mixed, func(dir string) error { return grep(ctx, dir) })
}

func warmTar(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return warm(ctx, b, r, b.corpus.mixed, func(dir string) error { return tar(ctx, dir) })
}

func warmList(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return warm(ctx, b, r, b.corpus.tiny, func(dir string) error { return list(ctx, dir) })
}

// probe measures something in a fresh mount over the network of the row, n times, against what is allowed.
func (b *bench) probe(ctx context.Context, r row, job func(*mount, *link) (got sample, allow float64, err error)) (
	map[string][]sample, error) {
	port, l, done, err := r.network(b.dovecot.IMAP)
	if err != nil {
		return nil, err
	}
	defer done()
	var limit float64
	return b.interleave(
		contestant{mailfs, func() (s sample, err error) {
			m, err := b.mount(ctx, "imap", port)
			if err != nil {
				return s, err
			}
			if err = b.profile(ctx, m, r.name); err == nil {
				s, limit, err = job(m, l)
			}
			return s, errors.Join(err, m.unmount())
		}},
		contestant{allowed, func() (sample, error) { return sample{value: limit}, nil }})
}

// busyCat reads small messages of a mailbox, one after the other, while cp -r copies INBOX. Those of INBOX are the last
// ones, far ahead of what cp reads.
func busyCat(ctx context.Context, b *bench, r row, mailbox string) (map[string][]sample, error) {
	return b.probe(ctx, r, func(m *mount, _ *link) (s sample, _ float64, err error) {
		dir := filepath.Join(m.path, mailbox)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return s, 0, err
		}
		to, err := os.MkdirTemp(b.run.Dir, "copy")
		if err != nil {
			return s, 0, err
		}
		defer os.RemoveAll(to)
		copying, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- copyAll(copying, m.inbox(), filepath.Join(to, "INBOX")) }()
		defer func() {
			stop()
			if ended != nil {
				<-ended
			}
		}()
		var took []float64
		pause := 2 * time.Second // until cp is at its full speed
		for i := len(entries) - 1; i > 0 && len(took) < 20; i -= 7 {
			info, err := entries[i].Info()
			if err != nil {
				return s, 0, err
			}
			if info.Size() > 12<<10 {
				i += 6
				continue
			}
			select {
			case err := <-ended:
				ended = nil
				return s, 0, errors.Join(err, errors.New("cp -r was done too early"))
			case <-time.After(pause):
			}
			pause = 200 * time.Millisecond
			start := time.Now()
			if err := do(ctx, "cat", filepath.Join(dir, entries[i].Name())); err != nil {
				return s, 0, err
			}
			took = append(took, time.Since(start).Seconds())
		}
		slices.Sort(took)
		s.value, s.aside = took[len(took)-1], took[len(took)/2]
		return s, (2*r.rtt + 50*time.Millisecond).Seconds(), nil
	})
}

// settled returns how many bytes have come in the end: when nothing came for a while.
func (l *link) settled() int64 {
	for last := l.come(); ; {
		time.Sleep(max(500*time.Millisecond, 5*l.rtt))
		now := l.come()
		if now == last {
			return now
		}
		last = now
	}
}

// catBytes allows 5 % more than the message. The connection for bodies is made by the cat and counts.
func catBytes(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return b.probe(ctx, r, func(m *mount, l *link) (s sample, _ float64, err error) {
		entries, err := os.ReadDir(m.inbox())
		if err != nil {
			return s, 0, err
		}
		for _, e := range entries[len(entries)/2:] {
			info, err := e.Info()
			if err != nil {
				return s, 0, err
			}
			if info.Size() < 40<<10 || info.Size() > 80<<10 {
				continue
			}
			before := l.settled()
			err = do(ctx, "cat", filepath.Join(m.inbox(), e.Name()))
			s.value = float64(l.settled() - before)
			return s, 1.05 * float64(info.Size()), err
		}
		return s, 0, errors.New("there is no message of 40 to 80 KB")
	})
}

func findBytes(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	port, l, done, err := r.network(b.dovecot.IMAP)
	if err != nil {
		return nil, err
	}
	defer done()
	return b.interleave(
		contestant{mailfs, func() (sample, error) {
			s, err := b.cold(ctx, r, "imap", port, l, func(m *mount) error {
				err := do(ctx, "find", m.inbox(), "-size", "+1M")
				l.settled()
				return err
			})
			return sample{value: float64(s.down)}, err
		}},
		contestant{raw, func() (sample, error) {
			s, err := rawListing(ctx, port, "INBOX")
			return sample{value: float64(s.down)}, err
		}})
}

func headBytes(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	return b.probe(ctx, r, func(m *mount, l *link) (s sample, _ float64, err error) {
		dir := filepath.Join(m.path, "Huge")
		entries, err := os.ReadDir(dir)
		if err != nil {
			return s, 0, err
		}
		if len(entries) != 1 {
			return s, 0, fmt.Errorf("%s has %d messages", dir, len(entries))
		}
		before := l.settled()
		start := time.Now()
		err = do(ctx, "head", "-c", "4096", filepath.Join(dir, entries[0].Name()))
		s.aside = time.Since(start).Seconds()
		s.value = float64(l.settled() - before)
		return s, 1e6, err
	})
}

// overshoot allows 4 MB or 64 messages, whichever is more.
func overshoot(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
	const read, ahead = 10, 64
	return b.probe(ctx, r, func(m *mount, l *link) (s sample, _ float64, err error) {
		entries, err := os.ReadDir(m.inbox())
		if err != nil {
			return s, 0, err
		}
		var own, next int64
		before := l.settled()
		for i, e := range entries[:min(read+ahead, len(entries))] {
			info, err := e.Info()
			if err != nil {
				return s, 0, err
			}
			if i >= read {
				next += info.Size()
				continue
			}
			own += info.Size()
			if err := do(ctx, "cat", filepath.Join(m.inbox(), e.Name())); err != nil {
				return s, 0, err
			}
		}
		s.value = float64(l.settled() - before - own)
		return s, float64(max(4<<20, next)), nil
	})
}
