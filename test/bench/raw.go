//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/test/harness"
)

// The clients below are as fast as one can be that has one connection and does not compress: they ask for everything at
// once, look only for the end of the answers, and store nothing.

// rawBodies reads a mailbox with one FETCH.
func rawBodies(ctx context.Context, port int, mailbox string) (sample, error) {
	return rawFetch(ctx, port, mailbox, "(UID BODY.PEEK[])")
}

// rawListing reads with one FETCH the items from which mailfs makes a listing.
func rawListing(ctx context.Context, port int, mailbox string) (sample, error) {
	return rawFetch(ctx, port, mailbox, "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS ("+
		strings.Join(remote.HeaderFields, " ")+")])")
}

func rawFetch(ctx context.Context, port int, mailbox, items string) (s sample, err error) {
	start := time.Now()
	conn, err := dialRaw(ctx, port)
	if err != nil {
		return s, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf := make([]byte, 256<<10)
	if _, err := conn.Read(buf); err != nil {
		return s, fmt.Errorf("reading the greeting: %w", err)
	}
	for _, command := range []string{
		"LOGIN " + account + " " + harness.Password, "EXAMINE " + mailbox, "UID FETCH 1:* " + items,
	} {
		if _, err := io.WriteString(conn, "raw-bench "+command+"\r\n"); err != nil {
			return s, err
		}
		if s.down, err = untilTagged(conn, buf, "raw-bench "); err != nil {
			return s, fmt.Errorf("%.12s: %w", command, err)
		}
	}
	s.value = time.Since(start).Seconds()
	return s, nil
}

// untilTagged reads up to the line that starts with the tag, and returns how many bytes came.
func untilTagged(conn net.Conn, buf []byte, tag string) (n int64, err error) {
	kept := 0 // bytes at the start of buf in which the last line may begin
	for {
		got, err := conn.Read(buf[kept:])
		if err != nil {
			return n, err
		}
		n += int64(got)
		data := buf[:kept+got]
		if bytes.HasSuffix(data, []byte("\r\n")) {
			tail := data[max(0, len(data)-2000):]
			last := tail[bytes.LastIndex(tail[:len(tail)-2], []byte("\r\n"))+1:]
			if last = bytes.TrimLeft(last, "\n"); bytes.HasPrefix(last, []byte(tag)) {
				if !bytes.HasPrefix(last, []byte(tag+"OK")) {
					return n, fmt.Errorf("the server says %q", last)
				}
				return n, nil
			}
		}
		kept = copy(buf, data[max(0, len(data)-2000):])
	}
}

// rawRetrieve reads a whole maildrop, all RETR sent at once.
func rawRetrieve(ctx context.Context, port int) (s sample, err error) {
	start := time.Now()
	conn, err := dialRaw(ctx, port)
	if err != nil {
		return s, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReaderSize(conn, 4096)
	var answer string
	for _, command := range []string{"", "USER " + account, "PASS " + harness.Password, "STAT"} {
		if command != "" {
			if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
				return s, err
			}
		}
		if answer, err = r.ReadString('\n'); err != nil {
			return s, err
		}
		if !strings.HasPrefix(answer, "+OK") {
			return s, fmt.Errorf("%.4s: the server says %q", command, answer)
		}
	}
	fields := strings.Fields(answer)
	if len(fields) < 2 {
		return s, fmt.Errorf("STAT: the server says %q", answer)
	}
	messages, err := strconv.Atoi(fields[1])
	if err != nil {
		return s, fmt.Errorf("STAT: the server says %q", answer)
	}
	sent := make(chan error, 1)
	go func() {
		var b bytes.Buffer
		for i := range messages {
			fmt.Fprintf(&b, "RETR %d\r\n", i+1)
		}
		_, err := conn.Write(b.Bytes())
		sent <- err
	}()
	end := []byte("\r\n.\r\n")
	buf := make([]byte, 256<<10)
	for ends, kept := 0, 0; ends < messages; {
		got, err := conn.Read(buf[kept:])
		if err != nil {
			return s, fmt.Errorf("after %d of %d messages: %w", ends, messages, err)
		}
		s.down += int64(got)
		data := buf[:kept+got]
		ends += bytes.Count(data, end)
		if i := bytes.LastIndex(data, end); i >= 0 {
			data = data[i+3:] // "\r\n", which may start the next end
		}
		kept = copy(buf, data[max(0, len(data)-len(end)+1):])
	}
	if err := <-sent; err != nil {
		return s, err
	}
	s.value = time.Since(start).Seconds()
	return s, nil
}

func dialRaw(ctx context.Context, port int) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
}
