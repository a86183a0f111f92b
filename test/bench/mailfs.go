//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// mount is the account mounted by a fresh mailfs with an empty cache.
type mount struct {
	path   string
	took   time.Duration // from the start of mailfs until the mount answered
	cmd    *exec.Cmd
	ended  chan struct{}
	stderr harness.Output
	report func() // ends the profile; does nothing without one
}

// mount mounts the account with the defaults of mailfs, but without TLS, which no contestant uses.
func (b *bench) mount(ctx context.Context, scheme string, port int) (*mount, error) {
	home, err := os.MkdirTemp(b.run.Dir, "mount")
	if err != nil {
		return nil, err
	}
	m := &mount{path: filepath.Join(home, "mail"), ended: make(chan struct{}), report: func() {}}
	if err := os.Mkdir(m.path, 0o700); err != nil {
		return nil, err
	}
	args := append([]string{"mount", "--foreground", "--tls=off"}, strings.Fields(b.mountFlags)...)
	args = append(args, fmt.Sprintf("%s://%s@127.0.0.1:%d", scheme, account, port), m.path)
	start := time.Now()
	m.cmd = exec.Command(b.mailfs, args...)
	m.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "MAILFS_PASSWORD=" + harness.Password,
		"XDG_CONFIG_HOME=" + home + "/config", "XDG_CACHE_HOME=" + home + "/cache",
	}
	m.cmd.Stderr = &m.stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the benchmark alone, which unmounts
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		m.cmd.Wait()
		close(m.ended)
	}()
	for harness.Mounted(m.path) == 0 {
		select {
		case <-m.ended:
			return nil, fmt.Errorf("mailfs mount: %s", m.stderr.String())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), m.unmount())
		case <-time.After(time.Millisecond):
		}
	}
	if _, err := os.Stat(m.path); err != nil {
		return nil, errors.Join(err, m.unmount())
	}
	m.took = time.Since(start)
	return m, nil
}

// unmount unmounts and waits for the process to end.
func (m *mount) unmount() error {
	m.report()
	m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.ended:
	case <-time.After(harness.Patience):
		m.cmd.Process.Signal(syscall.SIGQUIT) // prints its goroutines
		<-m.ended
		return fmt.Errorf("mailfs does not end when it is told to: %s", m.stderr.String())
	}
	if harness.Mounted(m.path) > 0 {
		return fmt.Errorf("%s is still mounted: %s", m.path, m.stderr.String())
	}
	return os.RemoveAll(filepath.Dir(m.path))
}

// inbox is the directory of the mixed mail.
func (m *mount) inbox() string { return filepath.Join(m.path, "INBOX") }

// cpu returns the processor time that the process has used, user and system, in steps of 10 ms.
func (m *mount) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // from the third on, proc_pid_stat(5)
	user, _ := strconv.ParseInt(fields[14-3], 10, 64)
	system, _ := strconv.ParseInt(fields[15-3], 10, 64)
	return time.Duration(user+system) * time.Second / 100
}

// peak returns the most memory that the process has had resident, in bytes.
func (m *mount) peak() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// profile has perf(1) record the process from now on, if profiles are wanted.
func (b *bench) profile(ctx context.Context, m *mount, name string) error {
	if b.profiles == "" {
		return nil
	}
	out := filepath.Join(b.profiles, name+".perf")
	perf := exec.CommandContext(ctx, "perf", "record", "-q", "-F", "499", "-g", "-o", out,
		"-p", strconv.Itoa(m.cmd.Process.Pid))
	if err := perf.Start(); err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	m.report = func() {
		perf.Process.Signal(syscall.SIGINT)
		perf.Wait()
		m.report = func() {}
	}
	return nil
}
