package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/mailfs/mailfs/remote"
)

// disk keeps bodies as files, least recently used first out, within a budget that all accounts share.
//
// Each message is one file that is written aside and renamed, and never changed:
//
//	ACCOUNT/bodies/MAILBOX-HASH/UIDVALIDITY/UID
//
// It ends in a trailer that says which message it is, how long, and its checksum. A file that does not agree with its
// trailer is not served but removed. Nothing else has to be written for a body to be found again.
type disk struct {
	budget int64
	log    *slog.Logger
	warn   sync.Once // that bodies can't be written

	queue   chan job
	queued  *semaphore.Weighted // bytes in queue
	writer  sync.WaitGroup
	closing sync.Once

	making sync.Mutex // held while room is made: nobody gets it before the files that had it are gone

	mu      sync.Mutex // guards what follows
	used    int64
	lru     *simplelru.LRU[diskKey, int64] // file -> its size
	dropped []diskKey                      // files that left lru and are to be removed
	leaving map[diskKey]int                // files that are being removed, and how often
	pending map[diskKey]chan struct{}      // in queue; closed when they are on disk
	paused  time.Time                      // until then nothing is written: the disk is full
}

// diskKey names a file: the account's directory and what is below it.
type diskKey struct {
	account *accountDir
	mailbox [8]byte
	ref     Ref
}

// accountDir is the directory of one account's bodies.
type accountDir struct {
	path    string
	pinned  bool          // its bodies are the only ones there are: they stay, and do not count
	scanned chan struct{} // closed when the files of earlier runs are in lru

	mu    sync.Mutex // guards what follows
	asked time.Time  // when the system was asked for the room on the disk
	room  int64      // bytes that may be written until it is asked again
}

func (k diskKey) dir() string {
	return k.account.path + "/" + hex.EncodeToString(k.mailbox[:]) + "/" + strconv.FormatUint(uint64(k.ref.UIDValidity), 10)
}

func (k diskKey) path() string { return k.dir() + "/" + k.file() }

// file is the file's name in its directory.
func (k diskKey) file() string { return strconv.FormatUint(uint64(k.ref.UID), 10) }

// mailboxHash stands for a mailbox's name in paths.
func mailboxHash(name string) (h [8]byte) {
	sum := sha256.Sum256([]byte(name))
	copy(h[:], sum[:])
	return h
}

func newDisk(budget int64, log *slog.Logger) *disk {
	d := &disk{budget: budget, log: log, pending: map[diskKey]chan struct{}{}, leaving: map[diskKey]int{}}
	d.queue, d.queued = make(chan job, queueFiles), semaphore.NewWeighted(queueBytes)
	d.writer.Go(func() {
		var in openDir
		defer in.close()
		for j := range d.queue {
			d.writeIn(&in, j.key, j.body)
			d.mu.Lock()
			close(d.pending[j.key])
			delete(d.pending, j.key)
			d.mu.Unlock()
			d.queued.Release(j.weight())
			if j.then != nil {
				j.then()
			}
		}
	})
	d.lru, _ = simplelru.NewLRU(math.MaxInt, func(k diskKey, size int64) {
		d.used -= size
		d.drop(k)
	})
	return d
}

// The trailer: magic, mailbox hash, UIDVALIDITY, UID, length of the body, CRC-32C of the body, CRC-32C of the trailer.
const (
	trailerMagic  = "mailfs\x00\x01"
	trailerLength = 8 + 8 + 4 + 8 + 8 + 4 + 4
)

func (k diskKey) trailer(length int64, sum uint32) []byte {
	t := append(make([]byte, 0, trailerLength), trailerMagic...)
	t = append(t, k.mailbox[:]...)
	t = binary.BigEndian.AppendUint32(t, k.ref.UIDValidity)
	t = binary.BigEndian.AppendUint64(t, uint64(k.ref.UID))
	t = binary.BigEndian.AppendUint64(t, uint64(length))
	t = binary.BigEndian.AppendUint32(t, sum)
	return binary.BigEndian.AppendUint32(t, crc32.Checksum(t, castagnoli))
}

