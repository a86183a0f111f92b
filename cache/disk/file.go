package disk

import (
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openDir is the directory that the last file was written in. It is kept open, since the next one will most likely be in it,
// and finding the way to it takes as long as making the file. Its zero value is none.
type openDir struct {
	of Key // but for the UID
	fd int // 0 if none is open
}

func (o *openDir) close() {
	if o.fd != 0 {
		syscall.Close(o.fd)
		o.fd = 0
	}
}

// to opens the directory of a file, which need not be there.
func (o *openDir) to(k Key) error {
	k.ref.UID = 0
	if o.fd != 0 && o.of == k {
		return nil
	}
	o.close()
	dir := k.dir()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	o.of, o.fd = k, fd
	return nil
}

// keep writes a body unless that leaves too little room to others. If the directory that is open was removed, it makes a new
// one.
func (o *openDir) keep(k Key, body []byte) error {
	if err := k.store.leaveSpare(int64(len(body))); err != nil {
		return err
	}
	err := o.write(k, body)
	if errors.Is(err, fs.ErrNotExist) {
		o.close()
		err = o.write(k, body)
	}
	return err
}

// write writes a file under another name, with its trailer, then renames it.
func (o *openDir) write(k Key, body []byte) error {
	if err := o.to(k); err != nil {
		return err
	}
	temp := k.file() + tempEnd
	// By hand: os would register each file with the poller.
	fd, err := unix.Openat(o.fd, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "open", Path: k.tempName(), Err: err}
	}
	var sum uint32
	for off := 0; err == nil; {
		// In parts, of which each is still in the processor's cache when it is written; the last with the trailer.
		part := body[off:min(off+writeBytes, len(body))]
		sum = crc32.Update(sum, castagnoli, part)
		if off += len(part); off < len(body) {
			err = writeAll(fd, part)
			continue
		}
		err = writeAll(fd, part, k.trailer(int64(len(body)), sum))
		break
	}
	err = errors.Join(err, unix.Close(fd))
	if err == nil {
		err = unix.Renameat(o.fd, temp, o.fd, k.file())
	}
	if err != nil {
		unix.Unlinkat(o.fd, temp, 0)
		return &fs.PathError{Op: "write", Path: k.path(), Err: err}
	}
	return nil
}

// writeBytes is how many bytes are written at a time.
const writeBytes = 128 << 10

// writeAll writes parts of a file.
func writeAll(fd int, parts ...[]byte) error {
	for len(parts) > 0 {
		n, err := unix.Writev(fd, parts)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		for n = max(n, 0); len(parts) > 0 && n >= len(parts[0]); parts = parts[1:] {
			n -= len(parts[0])
		}
		if len(parts) > 0 {
			parts[0] = parts[0][n:]
		}
	}
	return nil
}

// tempName is the path of the file while it is being written.
func (k Key) tempName() string { return k.path() + tempEnd }

// replace has a file written under its temporary name, then renames it.
func (k Key) replace(write func(tempName string) error) error {
	err := write(k.tempName())
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(k.dir(), 0o700); err == nil {
			err = write(k.tempName())
		}
	}
	if err == nil {
		err = os.Rename(k.tempName(), k.path())
	}
	if err != nil {
		os.Remove(k.tempName())
	}
	return err
}
