//go:build !linux

package dial

import (
	"net"
	"time"
)

// endWhenUnacknowledged does nothing where the system has no such option: the timeout ends the wait.
func endWhenUnacknowledged(net.Conn, time.Duration) {}

// acknowledger returns a function that does nothing: the system acknowledges when it likes.
func acknowledger(net.Conn) func() { return func() {} }
