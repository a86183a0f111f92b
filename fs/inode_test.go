package fs

import (
	"fmt"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestInodesDiffer(t *testing.T) {
	var n inodes
	seen := map[uint64]string{rootInode: "root", 0: "nothing", ^uint64(0): "reserved"}
	add := func(ino uint64, what string) {
		if other, ok := seen[ino]; ok {
			t.Fatalf("%s and %s are both %#x", what, other, ino)
		}
		seen[ino] = what
	}
	for account := range 40 {
		a := fmt.Sprint("account", account)
		for box := range 50 {
			name := fmt.Sprint("box", box)
			add(n.directory(a, []string{name}), a+"/"+name)
			for validity := range uint32(3) {
				common := n.mailbox(a, name, validity)
				for _, uid := range []remote.UID{1, 2, 1<<32 - 1, 1 << 32, 1<<48 - 1} {
					add(n.message(common, uid), fmt.Sprint(a, "/", name, "/", validity, "/", uid))
				}
			}
		}
	}
}

func TestInodesGrowWithTheUID(t *testing.T) {
	var n inodes
	for box := range 100 {
		common := n.mailbox("a", fmt.Sprint(box), 1)
		last := uint64(0)
		for _, uid := range []remote.UID{1, 2, 1000, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1 << 47, 1<<48 - 1} {
			ino := n.message(common, uid)
			if ino <= last {
				t.Fatalf("UID %d has inode %#x, the one before %#x", uid, ino, last)
			}
			last = ino
		}
	}
}

func TestInodesStayTheSame(t *testing.T) {
	var n, m inodes
	for range 2 {
		if a, b := n.directory("a", []string{"x", "y"}), m.directory("a", []string{"x", "y"}); a != b {
			t.Errorf("%#x, %#x", a, b)
		}
		if a, b := n.message(n.mailbox("a", "x", 7), 1<<40), m.message(m.mailbox("a", "x", 7), 1<<40); a != b {
			t.Errorf("%#x, %#x", a, b)
		}
	}
	if a, b := n.directory("a", []string{"x", "y"}), n.directory("a", []string{"x y"}); a == b {
		t.Errorf("different paths are %#x", a)
	}
}

func TestATakenHashGivesAnotherInode(t *testing.T) {
	var n inodes
	first := n.upper("owner", 15)
	n = inodes{owners: map[uint64]string{15<<32 | first: "somebody else"}}
	if second := n.upper("owner", 15); second == first || second != n.upper("owner", 15) {
		t.Errorf("upper = %#x, which is somebody else's, or not the same twice", second)
	}
}
