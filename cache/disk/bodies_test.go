package disk

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

func openBodies(t *testing.T, dir string, budget int64) (*Bodies, func(i int) Key) {
	t.Helper()
	s := &Store{bodies: dir, scanned: make(chan struct{})}
	b := NewBodies(budget, slog.New(slog.DiscardHandler))
	t.Cleanup(b.Close)
	b.Scan(s)
	return b, func(i int) Key {
		return s.Key(HashOf("INBOX"), table.Ref{UIDValidity: 7, UID: remote.UID(i)})
	}
}

func body(i, n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%08d", i), n/8) }

// onDisk counts the files and bytes below a directory.
func onDisk(t *testing.T, dir string) (files int, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			info, err := e.Info()
			if err != nil {
				return nil
			}
			files, size = files+1, size+info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, size
}

func TestBodiesAreThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	d, key := openBodies(t, dir, 1<<20)
	for i := range 10 {
		d.Write(key(i), body(i, 8*i))
	}
	d, key = openBodies(t, dir, 1<<20)
	for i := range 10 {
		if b, ok := d.Read(key(i)); !ok || !bytes.Equal(b, body(i, 8*i)) {
			t.Errorf("%d: %q, %v", i, b, ok)
		}
	}
	if _, ok := d.Read(key(11)); ok {
		t.Error("a body that was never written was read")
	}
}

func TestBodiesStayWithinTheBudget(t *testing.T) {
	dir := t.TempDir()
	const budget, size = 100_000, 8000
	d, key := openBodies(t, dir, budget)
	var readers sync.WaitGroup
	for r := range 8 {
		readers.Go(func() {
			for i := range 50 {
				d.Write(key(r*1000+i), body(i, size))
				if _, used := d.Usage(); used > budget {
					t.Errorf("%d bytes in use", used)
				}
			}
		})
	}
	readers.Wait()
	files, used := onDisk(t, dir)
	if messages, counted := d.Usage(); counted != used || files != messages || used > budget || used < budget-2*size {
		t.Errorf("%d files of %d bytes, counted %d of %d", files, used, messages, counted)
	}
	if d, _ = openBodies(t, dir, budget/2); true {
		if _, used := onDisk(t, dir); used > budget/2 {
			t.Errorf("a smaller budget left %d bytes", used)
		}
		if _, counted := d.Usage(); counted > budget/2 {
			t.Errorf("counted %d", counted)
		}
	}
}

func TestBodiesThatWereNotReadForLongestGoFirst(t *testing.T) {
	d, key := openBodies(t, t.TempDir(), 3*(800+trailerLength))
	for i := range 3 {
		d.Write(key(i), body(i, 800))
	}
	d.Read(key(0))
	d.Write(key(3), body(3, 800))
	for i, want := range []bool{true, false, true, true} {
		if _, ok := d.Read(key(i)); ok != want {
			t.Errorf("%d is there: %v", i, ok)
		}
	}
}

// sealed is what the file of a body holds.
func (k Key) sealed(body []byte) []byte {
	return append(body[:len(body):len(body)], k.trailer(int64(len(body)), crc32.Checksum(body, castagnoli))...)
}

func TestDamagedBodyIsRemovedAndNotServed(t *testing.T) {
	dir := t.TempDir()
	d, key := openBodies(t, dir, 1<<20)
	whole := key(1).sealed(body(1, 800))
	for what, damaged := range map[string][]byte{
		"empty": {}, "cut": whole[:500], "cut in the trailer": whole[:len(whole)-1],
		"longer": append(bytes.Clone(whole), 0), "without a trailer": body(1, 800),
		"another message": key(2).sealed(body(1, 800)),
	} {
		damage(t, d, key(1), what, damaged)
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		damage(t, d, key(1), fmt.Sprintf("byte %d", i), flipped)
	}
}

