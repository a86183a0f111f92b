//go:build linux

package main

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is a network between a client and a port of this machine. It delays both directions, bounds the rate of bytes from
// the server, and counts.
//
// Connections share the rate chunk by chunk, as behind a router with fair queues. Nothing is lost and there is no slow
// start: in real networks new connections are slower.
type link struct {
	port int
	rtt  time.Duration

	target   string
	perByte  time.Duration // time of a byte from the server; 0: no limit
	listener net.Listener
	all      sync.WaitGroup
	down, up atomic.Int64 // bytes that arrived at the client, and at the server

	mu    sync.Mutex        // guards what follows
	free  time.Time         // when the next byte from the server may pass
	conns map[net.Conn]bool // nil: closed
}

const (
	// chunk is how many bytes of a connection pass before another has its turn: 1.3 ms at 100 Mbit/s.
	chunk = 16 << 10
	// window bounds the bytes under way in one connection, as TCP's window does. It is above what 100 Mbit/s and 100 ms
	// need.
	window = 4 << 20
	// lag is how much time a link makes up for after the machine was busy.
	lag = 10 * time.Millisecond
)

// newLink starts a network before a port. rate is in bits per second from the server; 0: no limit.
func newLink(port int, rtt time.Duration, rate float64) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a link: %w", err)
	}
	l := &link{
		port: listener.Addr().(*net.TCPAddr).Port, rtt: rtt, target: fmt.Sprintf("127.0.0.1:%d", port),
		listener: listener, conns: map[net.Conn]bool{},
	}
	if rate > 0 {
		l.perByte = time.Duration(8e9 / rate)
	}
	l.all.Go(l.accept)
	return l, nil
}

// close ends the link and its connections, and waits for their goroutines.
func (l *link) close() {
	l.listener.Close()
	l.mu.Lock()
	for c := range l.conns {
		c.Close()
	}
	l.conns = nil
	l.mu.Unlock()
	l.all.Wait()
}

// keep has close end a connection. After close it ends the connection at once and returns false.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	c.Close()
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		if !l.keep(client) {
			return
		}
		l.all.Go(func() {
			defer l.drop(client)
			time.Sleep(l.rtt) // the handshake of TCP
			server, err := net.Dial("tcp", l.target)
			if err != nil || !l.keep(server) {
				return
			}
			defer l.drop(server)
			var both sync.WaitGroup
			both.Go(func() { l.carry(server, client, nil, &l.up) })
			both.Go(func() { l.carry(client, server, l.turn, &l.down) })
			both.Wait()
		})
	}
}

// turn waits until n bytes have passed the bottleneck.
func (l *link) turn(n int) {
	l.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-lag); l.free.Before(earliest) {
		l.free = earliest
	}
	l.free = l.free.Add(time.Duration(n) * l.perByte)
	until := l.free
	l.mu.Unlock()
	time.Sleep(time.Until(until))
}

// carry copies bytes from one side to the other, each after turn and half a round trip, and at last the end of the stream.
func (l *link) carry(to, from net.Conn, turn func(int), count *atomic.Int64) {
	type packet struct {
		data []byte
		due  time.Time
	}
	packets := make(chan packet, window/chunk)
	free := make(chan []byte, window/chunk)
	var delivered sync.WaitGroup
	delivered.Go(func() {
		broken := false
		for p := range packets {
			if broken {
				continue
			}
			time.Sleep(time.Until(p.due))
			n, err := to.Write(p.data)
			count.Add(int64(n))
			if broken = err != nil; broken {
				from.Close()
			}
			select {
			case free <- p.data:
			default:
			}
		}
		if tcp, ok := to.(*net.TCPConn); ok && !broken {
			tcp.CloseWrite()
		}
	})
	for {
		var data []byte
		select {
		case data = <-free:
			data = data[:chunk]
		default:
			data = make([]byte, chunk)
		}
		n, err := from.Read(data)
		if n > 0 {
			if turn != nil {
				turn(n)
			}
			packets <- packet{data[:n], time.Now().Add(l.rtt / 2)}
		}
		if err != nil {
			break
		}
	}
	close(packets)
	delivered.Wait()
}
