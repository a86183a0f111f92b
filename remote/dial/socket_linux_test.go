package dial

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheSystemEndsAConnectionThatNobodyAcknowledges(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for timeout, want := range map[time.Duration]int{time.Second: 10_000, 30 * time.Second: 10_000, time.Minute: 20_000} {
		s, err := ParseURL("imap://u@" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s.InTheClear, s.Timeout = true, timeout
		enough := errors.New("enough")
		_, err = Connect(t.Context(), New(s), nil, func(_ context.Context, conn net.Conn) (int, error) {
			raw, err := conn.(*countingConn).Conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				return 0, err
			}
			raw.Control(func(fd uintptr) {
				got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
				if err != nil || got != want {
					t.Errorf("with a timeout of %v it is %d ms (%v), want %d", timeout, got, err, want)
				}
			})
			return 0, enough
		})
		if !errors.Is(err, enough) {
			t.Error(err)
		}
	}
}
