//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// warm measures a job in a mount in which it was done before, and in a copy on the disk.
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

// disk makes the copies on the disk, when they are needed for the first time.
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
