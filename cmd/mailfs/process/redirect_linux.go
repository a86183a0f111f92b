package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// redirect makes the descriptor fd refer to a file.
func redirect(file *os.File, fd int) error { return unix.Dup3(int(file.Fd()), fd, 0) }
