package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/mailfs/mailfs/cache"
)

// notifyVariable names the socket on which systemd wants to hear how a service is doing; see sd_notify(3).
const notifyVariable = "NOTIFY_SOCKET"

// statusEvery is how often systemd is told what goes on, when that changes.
const statusEvery = 2 * time.Second

// supervisor is systemd, if it has started this process as a service of Type=notify.
type supervisor struct {
	socket *net.UnixAddr // nil where nobody supervises
	told   string
}

// newSupervisor finds the supervisor. Commands that this process starts don't get to know it.
func newSupervisor() *supervisor {
	name := os.Getenv(notifyVariable)
	os.Unsetenv(notifyVariable)
	if name == "" {
		return &supervisor{}
	}
	return &supervisor{socket: &net.UnixAddr{Name: name, Net: "unixgram"}} // @ at the start is Go's word for abstract, too
}

// tell sends a state. A supervisor that does not listen does not keep mail from being served.
func (s *supervisor) tell(state string) {
	if s.socket == nil || state == s.told {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, s.socket)
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err == nil {
		s.told = state
	}
}

// follow tells that the mount is ready, then what goes on, until ctx ends; then that it stops.
func (s *supervisor) follow(ctx context.Context, mountpoint string, status func() cache.Status) {
	if s.socket == nil {
		return
	}
	s.tell("READY=1\nSTATUS=" + doing(mountpoint, status()))
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tell("STATUS=" + doing(mountpoint, status()))
		case <-ctx.Done():
			s.tell("STOPPING=1\nSTATUS=Unmounting " + mountpoint)
			return
		}
	}
}

// doing is a line about what a mount is doing.
func doing(mountpoint string, status cache.Status) string {
	parts := []string{mountpoint}
	for _, a := range status.Accounts {
		name := ""
		if a.Name != "" {
			name = a.Name + ": "
		}
		switch {
		case a.Error != "":
			parts = append(parts, name+a.Error)
		case len(a.Syncing) > 0:
			y := a.Syncing[0]
			parts = append(parts, fmt.Sprintf("%slisting %s, %d of %d", name, y.Mailbox, y.Done, y.Total))
		default:
			parts = append(parts, name+count(a.Messages, "message", "messages")+" listed")
		}
	}
	return oneLine(strings.Join(parts, "; "))
}
