package process

import (
	"context"
	"net"
	"os"
	"time"
)

// notifyVariable names the socket on which systemd wants to hear how a service is doing; see sd_notify(3).
const notifyVariable = "NOTIFY_SOCKET"

// statusEvery is how often systemd is told what goes on, when that changes.
const statusEvery = 2 * time.Second

// Supervisor is systemd, if it has started this process as a service of Type=notify.
type Supervisor struct {
	socket *net.UnixAddr // nil where nobody supervises
	told   string
}

// NewSupervisor finds the supervisor. Commands that this process starts don't get to know it.
func NewSupervisor() *Supervisor {
	name := os.Getenv(notifyVariable)
	os.Unsetenv(notifyVariable)
	if name == "" {
		return &Supervisor{}
	}
	return &Supervisor{socket: &net.UnixAddr{Name: name, Net: "unixgram"}} // @ at the start is Go's word for abstract, too
}

// tell sends a state. A supervisor that does not listen does not keep mail from being served.
func (s *Supervisor) tell(state string) {
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

// Follow tells that the mount is ready, then what goes on, until ctx ends; then that it stops.
func (s *Supervisor) Follow(ctx context.Context, mountpoint string, status func() string) {
	if s.socket == nil {
		return
	}
	s.tell("READY=1\nSTATUS=" + status())
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tell("STATUS=" + status())
		case <-ctx.Done():
			s.tell("STOPPING=1\nSTATUS=Unmounting " + mountpoint)
			return
		}
	}
}
