package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrNoMountpoint: the path of a mountpoint is empty.
var ErrNoMountpoint = errors.New("MOUNTPOINT is empty")

// Resolve returns the absolute path of a mountpoint, with symbolic links followed. It does not touch what may be mounted there: a
// dead mount answers with errors, a hung one not at all.
func Resolve(path string) (string, error) {
	if path == "" { // from an unset variable, as in "$DIR"; it does not mean the working directory
		return "", ErrNoMountpoint
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", path, err)
	}
	for range 40 { // the kernel follows 40 links as well
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", FileError(filepath.Dir(path), err)
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path) // for a mountpoint the kernel answers itself that it is no link
		if err != nil {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = filepath.Clean(target)
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// Prepare clears away a dead mount of mailfs at a path, and returns the path as the kernel will list it. The error says why
// mailfs can't mount there.
func Prepare(path string, warn func(string)) (string, error) {
	path, err := Resolve(path)
	if err != nil {
		return "", err
	}
	cleared, err := ClearDead(path)
	if err != nil {
		return "", err
	}
	if cleared {
		warn(path + ": cleared away a dead mount")
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", FileError(path, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s: not a directory", path)
	}
	if path == "/" {
		return "", errors.New("/: can't be a mountpoint")
	}
	outer, err := Mounts(func(at string) bool { return at != path && Within(path, at) })
	if err != nil {
		return "", err
	}
	if len(outer) > 0 {
		return "", fmt.Errorf("%s: it lies inside another mount of mail (%s)", path, outer[0])
	}
	return path, nil
}

// Within tells whether a path is dir or lies below dir.
func Within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// MayMount returns an error where this machine does not let this user mount, in plainer words than fusermount3 and the kernel
// would. allowOther is set for a mount that other users may enter.
func MayMount(allowOther bool) error {
	if err := fuseReady(); err != nil {
		return err
	}
	if !allowOther || os.Geteuid() == 0 {
		return nil
	}
	conf, err := os.Open("/etc/fuse.conf")
	if err == nil {
		defer conf.Close()
		for s := bufio.NewScanner(conf); s.Scan(); {
			if strings.TrimSpace(s.Text()) == "user_allow_other" {
				return nil
			}
		}
	}
	return errors.New("--allow-other: only root may use it, unless /etc/fuse.conf has a line user_allow_other")
}

// aliveWithin is how long a mount may take to answer before it counts as hung.
const aliveWithin = 2 * time.Second

// ClearDead unmounts the mounts at a path whose processes are gone, and tells whether there were any. A mount of mailfs that
// answers is an error.
func ClearDead(path string) (cleared bool, err error) {
	for {
		kind, err := uppermost(path)
		if err != nil || kind != fsType {
			return cleared, err
		}
		answer := make(chan error, 1)
		go func() { answer <- probe(path) }()
		select {
		case err = <-answer:
		case <-time.After(aliveWithin):
			err = syscall.ENOTCONN
		}
		if !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
			return cleared, fmt.Errorf("%s: mail is mounted there already; mailfs umount ends it", path)
		}
		abort(path)
		if err := unmount(path, true); err != nil {
			return cleared, fmt.Errorf("clearing a dead mount from %s: %w", path, err)
		}
		cleared = true
	}
}

// FileError returns the error of a file or a directory as "PATH: REASON". Errors of package os have the call and the path in the
// text.
func FileError(path string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}
