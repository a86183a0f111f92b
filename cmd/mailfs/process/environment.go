package process

import (
	"os"
	"strings"
)

// PasswordVariable names the environment variable with a password. mailfs reads it once and never hands it on.
const PasswordVariable = "MAILFS_PASSWORD"

// Environment returns the environment for a command that this process runs: its own, without the password and without the
// socket of systemd, which is for this process only.
func Environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, PasswordVariable+"=") && !strings.HasPrefix(e, notifyVariable+"=") {
			env = append(env, e)
		}
	}
	return env
}

// MaxComplaint is how much of a command's standard error is kept, in bytes.
const MaxComplaint = 4 << 10

// LimitedBuffer keeps the beginning of what a process writes to it.
type LimitedBuffer struct {
	Kept []byte
	Left int // how many more bytes are kept
}

func (b *LimitedBuffer) Write(p []byte) (int, error) {
	n := min(len(p), b.Left)
	b.Kept = append(b.Kept, p[:n]...)
	b.Left -= n
	return len(p), nil
}
