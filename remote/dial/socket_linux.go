package dial

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unconfirmed is how long what was sent may go without the other machine confirming it (TCP_USER_TIMEOUT), at least. Where
// the network is another one since, it never does, and waiting for the server would take the whole timeout; a server that
// is slow does so at once. It also ends an idle connection that nobody is at the other end of.
const unconfirmed = 10 * time.Second

// confirmer returns a function that has what was received confirmed at once (TCP_QUICKACK, which the system takes back
// soon). A server that leaves Nagle's algorithm on and writes its answer in pieces waits for that before it sends the
// next piece, 40 ms where the system saves up its confirmations.
func confirmer(conn net.Conn) func() {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return func() {}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return func() {}
	}
	confirm := func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
	return func() { raw.Control(confirm) }
}

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
