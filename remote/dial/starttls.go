package dial

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// Upgrade asks a server for TLS as a protocol has it: it reads the server's greeting, sends the command and reads the answer.
// It returns the line that signing in reads as the greeting, since the protocol sends none after the upgrade.
type Upgrade func(*ClearText) (greeting string, err error)

// ClearText is a connection on which TLS has not begun. Anybody on the way can have changed what the server sends; nothing of
// it is used after the upgrade.
type ClearText struct {
	conn   net.Conn
	r      *bufio.Reader
	server *Server
	asked  bool // Send was called
}

// maxClearLine bounds, in bytes, a line that the server sends before TLS.
const maxClearLine = 4096

// Line reads a line and returns it without CRLF.
func (c *ClearText) Line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line of more than %d bytes before TLS", remote.ErrServer, maxClearLine)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(string(b), "\r\n"), err
}

// Send sends a command and CRLF.
func (c *ClearText) Send(command string) error {
	if !c.asked {
		c.asked = true
		c.server.Step(Step{Name: StepStartTLS})
	}
	_, err := io.WriteString(c.conn, command+"\r\n")
	return err
}

// upgrade calls startTLS on a connection and returns the greeting that stands in for the server's. The handshake is still to
// come.
func (s *Server) upgrade(conn net.Conn, startTLS Upgrade) (greeting []byte, err error) {
	conn = s.traceGreeting(conn)
	c := &ClearText{conn: conn, r: bufio.NewReaderSize(conn, maxClearLine), server: s}
	said, err := startTLS(c)
	if err != nil {
		return nil, err
	}
	if c.r.Buffered() > 0 { // sent ahead by somebody on the way, so that it is read as if it had come over TLS
		return nil, fmt.Errorf("%w: more than the answer came before TLS began", remote.ErrCertificate)
	}
	s.Step(Step{Name: StepStartTLS, Done: true})
	return []byte(said + "\r\n"), nil
}
