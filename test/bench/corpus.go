//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// corpus is the mail of one account in the form in which Dovecot stores it. Every corpus of the same options is the same.
//
// It is a Maildir whose lines end in CRLF and whose file names hold both sizes (S=, W=), so that Dovecot neither converts
// messages nor reads them for their size.
type corpus struct {
	home  string // directory of the user, whose Maildir is in Maildir
	mixed folder // INBOX
	tiny  folder // mailbox Tiny: many short messages
	huge  folder // mailbox Huge: one message of 50 MB
	many  folder // mailboxes below Many, of a few short messages each
	packs bool   // attachments are text, which compresses well
}

// folder is one mailbox of the corpus, or all mailboxes below a name.
type folder struct {
	name     string
	messages int
	bytes    int64
}

// corpusVersion is raised by every change to the mail that is written.
const corpusVersion = 2

// manyBoxes is how many mailboxes are below Many, inEach how many messages in each.
const (
	manyBoxes = 200
	inEach    = 6
)

// hugeBytes is the size of the one message in Huge, give or take a line.
const hugeBytes = 50 << 20

// openCorpus returns the corpus in a directory. It makes the corpus anew if the directory holds one of other options.
func openCorpus(dir string, messages, tiny int, packs bool) (*corpus, error) {
	c := &corpus{home: filepath.Join(dir, "home"), packs: packs}
	c.mixed, c.tiny, c.huge = folder{name: "INBOX"}, folder{name: "Tiny"}, folder{name: "Huge"}
	c.many = folder{name: "Many"}
	stamp := filepath.Join(dir, "complete")
	want := fmt.Sprintf("version %d, %d messages, %d tiny\n", corpusVersion, messages, tiny)
	if packs {
		want += "packs\n"
	}
	if have, err := os.ReadFile(stamp); err != nil || string(have) != want {
		if err := c.make(dir, messages, tiny); err != nil {
			return nil, fmt.Errorf("making the corpus in %s: %w", dir, err)
		}
		if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
			return nil, err
		}
	}
	for _, f := range []*folder{&c.mixed, &c.tiny, &c.huge, &c.many} {
		if err := f.count(c.dir(f)); err != nil {
			return nil, fmt.Errorf("reading the corpus in %s: %w", dir, err)
		}
	}
	return c, nil
}

// dir is the Maildir of a mailbox.
func (c *corpus) dir(f *folder) string {
	if f.name == "INBOX" {
		return filepath.Join(c.home, "Maildir")
	}
	return filepath.Join(c.home, "Maildir", f.name)
}

func (f *folder) count(maildir string) error {
	pattern := "cur/*"
	if f.name == "Many" {
		pattern = "*/cur/*"
	}
	files, err := filepath.Glob(filepath.Join(maildir, pattern))
	if err != nil {
		return err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		f.messages++
		f.bytes += info.Size()
	}
	return nil
}

func (c *corpus) make(dir string, messages, tiny int) error {
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "complete")), os.RemoveAll(c.home)); err != nil {
		return err
	}
	w := newWriter(1)
	w.packs = c.packs
	mixed := func(i int) []byte {
		// Of 20 messages 15 are short text, 4 have HTML beside the text, 1 has an attachment.
		switch kind := (i * 7) % 20; {
		case kind < 15:
			return w.text(i, 2<<10+w.rnd.IntN(8<<10))
		case kind < 19:
			return w.html(i, 16<<10+w.rnd.IntN(59<<10))
		default:
			return w.attachment(i, int(200<<10*math.Pow(15, w.rnd.Float64()))) // 0.2 to 3 MB, small ones more often
		}
	}
	type part struct {
		folder *folder
		n      int
		write  func(i int) []byte
	}
	parts := []part{
		{&c.mixed, messages, mixed},
		{&c.tiny, tiny, func(i int) []byte { return w.text(i, 100+w.rnd.IntN(200)) }},
		{&c.huge, 1, func(i int) []byte { return w.attachment(i, hugeBytes) }},
	}
	for i := range manyBoxes {
		box := &folder{name: fmt.Sprintf("Many/%03d", i)}
		parts = append(parts, part{box, inEach, func(i int) []byte { return w.text(i, 2<<10+w.rnd.IntN(8<<10)) }})
	}
	for _, part := range parts {
		maildir := c.dir(part.folder)
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(maildir, sub), 0o755); err != nil {
				return err
			}
		}
		for i := range part.n {
			m := part.write(i)
			name := fmt.Sprintf("%d.M%dP1.bench,S=%d,W=%d:2,S", 1_700_000_000+i, i, len(m), len(m))
			path := filepath.Join(maildir, "cur", name)
			if err := os.WriteFile(path, m, 0o644); err != nil {
				return err
			}
			if err := os.Chtimes(path, sent(i), sent(i)); err != nil {
				return err
			}
		}
	}
	if os.Getuid() != 0 {
		return nil
	}
	// Dovecot serves no mail as root: there the mail belongs to the user mail.
	owner, err := user.Lookup("mail")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(owner.Gid)
	if err != nil {
		return err
	}
	return filepath.WalkDir(c.home, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, gid))
	})
}

