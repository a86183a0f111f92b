package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Ask prints a question on the terminal and returns the line that the user types. The terminal shows what is typed, unless
// secret is set. The error is ErrNoTerminal where there is no terminal.
func Ask(ctx context.Context, question string, secret bool) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", ErrNoTerminal
	}
	defer tty.Close()
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", ErrNoTerminal
	}
	fmt.Fprint(tty, question)
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // reading a terminal can't be interrupted: after ctx has ended this goroutine lasts as long as the process, which ends soon
		var a answer
		if secret {
			var b []byte
			b, a.err = term.ReadPassword(fd)
			a.text = string(b)
			fmt.Fprintln(tty)
		} else {
			a.text, a.err = readLine(tty)
		}
		answered <- a
	}()
	select {
	case a := <-answered:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("asking on the terminal: %w", a.err)
		}
		return a.text, nil
	case <-ctx.Done():
		term.Restore(fd, before) // or the terminal would not show what is typed in the shell
		fmt.Fprintln(tty)
		return "", ctx.Err()
	}
}

// ErrNoTerminal: this process has no terminal to ask on.
var ErrNoTerminal = errors.New("there is no terminal")

// readLine reads one line, byte by byte: the next line must stay unread.
func readLine(r io.Reader) (string, error) {
	var text []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 1 && b[0] == '\n' {
			return strings.TrimSuffix(string(text), "\r"), nil
		}
		text = append(text, b[:n]...)
		if err != nil {
			return string(text), err
		}
	}
}