func damage(t *testing.T, d *Bodies, k Key, what string, content []byte) {
	t.Helper()
	d.Write(k, body(1, 800))
	if err := os.WriteFile(k.path(), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, ok := d.Read(k); ok {
		t.Errorf("%s: %d bytes were served", what, len(b))
	}
	if _, err := os.Lstat(k.path()); err == nil {
		t.Errorf("%s: the damaged file is still there", what)
	}
	d.Write(k, body(1, 800))
	if b, ok := d.Read(k); !ok || !bytes.Equal(b, body(1, 800)) {
		t.Errorf("%s: not replaced", what)
	}
}

func TestScanRemovesWhatARunLeftHalfWritten(t *testing.T) {
	dir := t.TempDir()
	d, key := openBodies(t, dir, 1<<20)
	d.Write(key(1), body(1, 80))
	left := filepath.Join(dir, "new-0-0-0")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _ = openBodies(t, dir, 1<<20)
	if files, _ := onDisk(t, dir); files != 1 {
		t.Errorf("%d files", files)
	}
	if n, _ := d.Usage(); n != 1 {
		t.Errorf("%d bodies", n)
	}
}

// What is written while a store is scanned is counted once and newer than what was there; what is forgotten meanwhile does not
// come back; and the scan leaves alone what is being written.
func TestScanGoesOnBesideWritersAndReaders(t *testing.T) {
	dir := t.TempDir()
	d, key := openBodies(t, dir, 1<<20)
	for i := range 4 {
		d.Write(key(i), body(i, 800))
	}
	left := key(8).tempName()
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}

	s := &Store{bodies: dir, scanned: make(chan struct{})}
	key = func(i int) Key { return s.Key(HashOf("INBOX"), table.Ref{UIDValidity: 7, UID: remote.UID(i)}) }
	d = NewBodies(4*(800+trailerLength), slog.New(slog.DiscardHandler))
	defer d.Close()
	d.scans, d.gone = 1, map[Key]bool{} // the scan goes on, and finds what follows
	all := d.find(s)
	if _, err := os.Lstat(left); err == nil {
		t.Error("what an earlier run was writing is still there")
	}
	d.Write(key(3), body(3, 800)) // is there already
	d.Write(key(4), body(4, 800))
	d.Remove(key(2))
	d.mu.Lock()
	d.lru.Add(key(5), 0) // is being written
	d.mu.Unlock()
	if err := os.WriteFile(key(5).tempName(), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.find(s)
	if _, err := os.Lstat(key(5).tempName()); err != nil {
		t.Error("the scan has removed what is being written")
	}
	d.mu.Lock()
	d.lru.Remove(key(5))
	d.admitLocked(s, all)
	d.unlockAndSweep()
	close(s.scanned)
	if n, used := d.Usage(); n != 4 || used != 4*(800+trailerLength) {
		t.Errorf("%d bodies of %d bytes", n, used)
	}
	d.Write(key(6), body(6, 800)) // in place of the one that was not read for longest
	for i, want := range []bool{false, true, false, true, true, false, true} {
		if _, ok := d.Read(key(i)); ok != want {
			t.Errorf("%d is there: %v", i, ok)
		}
	}
}

func TestForgetRemovesBodiesOfOtherUIDValidities(t *testing.T) {
	dir := t.TempDir()
	d, key := openBodies(t, dir, 1<<20)
	other := key(1)
	other.ref.UIDValidity = 8
	elsewhere := key(1)
	elsewhere.mailbox = HashOf("Archive")
	for _, k := range []Key{key(1), key(2), other, elsewhere} {
		d.Write(k, body(1, 80))
	}
	d.Forget(key(1).store, key(1).mailbox, 8)
	for k, want := range map[Key]bool{key(1): false, key(2): false, other: true, elsewhere: true} {
		if _, ok := d.Read(k); ok != want {
			t.Errorf("%s: %v", k.path(), ok)
		}
	}
	if files, _ := onDisk(t, dir); files != 2 {
		t.Errorf("%d files", files)
	}
}

func BenchmarkBodies(b *testing.B) {
	s := &Store{bodies: b.TempDir(), scanned: make(chan struct{})}
	d := NewBodies(1<<30, slog.New(slog.DiscardHandler))
	b.Cleanup(d.Close)
	d.Scan(s)
	content := body(1, 8000)
	i := 0
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			i++
			d.Write(s.Key(HashOf("INBOX"), table.Ref{UIDValidity: 1, UID: remote.UID(i)}), content)
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			d.Read(s.Key(HashOf("INBOX"), table.Ref{UIDValidity: 1, UID: remote.UID(1)}))
		}
	})
}
