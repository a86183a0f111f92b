//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// mbsync has mbsync pull a folder into new Maildirs. FSync no: mbsync does not wait for the disk, as cp does not.
func (b *bench) mbsync(ctx context.Context, port int, compress bool, f folder) (s sample, err error) {
	dir, err := os.MkdirTemp(b.run.Dir, "mbsync")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	pattern := f.name
	if f.name == b.corpus.many.name {
		pattern += "/*"
	}
	without := ""
	if !compress {
		without = "DisableExtension COMPRESS=DEFLATE"
	}
	config := filepath.Join(dir, "rc")
	err = os.WriteFile(config, fmt.Appendf(nil, `FSync no

IMAPAccount bench
Host 127.0.0.1
Port %d
User %s
Pass %s
SSLType None
AuthMechs LOGIN
%s

IMAPStore far
Account bench

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel bench
Far :far:
Near :near:
Patterns %s
Sync Pull
Create Near
SyncState *
`, port, account, harness.Password, without, dir, dir, pattern), 0o600)
	if err != nil {
		return s, err
	}
	cmd := exec.CommandContext(ctx, "mbsync", "-q", "-c", config, "bench")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("mbsync: %w: %s", err, &stderr)
	}
	s.value = time.Since(start).Seconds()
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	var pulled int
	err = filepath.WalkDir(filepath.Join(dir, f.name), func(path string, e fs.DirEntry, err error) error {
		if in := filepath.Base(filepath.Dir(path)); err == nil && !e.IsDir() && (in == "cur" || in == "new") {
			pulled++
		}
		return err
	})
	if err == nil && pulled != f.messages {
		err = fmt.Errorf("mbsync pulled %d of %d messages", pulled, f.messages)
	}
	return s, err
}
