package fs

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// harmless is the set of signals that don't ask a program to end what it does, as in proc_pid_status(5).
var harmless = signalSet(syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGCONT, syscall.SIGCHLD,
	syscall.SIGURG, syscall.SIGWINCH, syscall.SIGVTALRM, syscall.SIGPROF, syscall.SIGIO)

func signalSet(signals ...syscall.Signal) (set uint64) {
	for _, s := range signals {
		set |= 1 << (s - 1)
	}
	return set
}

// hasEndingSignal tells whether a signal is pending for a thread that may be meant to end it. Where that can't be found out,
// it is true.
func hasEndingSignal(pid uint32) bool {
	if pid == 0 { // the thread is of another PID namespace
		return true
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return true
	}
	var pending, blocked uint64
	known := 0
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		set, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		switch string(name) {
		case "SigPnd", "ShdPnd":
			pending |= set
		case "SigBlk":
			blocked = set
		default:
			continue
		}
		if err != nil {
			return true
		}
		known++
	}
	return known < 3 || pending&^blocked&^harmless != 0
}
