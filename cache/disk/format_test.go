package disk

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// The stores in testdata were written by mailfs as it was before this package was there, each for a mount of the sample mail of
// mailfs demo. imap.txt and pop3.txt are what find told of the mounts: size, date and path of each message.
//
// Where this test fails the format has changed: a version in format.go is to be raised, and what is here kept to show how the
// older one is read.
func TestAStoreOfAnEarlierVersionIsReadInFull(t *testing.T) {
	for name, want := range map[string]struct {
		o         Options
		mailboxes int
		versions  map[string]remote.Version
		bodies    map[string]int // bytes, by mailbox and UID
		views     map[string]string
		read      int // messages with the flag \Seen
	}{
		"imap": {
			o: Options{Label: "imap://demo@127.0.0.1:44213"}, mailboxes: 13,
			versions: map[string]remote.Version{
				"日本語":          {UIDValidity: 13, UIDNext: 2, Messages: 1},
				"Archive/2025": {UIDValidity: 4, UIDNext: 13, Messages: 12},
				"Notes":        {UIDValidity: 9, UIDNext: 1},
			},
			bodies: map[string]int{
				"日本語 1": 689, "Archive/2025 12": 1590, "Archive/2025\x00text 12": 300, "Archive/2025\x00headers 12": 420,
				"Archive/2025\x00part 2 12": 599, "Archive/2025\x00body 1 12": 67,
			},
			views: map[string]string{"size of text": "300", "size of headers": "420", "size of body 1": "67"}, read: 13,
		},
		"pop3": {
			o: Options{Label: "pop3://demo@127.0.0.1:39649", Pinned: true}, mailboxes: 1,
			versions: map[string]remote.Version{"INBOX": {UIDValidity: 1, Messages: 24}},
			bodies:   map[string]int{"INBOX 215443132214506": 514},
		},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("testdata/"+name)); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, want.o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Mailboxes()); n != want.mailboxes {
			t.Errorf("%s: %d mailboxes", name, n)
		}
		listed, read := map[string]bool{}, 0
		for mailbox, version := range want.versions {
			listing, v := s.Load(mailbox)
			if listing == nil || v != version {
				t.Errorf("%s: %s is of version %+v, want %+v", name, mailbox, v, version)
				continue
			}
			for i := range listing.Len() {
				e := listing.At(i)
				if slices.Contains(listing.Flags(i), `\Seen`) {
					read++
				}
				listed[fmt.Sprintf("%d\t%s\t%s/%s", e.Size, e.Time.Format("2006-01-02"), mailbox, e.Name)] = true
				if h := s.Header(mailbox, e.Ref); !bytes.Contains(h, []byte("\nSubject: ")) && !bytes.HasPrefix(h, []byte("Subject: ")) {
					t.Errorf("%s: the header of %s is %q", name, e.Name, h)
				}
			}
		}
		if paths := lines(t, "testdata/"+name+".txt"); !maps.Equal(listed, paths) {
			t.Errorf("%s: listed is %v, want %v", name, listed, paths)
		}
		if read != want.read {
			t.Errorf("%s: %d messages are flagged as read, want %d", name, read, want.read)
		}
		last := table.Ref{UIDValidity: 4, UID: 12} // what the views are of
		for view, size := range want.views {
			if got := s.View("Archive/2025", View{Ref: last, Name: view}); string(got) != size {
				t.Errorf("%s: %s is %q, want %s", name, view, got, size)
			}
		}
		checkBodies(t, name, s, want.versions, want.bodies)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		unchanged(t, "testdata/"+name, dir)
	}
}

// checkBodies reads the bodies of a store, and those only. Keys of want are a mailbox, a space and a UID.
func checkBodies(t *testing.T, name string, s *Store, versions map[string]remote.Version, want map[string]int) {
	t.Helper()
	b := NewBodies(1<<20, slog.New(slog.DiscardHandler))
	defer b.Close()
	b.Scan(s)
	got := map[string]int{}
	for id := range want {
		var uid remote.UID
		i := strings.LastIndexByte(id, ' ')
		if _, err := fmt.Sscan(id[i:], &uid); err != nil {
			t.Fatal(err)
		}
		mailbox, _, _ := strings.Cut(id[:i], "\x00")
		k := s.Key(HashOf(id[:i]), table.Ref{UIDValidity: versions[mailbox].UIDValidity, UID: uid})
		if body, ok := b.Read(k); ok {
			got[id] = len(body)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: bodies are %v, want %v", name, got, want)
	}
	if n, _ := b.Usage(); !s.pinned && n != len(want) {
		t.Errorf("%s: the scan found %d bodies, want %d", name, n, len(want))
	}
}

// unchanged compares the files of a store with what they were made of: nothing was set aside, made anew or removed.
func unchanged(t *testing.T, from, dir string) {
	t.Helper()
	files := map[string]bool{holderFile: true} // is of this process
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		files[rel] = true
		before, err1 := os.ReadFile(path)
		after, err2 := os.ReadFile(filepath.Join(dir, rel))
		if err1 != nil || err2 != nil || !bytes.Equal(before, after) {
			t.Errorf("%s has changed: %v, %v", rel, err1, err2)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := onDisk(t, dir); n != len(files) {
		t.Errorf("%d files are there, want %d", n, len(files))
	}
}

// lines returns the lines of a file.
func lines(t *testing.T, path string) map[string]bool {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		all[strings.TrimSuffix(line, "\n")] = true
	}
	return all
}