// sent is when a message was sent and delivered.
func sent(i int) time.Time {
	return time.Date(2025, 1, 5, 9, 30, 0, 0, time.UTC).Add(time.Duration(i) * time.Hour)
}

// writer writes mail. The words of a text are as frequent as those of a language, so that texts compress as such; attachments
// are random, since most attachments are compressed already.
type writer struct {
	rnd   *rand.Rand
	noise *rand.ChaCha8
	zipf  *rand.Zipf
	words []string
	packs bool // attachments are made of words, too
}

func newWriter(seed uint64) *writer {
	w := &writer{rnd: rand.New(rand.NewPCG(seed, seed)), noise: rand.NewChaCha8([32]byte{byte(seed)})}
	w.words = make([]string, 5000)
	for i := range w.words {
		var b strings.Builder
		for range 1 + w.rnd.IntN(4) {
			b.WriteByte("bcdfghjklmnprstvwz"[w.rnd.IntN(18)])
			b.WriteByte("aeiou"[w.rnd.IntN(5)])
		}
		w.words[i] = b.String()
	}
	w.zipf = rand.NewZipf(w.rnd, 1.1, 3, uint64(len(w.words)-1))
	return w
}

func (w *writer) word() string { return w.words[w.zipf.Uint64()] }

// lines writes text of about n bytes, with an end to its last line.
func (w *writer) lines(b *bytes.Buffer, n int, before, after string) {
	for end := b.Len() + n; b.Len() < end; {
		b.WriteString(before)
		for start := b.Len(); b.Len()-start < 64; {
			b.WriteString(w.word())
			b.WriteByte(' ')
		}
		b.WriteString(after + "\r\n")
	}
}

// code writes n bytes as base64.
func (w *writer) code(b *bytes.Buffer, n int) {
	raw := make([]byte, 57)
	for ; n > 0; n -= len(raw) {
		if w.packs {
			for k := 0; k < len(raw); {
				k += copy(raw[k:], w.word()+" ")
			}
		} else {
			w.noise.Read(raw)
		}
		b.WriteString(base64.StdEncoding.EncodeToString(raw) + "\r\n")
	}
}

// head writes a header of 1 to 3 KB, as mail has after several relays, without its content type.
func (w *writer) head(b *bytes.Buffer, i int) {
	date := sent(i).Format(time.RFC1123Z)
	from := fmt.Sprintf("%s.%s@%s.example.com", w.word(), w.word(), w.word())
	fmt.Fprintf(b, "Return-Path: <%s>\r\n", from)
	for hop := range 2 + w.rnd.IntN(4) {
		fmt.Fprintf(b, "Received: from mx%d.%s.example.net (mx%d.example.net [192.0.2.%d])\r\n\tby relay%d.example.org "+
			"(Postfix) with ESMTPS id %016x\r\n\tfor <bench@example.org>; %s\r\n", hop, w.word(), hop, w.rnd.IntN(256), hop,
			w.rnd.Uint64(), date)
	}
	b.WriteString("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=2025;\r\n\tb=\r\n")
	for range 4 {
		raw := make([]byte, 48)
		if w.packs {
			for k := 0; k < len(raw); {
				k += copy(raw[k:], w.word()+" ")
			}
		} else {
			w.noise.Read(raw)
		}
		b.WriteString("\t" + base64.StdEncoding.EncodeToString(raw) + "\r\n")
	}
	fmt.Fprintf(b, "From: %s %s <%s>\r\nTo: Bench <bench@example.org>\r\nSubject: %s %s %s %d\r\nDate: %s\r\n"+
		"Message-ID: <%d.%016x@example.com>\r\nMIME-Version: 1.0\r\n", w.word(), w.word(), from,
		w.word(), w.word(), w.word(), i, date, i, w.rnd.Uint64())
}

func (w *writer) text(i, n int) []byte {
	var b bytes.Buffer
	w.head(&b, i)
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\n\r\n")
	w.lines(&b, n, "", "")
	return b.Bytes()
}

func (w *writer) html(i, n int) []byte {
	var b bytes.Buffer
	w.head(&b, i)
	b.WriteString("Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n")
	w.lines(&b, n/4, "", "")
	b.WriteString("\r\n--b\r\nContent-Type: text/html\r\n\r\n<html><body>\r\n")
	w.lines(&b, n*3/4, `<p style="margin:0;font-family:sans-serif">`, "</p>")
	b.WriteString("</body></html>\r\n\r\n--b--\r\n")
	return b.Bytes()
}

// attachment writes a message whose attachment takes about n bytes in the message.
func (w *writer) attachment(i, n int) []byte {
	var b bytes.Buffer
	w.head(&b, i)
	b.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n")
	w.lines(&b, 1000, "", "")
	b.WriteString("\r\n--b\r\nContent-Type: application/octet-stream; name=data.bin\r\n" +
		"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=data.bin\r\n\r\n")
	w.code(&b, n/78*57)
	b.WriteString("\r\n--b--\r\n")
	return b.Bytes()
}
