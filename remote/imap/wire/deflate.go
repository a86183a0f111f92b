package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"

	"github.com/mailfs/mailfs/remote"
)

// ownTag is the tag of the command that go-imap knows nothing of; go-imap's own tags begin with a T.
const ownTag = "M1"

// Compress sends COMPRESS DEFLATE (RFC 4978) and waits for the answer. No command is under way meanwhile, and none begins.
// A server that refuses is ErrServer, and the connection goes on without compression; any other error is its end.
func (c *Conn) Compress() error {
	answer := make(chan error, 1)
	c.mu.Lock()
	c.compressing = answer
	c.mu.Unlock()
	if _, err := c.Write([]byte(ownTag + " COMPRESS DEFLATE\r\n")); err != nil {
		return err
	}
	select {
	case err := <-answer:
		if err != nil {
			return err
		}
	case <-c.readerEnded():
		return io.ErrUnexpectedEOF
	}
	compressor, err := flate.NewWriter(c.Conn, flate.BestSpeed)
	if err != nil {
		return err
	}
	c.out = flusher{compressor}
	return nil
}

// compressAnswered takes the answer to COMPRESS. What the server sends after an OK is compressed.
func (c *Conn) compressAnswered(line []byte) error {
	c.mu.Lock()
	answer := c.compressing
	c.compressing = nil
	c.mu.Unlock()
	if answer == nil {
		return c.end(fmt.Errorf("%w: an answer to a command that was not sent", ErrUnparsable))
	}
	_, status, _ := bytes.Cut(line, []byte(" "))
	word, text, _ := bytes.Cut(bytes.TrimSpace(status), []byte(" "))
	if !bytes.EqualFold(word, []byte("OK")) {
		answer <- fmt.Errorf("%w: the server refuses COMPRESS: %q", remote.ErrServer, remote.Shorten(string(bytes.TrimSpace(text))))
		return nil
	}
	ahead := bytes.Clone(c.buf[c.r:c.w])
	c.r, c.w = 0, 0
	c.in = flate.NewReader(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), compressedReader{c}), bufferSize))
	answer <- nil
	return nil
}

// compressedReader reads what the server sends, compressed as it is, and counts it.
type compressedReader struct{ *Conn }

func (r compressedReader) Read(p []byte) (int, error) {
	n, err := r.Conn.Conn.Read(p)
	r.compressedBytes.Add(int64(n))
	return n, err
}

// CompressedBytes returns how many bytes have come compressed, counted as they were; 0 on a connection without compression.
func (c *Conn) CompressedBytes() int64 { return c.compressedBytes.Load() }

// flusher sends whatever is written at once, not when a block is full.
type flusher struct{ *flate.Writer }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}