// read returns a body, if the disk has it whole.
func (d *disk) read(k diskKey) ([]byte, bool) {
	b, err := os.ReadFile(k.path())
	if err != nil {
		return nil, false
	}
	n := len(b) - trailerLength
	if n < 0 || string(k.trailer(int64(n), crc32.Checksum(b[:n], castagnoli))) != string(b[n:]) {
		d.log.Warn("a damaged file in the store is removed", "file", k.path())
		d.remove(k)
		return nil, false
	}
	now := time.Now()
	os.Chtimes(k.path(), now, now) // the order of use outlives the process
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lru.Get(k)
	return b[:n:n], true
}

// has tells whether a body seems to be there.
func (d *disk) has(k diskKey) bool {
	d.mu.Lock()
	if d.lru.Contains(k) {
		d.mu.Unlock()
		return true
	}
	d.mu.Unlock()
	if !k.account.pinned {
		select {
		case <-k.account.scanned: // lru knows them all
			return false
		default:
		}
	}
	_, err := os.Lstat(k.path())
	return err == nil
}

// remove forgets a body.
func (d *disk) remove(k diskKey) {
	d.mu.Lock()
	defer d.sweep()
	if !d.lru.Remove(k) {
		d.drop(k)
	}
}

// drop has the next sweep remove a file. d.mu is held.
func (d *disk) drop(k diskKey) {
	d.dropped = append(d.dropped, k)
	d.leaving[k]++
}

