package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// When a program reads many small mailboxes one after the other, mailfs lists them ahead, and fetches each with one command.
func TestMailboxesReadOneAfterTheOtherAreListedAhead(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "journey")
	var boxes []string
	for i := range 6 {
		area := fmt.Sprintf("Area %d", i)
		boxes = append(boxes, area)
		for k := range 5 {
			boxes = append(boxes, fmt.Sprintf("%s/Project %d", area, k))
		}
	}
	c.Make(boxes...)
	for i, box := range boxes {
		c.Put(box, harness.Letters(uint64(500+i), 6)...)
	}
	held := c.All()
	for _, way := range []struct{ name, command string }{
		{"cp -r, by inode numbers", `cp -r "$1" there`},
		{"grep -r, by names", `grep -r nothing-of-the-kind "$1" || true; cp -r "$1" there`},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
			m := run.Mount(t, "--tls=off", inTheClear("journey", proxy.Port))
			dir := run.TempDir(t)
			harness.Shell(t, dir, way.command, m.Path)
			for box, mails := range held {
				for _, mail := range mails {
					found, _ := filepath.Glob(filepath.Join(dir, "there", box, fmt.Sprintf("*_%d.eml", mail.UID)))
					if len(found) != 1 {
						t.Errorf("%s: UID %d was copied to %q", box, mail.UID, found)
						continue
					}
					if b, err := os.ReadFile(found[0]); err != nil || !bytes.Equal(b, mail.Body) {
						t.Errorf("%s: %d bytes (%v) that differ from the server's %d", found[0], len(b), err, len(mail.Body))
					}
				}
			}
			if n := len(proxy.Commands(`^\S+ STATUS`)); n < len(boxes)/2 {
				t.Errorf("it asked for the state of %d mailboxes of %d before they were listed", n, len(boxes))
			}
			if n := len(proxy.Commands(`UID FETCH \S+ \(UID BODY\.PEEK\[\]\)`)); n > 2*len(boxes) {
				t.Errorf("%d commands fetched the messages of %d mailboxes", n, len(boxes))
			}
		})
	}
}
