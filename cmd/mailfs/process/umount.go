package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// goneWithin is how long the kernel may list a mount after it was unmounted.
const goneWithin = 10 * time.Second

// Umount unmounts every mount of mailfs at a mountpoint and returns when the kernel lists none any more.
func Umount(ctx context.Context, mountpoint string, lazy bool) error {
	path, err := Resolve(mountpoint)
	if err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil { // this process would keep the mount busy if it was started inside
		return fmt.Errorf("leaving the mount: %w", err)
	}
	for unmounted := false; ; unmounted = true {
		kind, err := uppermost(path)
		switch {
		case err != nil:
			return err
		case kind == fsType:
		case unmounted: // the last mount of mailfs there is gone
			return nil
		case kind == "":
			return fmt.Errorf("%s: no mail is mounted there", path)
		default:
			return fmt.Errorf("%s: another file system is mounted there, not mailfs (%s)", path, kind)
		}
		before, err := Mounts(func(m string) bool { return m == path })
		if err != nil {
			return err
		}
		if err := unmountPatiently(ctx, path, lazy); err != nil {
			return err
		}
		if err := awaitFewer(ctx, path, len(before)); err != nil {
			return err
		}
	}
}

// passesWithin is how long the kernel may call a mount busy that no process uses: it does for a moment after a file was closed,
// and while a process executes another program.
const passesWithin = 500 * time.Millisecond

// unmountPatiently unmounts the uppermost mount at a path. The error names the processes that use the mount.
func unmountPatiently(ctx context.Context, path string, lazy bool) error {
	deadline := time.After(passesWithin)
	for {
		err := unmount(path, lazy)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errBusy) {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
		who := holders(path)
		if err = busy(path, who); len(who) > 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Canceled
		case <-deadline:
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// busy is the error of a mount in use. who are the processes that use it.
func busy(path string, who []string) error {
	text := "something is in use there"
	if len(who) > 0 {
		if len(who) > 5 {
			who = append(who[:5], fmt.Sprintf("%d more", len(who)-5))
		}
		text = "in use by " + strings.Join(who, ", ")
	}
	return fmt.Errorf("%s: busy: %s; end that, or unmount with --lazy", path, text)
}

// awaitFewer waits until the kernel lists fewer than n mounts of mailfs at a path.
func awaitFewer(ctx context.Context, path string, n int) error {
	deadline := time.After(goneWithin)
	for {
		left, err := Mounts(func(m string) bool { return m == path })
		if err != nil || len(left) < n {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Canceled
		case <-deadline:
			return fmt.Errorf("%s: the kernel still lists the mount after %s", path, goneWithin)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Detach unmounts a mount that is in use: from then on the processes that use it get errors. It is no error if the mount is gone
// already.
func Detach(mountpoint string) error {
	if kind, err := uppermost(mountpoint); err == nil && kind != fsType {
		return nil
	}
	if err := unmount(mountpoint, true); err != nil {
		return fmt.Errorf("unmounting %s: %w", mountpoint, err)
	}
	return nil
}
