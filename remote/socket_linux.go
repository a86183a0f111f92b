package remote

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unconfirmed is how long what was sent may go without the other machine confirming it (TCP_USER_TIMEOUT), at least. Where
// the network is another one since, it never does, and waiting for the server would take the whole timeout; a server that
// is slow does so at once. It also ends an idle connection that nobody is at the other end of.
const unconfirmed = 10 * time.Second

// endWhenUnconfirmed has the system end a connection when nothing is confirmed any more.
func endWhenUnconfirmed(conn net.Conn, timeout time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		// Where it can't be set, timeouts remain.
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(unconfirmed, timeout/3).Milliseconds()))
	})
}
