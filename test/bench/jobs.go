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
	"strings"
)

// do runs a command whose output goes through a pipe. To /dev/null, grep and tar would read less.
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

// same returns an error unless a directory has as many messages and bytes as the folder.
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
