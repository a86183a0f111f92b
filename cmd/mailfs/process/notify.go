package process

import (
	"context"
	"net"
	"os"
	"time"
)

// notifyVariable names the environment variable with the socket for systemd's notifications; see sd_notify(3).
const notifyVariable = "NOTIFY_SOCKET"

// statusEvery is how often systemd gets a new status, if the status has changed.
const statusEvery = 2 * time.Second

// Supervisor sends systemd the state of this process, if systemd has started the process as a service of Type=notify.
type Supervisor struct {
	socket *net.UnixAddr // nil: this process is no such service
	sent   string        // the last state that was sent
}

// NewSupervisor takes the socket from the environment: commands that this process starts do not get it.
func NewSupervisor() *Supervisor {
	name := os.Getenv(notifyVariable)
	os.Unsetenv(notifyVariable)
	if name == "" {
		return &Supervisor{}
	}
	return &Supervisor{socket: &net.UnixAddr{Name: name, Net: "unixgram"}} // systemd and Go both write an abstract socket with @ at the start
}

// tell sends a state. Errors are dropped: mail is served also while systemd does not listen.
func (s *Supervisor) tell(state string) {
	if s.socket == nil || state == s.sent {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, s.socket)
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err == nil {
		s.sent = state
	}
}

// Follow sends that the mount is ready, then the lines of status while they change, and when ctx ends that the mount stops.
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
