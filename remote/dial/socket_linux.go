package dial

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unacknowledged is the least time that bytes may stay sent without an acknowledgement before the system ends the connection
// (TCP_USER_TIMEOUT). Even a slow server's machine acknowledges at once. Without this limit, a connection from before the
// machine changed networks would hold up its readers for the whole timeout.
const unacknowledged = 10 * time.Second

// acknowledger returns a function that has the system acknowledge at once what was received (TCP_QUICKACK, which the system
// soon takes back, so that it is called after each read). A server with Nagle's algorithm that writes an answer in pieces
// sends a piece when the one before is acknowledged; a delayed acknowledgement costs 40 ms each.
func acknowledger(conn net.Conn) func() {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return func() {}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return func() {}
	}
	acknowledge := func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
	return func() { raw.Control(acknowledge) }
}

// endWhenUnacknowledged has the system end a connection whose bytes are not acknowledged any more. timeout is the server's.
func endWhenUnacknowledged(conn net.Conn, timeout time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		// Where the option can't be set, the timeout still ends the wait.
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(unacknowledged, timeout/3).Milliseconds()))
	})
}
