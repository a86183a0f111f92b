//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// probe measures a job in a fresh mount over the network of the row, b.n times. The job returns the bound, too.
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

// busyCat measures cat of small messages in a mailbox, one after the other, while cp -r copies INBOX. It begins with the
// last messages, which cp reads long after.
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

// settled waits until nothing has come for a while, and returns how many bytes have come.
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

// catBytes allows 5 % more than the size of the message. The bytes of the connection that cat causes count.
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