// sweep unlocks d.mu, then removes the files that were dropped while it was locked. None of them is written again
// meanwhile.
func (d *disk) sweep() {
	dropped := d.dropped
	d.dropped = nil
	d.mu.Unlock()
	if len(dropped) == 0 {
		return
	}
	for _, k := range dropped {
		os.Remove(k.path())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range dropped {
		if d.leaving[k]--; d.leaving[k] == 0 {
			delete(d.leaving, k)
		}
	}
}

// spare is the part of the disk that is left to others, in per cent, and pause how long to wait after it was touched.
const (
	spare = 5
	pause = 10 * time.Second
)

// job is a body that is to be written.
type job struct {
	key  diskKey
	body []byte
	then func() // called when it is written, or can't be; nil is nothing. It must not wait for anything.
}

func (j job) weight() int64 { return min(int64(len(j.body)), queueBytes) }

// What may wait to be written: writing is quicker than a network, but not than a server on the same machine.
const (
	queueBytes = 8 << 20
	queueFiles = 1024
)

// put has a body written soon; it waits when too much is to be written already. A caller who tells readers of the body does
// so later, since they wait until it is written.
func (d *disk) put(ctx context.Context, k diskKey, body []byte) {
	if j := (job{key: k, body: body}); d.promise(ctx, j) {
		d.queue <- j
	}
}

// promise has readers of a body wait until it is written, which it will be when the job is queued. It returns false if it
// won't be, or is being written already.
func (d *disk) promise(ctx context.Context, j job) bool {
	if d.queued.Acquire(ctx, j.weight()) != nil {
		return false
	}
	d.mu.Lock()
	_, twice := d.pending[j.key]
	if !twice {
		d.pending[j.key] = make(chan struct{})
	}
	d.mu.Unlock()
	if twice {
		d.queued.Release(j.weight())
	}
	return !twice
}

// await waits until a body that is to be written is: what a reader was given is there after the next kill -9.
func (d *disk) await(ctx context.Context, k diskKey) {
	d.mu.Lock()
	pending := d.pending[k]
	d.mu.Unlock()
	if pending == nil {
		return
	}
	select {
	case <-pending:
	case <-ctx.Done():
	}
}

// close writes what is still to be written. Nothing is put any more.
func (d *disk) close() {
	d.closing.Do(func() { close(d.queue) })
	d.writer.Wait()
}

// write keeps a body, in place of those that were not read for the longest time. A disk that is full, or can't be written,
// is left alone.
func (d *disk) write(k diskKey, body []byte) {
	var in openDir
	defer in.close()
	d.writeIn(&in, k, body)
}

func (d *disk) writeIn(in *openDir, k diskKey, body []byte) {
	if d.reserve(k, int64(len(body))+trailerLength, true) {
		d.settled(k, in.keep(k, body))
	}
}

// reserve makes room for a file that is about to be there, and with listed has it be one of the files already. It fails
// for one that is there or is just being removed, or while the disk is full.
func (d *disk) reserve(k diskKey, size int64, listed bool) bool {
	if k.account.pinned {
		_, err := os.Lstat(k.path())
		return err != nil
	}
	<-k.account.scanned
	d.making.Lock()
	defer d.making.Unlock()
	d.mu.Lock()
	defer d.sweep()
	if size > d.budget || d.lru.Contains(k) || d.leaving[k] > 0 || time.Now().Before(d.paused) {
		return false
	}
	for d.used+size > d.budget && d.lru.Len() > 0 {
		d.lru.RemoveOldest()
	}
	if d.used+size > d.budget { // the rest is reserved for others
		return false
	}
	d.used += size
	if listed {
		d.lru.Add(k, size)
	}
	return true
}

// unreserve gives back the room of a file that did not come to be one of the files.
func (d *disk) unreserve(k diskKey, size int64) {
	if !k.account.pinned {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.used -= size
	}
}

// admit has a file for which room was reserved be one of the files.
func (d *disk) admit(k diskKey, size int64) {
	if k.account.pinned {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used += size // the reservation is given back
	if d.lru.Contains(k) {
		d.used -= size
		return
	}
	d.lru.Add(k, size)
}

// settled notes how the making of a file for which room was reserved has ended.
func (d *disk) settled(k diskKey, err error) {
	d.failed(err)
	if k.account.pinned {
		return
	}
	d.mu.Lock()
	defer d.sweep()
	if err != nil {
		d.lru.Remove(k)
		d.paused = time.Now().Add(pause)
	} else if !d.lru.Contains(k) { // it had to go before it was there
		d.drop(k)
	}
}

var errSpare = errors.New("the disk is nearly full")

// leaveSpare fails if n more bytes would take what is to be left to others. It asks the system once in a while only.
func (a *accountDir) leaveSpare(n int64) error {
	const block = 4096 // what most filesystems give to a file at least
	n = (n/block + 1) * block
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.room -= n; a.room > 0 && time.Since(a.asked) < time.Second {
		return nil
	}
	room, err := spareRoom(a.path)
	if err != nil {
		return err
	}
	a.asked, a.room = time.Now(), (room-n)/2
	if room < n {
		return fmt.Errorf("%w: %d bytes may be written, and %d are to be", errSpare, max(room, 0), n)
	}
	return nil
}

// spareRoom returns how many bytes can be written to the disk that a file is on before what is left to others is touched.
func spareRoom(path string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("asking for the room on the disk: %w", err)
	}
	return (int64(s.Bavail) - int64(s.Blocks)/100*spare) * int64(s.Bsize), nil
}

// failed says once that bodies can't be written.
func (d *disk) failed(err error) {
	if err != nil {
		d.warn.Do(func() { d.log.Warn("a message could not be kept on disk; reading goes on without", "error", err) })
	}
}

// openDir is the directory in which somebody wrote the last file. It is kept open, since the next one will most likely be
// in it, and finding the way to it takes as long as making the file. Its zero value is none.
type openDir struct {
	of diskKey // but for the UID
	fd int     // 0 if none is open
}

func (o *openDir) close() {
	if o.fd != 0 {
		syscall.Close(o.fd)
		o.fd = 0
	}
}

// to opens the directory of a file, which need not be there.
func (o *openDir) to(k diskKey) error {
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

// keep stores a body unless that leaves too little to others, in a new directory if the one that is open was removed.
func (o *openDir) keep(k diskKey, body []byte) error {
	if err := k.account.leaveSpare(int64(len(body))); err != nil {
		return err
	}
	err := o.store(k, body)
	if errors.Is(err, fs.ErrNotExist) {
		o.close()
		err = o.store(k, body)
	}
	return err
}

// store writes a file aside, with its trailer, then moves it to where it belongs.
func (o *openDir) store(k diskKey, body []byte) error {
	if err := o.to(k); err != nil {
		return err
	}
	aside := k.file() + asideSuffix
	// By hand: os would register each file with the poller.
	fd, err := unix.Openat(o.fd, aside, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "open", Path: k.aside(), Err: err}
	}
	var sum uint32
	for off := 0; err == nil; {
		// In parts, of which each is still in the processor's cache when it is written; the last with the trailer.
		part := body[off:min(off+writeBytes, len(body))]
		sum = crc32.Update(sum, castagnoli, part)
		if off += len(part); off < len(body) {
			err = write(fd, part)
			continue
		}
		err = write(fd, part, k.trailer(int64(len(body)), sum))
		break
	}
	err = errors.Join(err, unix.Close(fd))
	if err == nil {
		err = unix.Renameat(o.fd, aside, o.fd, k.file())
	}
	if err != nil {
		unix.Unlinkat(o.fd, aside, 0)
		return &fs.PathError{Op: "write", Path: k.path(), Err: err}
	}
	return nil
}

// writeBytes is how much is written at a time.
const writeBytes = 128 << 10

// write writes parts of a file.
func write(fd int, parts ...[]byte) error {
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

// asideSuffix ends the name of a file that is being written.
const asideSuffix = ".new"

// aside is where the file is written.
func (k diskKey) aside() string { return k.path() + asideSuffix }

// replace has a file written aside, then moves it to where it belongs.
func (k diskKey) replace(write func(aside string) error) error {
	err := write(k.aside())
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(k.dir(), 0o700); err == nil {
			err = write(k.aside())
		}
	}
	if err == nil {
		err = os.Rename(k.aside(), k.path())
	}
	if err != nil {
		os.Remove(k.aside())
	}
	return err
}

// forget removes the bodies of a mailbox but for those of one UIDVALIDITY; of all, if that is 0.
func (d *disk) forget(account *accountDir, mailbox string, but uint32) {
	hash := mailboxHash(mailbox)
	d.mu.Lock()
	for _, k := range d.lru.Keys() {
		if k.account == account && k.mailbox == hash && k.ref.UIDValidity != but {
			d.lru.Remove(k)
		}
	}
	d.sweep()
	top := filepath.Join(account.path, hex.EncodeToString(hash[:]))
	dirs, _ := os.ReadDir(top)
	for _, dir := range dirs {
		if dir.Name() != strconv.FormatUint(uint64(but), 10) {
			os.RemoveAll(filepath.Join(top, dir.Name()))
		}
	}
}

// forgetFrom removes the bodies of a mailbox from a UID on.
func (d *disk) forgetFrom(account *accountDir, mailbox string, from Ref) {
	<-account.scanned // then all are known
	hash := mailboxHash(mailbox)
	d.mu.Lock()
	defer d.sweep()
	for _, k := range d.lru.Keys() {
		if k.account == account && k.mailbox == hash && k.ref.UIDValidity == from.UIDValidity && k.ref.UID >= from.UID {
			d.lru.Remove(k)
		}
	}
}

// scan finds the files of earlier runs, and removes what such a run was writing when it ended.
func (d *disk) scan(account *accountDir) {
	defer close(account.scanned)
	type found struct {
		diskKey
		size int64
		used time.Time
	}
	var all []found
	filepath.WalkDir(account.path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		k, ok := account.key(path)
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if !ok {
			os.Remove(path)
			return nil
		}
		all = append(all, found{k, info.Size(), info.ModTime()})
		return nil
	})
	if account.pinned {
		return
	}
	slices.SortFunc(all, func(a, b found) int { return a.used.Compare(b.used) })
	d.mu.Lock()
	defer d.sweep()
	for _, f := range all {
		d.used += f.size
		d.lru.Add(f.diskKey, f.size)
	}
	for d.used > d.budget && d.lru.Len() > 0 {
		d.lru.RemoveOldest()
	}
}

// key is the inverse of diskKey.path.
func (a *accountDir) key(path string) (k diskKey, ok bool) {
	rel, err := filepath.Rel(a.path, path)
	if err != nil {
		return k, false
	}
	dir, uid := filepath.Split(rel)
	mailbox, validity := filepath.Split(filepath.Clean(dir))
	hash, err1 := hex.DecodeString(filepath.Clean(mailbox))
	v, err2 := strconv.ParseUint(validity, 10, 32)
	u, err3 := strconv.ParseUint(uid, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || len(hash) != len(k.mailbox) {
		return k, false
	}
	k = diskKey{account: a, ref: Ref{UIDValidity: uint32(v), UID: remote.UID(u)}}
	copy(k.mailbox[:], hash)
	return k, k.path() == path
}

// room tells whether n more bytes fit without anything else having to go.
func (d *disk) room(n int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used+n <= d.budget
}

// usage returns how many bodies are kept and how many bytes they take.
func (d *disk) usage() (messages int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lru.Len(), d.used
}
