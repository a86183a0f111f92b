//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// come returns how many bytes have come from the server; 0 where there is no link.
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

// copying measures cp -r of a folder in a fresh mount. Afterwards it checks, outside of the time, that the copy is complete.
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

// againstMbsync measures cp -r of a folder against mbsync and others.
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
