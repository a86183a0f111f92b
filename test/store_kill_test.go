package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/test/harness"
)

// kill kills every process that serves the mount or is about to, as the kernel does when memory is short.
func kill(t *testing.T, m *harness.Mount) {
	t.Helper()
	killed := map[int]bool{}
	harness.Eventually(t, "the processes of the mount are dead", func() bool {
		pids := m.Processes()
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
			killed[pid] = true
		}
		return len(pids) == 0
	})
	// A process whose thread waits for an answer of its own mount would not end.
	for pid := range killed {
		harness.Eventually(t, fmt.Sprintf("the last thread of process %d ends", pid), func() bool {
			return !slices.ContainsFunc(threads(pid), harness.Alive)
		})
	}
}

// stop stops a process, with all its threads, until it gets SIGCONT. A thread that still ran could take a request and not
// answer it, and a reader that waits for that answer can't be killed.
func stop(t *testing.T, pid int) {
	t.Helper()
	syscall.Kill(pid, syscall.SIGSTOP)
	harness.Eventually(t, "every thread of the program stands still", func() bool {
		return !slices.ContainsFunc(threads(pid), func(id int) bool { return harness.State(id) != 'T' })
	})
}

// threads returns the ids of the threads of a process.
func threads(pid int) (ids []int) {
	for _, name := range names(fmt.Sprintf("/proc/%d/task", pid)) {
		if id, err := strconv.Atoi(name); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// killsEnv sets how many kills the test makes, for long runs.
const killsEnv = "MAILFS_TEST_KILLS"

// After kill -9 at any moment the next mount serves the right mail, with the store that the killed process has left.
func TestStoreSurvivesKills(t *testing.T) {
	t.Parallel()
	kills := 208
	if n, err := strconv.Atoi(os.Getenv(killsEnv)); err == nil {
		kills = n
	}
	seed := uint64(time.Now().UnixNano())
	for i, account := range []struct {
		name     string
		protocol string
		port     int
		rtt      time.Duration // of the network; long enough that kills hit the middle of a fetch
		args     []string
	}{
		{"IMAP", "imap", dovecot.IMAP, 0, nil},
		{"IMAP over a long line", "imap", dovecot.IMAP, 6 * time.Millisecond, nil},
		{"IMAP with a small cache", "imap", dovecot.IMAP, 2 * time.Millisecond, []string{"--cache-size", "600KiB", "--memory", "100KiB"}},
		{"POP3", "pop3", dovecot.POP3, 3 * time.Millisecond, nil},
	} {
		user := fmt.Sprintf("kills%d", i)
		t.Run(account.name, func(t *testing.T) {
			t.Parallel()
			port := account.port
			if account.rtt > 0 {
				port = run.Proxy(t, port, harness.ProxyOptions{RTT: account.rtt}).Port
			}
			v := &victim{
				t: t, c: dovecot.Dial(t, user), rnd: rand.New(rand.NewPCG(seed, uint64(i))), rtt: account.rtt,
				store: filepath.Join(run.TempDir(t), "store"), pop3: account.protocol == "pop3",
				mail: map[string]map[string]harness.Mail{}, inodes: map[string]uint64{},
			}
			t.Cleanup(func() {
				dovecot.Forget(user)
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
			v.args = append([]string{"--tls=off", "--refresh", "1s", "--timeout", "60s", "--cache-dir", v.store},
				append(account.args, fmt.Sprintf("%s://%s@127.0.0.1:%d", account.protocol, user, port))...)
			v.fill()
			v.m = run.Mount(t, v.args...)
			v.compare()
			for n := range kills / 4 {
				v.change(n)
				v.cycle(n)
				if n%8 == 7 {
					v.compare()
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			v.compare()
			t.Logf("%d of %d kills were in the middle of cp -r", v.midway, kills/4)
			if v.midway == 0 {
				t.Error("no kill was in the middle of cp -r, so this test has seen little")
			}
			log, err := os.ReadFile(v.m.Log)
			if err != nil {
				t.Fatal(err)
			}
			if said := regexp.MustCompile(`(?m)^.*(level=WARN|level=ERROR|panic).*$`).FindAll(log, 5); said != nil {
				t.Errorf("the log complains:\n%s", bytes.Join(said, []byte("\n")))
			}
		})
	}
}

// victim is an account whose mount is killed again and again, with the mail that the mount must show.
type victim struct {
	t      *testing.T
	c      *harness.Client
	m      *harness.Mount
	rnd    *rand.Rand
	args   []string
	store  string
	rtt    time.Duration
	pop3   bool
	letter uint64 // seed of the next letters

	midway int // number of kills after which a part of the mail was copied

	mail   map[string]map[string]harness.Mail // by mailbox and name of the file, which is without the UIDL over POP3
	inodes map[string]uint64                  // by path; an inode number stays the same
}

// boxes are the mailboxes of an account.
func (v *victim) boxes() []string {
	if v.pop3 {
		return []string{"INBOX"}
	}
	return []string{"INBOX", "Work", "Work/Old"}
}

func (v *victim) letters(box string, n int) {
	v.letter++
	v.c.Put(box, harness.Letters(v.letter, n)...)
}

func (v *victim) fill() {
	for _, box := range v.boxes() {
		if box != "INBOX" {
			v.c.Make(box)
		}
		v.letters(box, 30)
		v.note(box)
	}
}

// note reads from the server what a mailbox must show.
func (v *victim) note(box string) {
	v.mail[box] = map[string]harness.Mail{}
	for _, held := range v.c.Held(box) {
		msg, err := mail.ReadMessage(bytes.NewReader(held.Body))
		if err != nil {
			v.t.Fatal(err)
		}
		from, err := mail.ParseAddress(msg.Header.Get("From"))
		if err != nil {
			v.t.Fatal(err)
		}
		name := fmt.Sprintf("%s_%s_%s", held.Date.UTC().Format(time.DateOnly), from.Address,
			strings.ReplaceAll(msg.Header.Get("Subject"), " ", "-"))
		if !v.pop3 {
			name += fmt.Sprintf("_%d.eml", held.UID)
		}
		v.mail[box][name] = held
	}
}

// want returns the message that a file must hold.
func (v *victim) want(dir, name string) (harness.Mail, bool) {
	if v.pop3 {
		name = name[:max(0, strings.LastIndexByte(name, '_'))]
	}
	mail, ok := v.mail[dir][name]
	return mail, ok
}

// change changes the account on the server in the n-th way, or not at all.
func (v *victim) change(n int) {
	boxes := v.boxes()
	box := boxes[v.rnd.IntN(len(boxes))]
	switch {
	case n%11 == 10 && !v.pop3: // made anew: another UIDVALIDITY, and the UIDs of other messages
		box = "Work/Old"
		if err := v.c.Unselect().Wait(); err != nil { // Dovecot ends the connection that has the deleted mailbox selected
			v.t.Fatal(err)
		}
		v.c.Drop(box)
		v.c.Make(box)
		v.letters(box, 30)
		for path := range v.inodes {
			if strings.HasPrefix(path, box) {
				delete(v.inodes, path)
			}
		}
	case n%3 == 0:
		v.letters(box, 1+v.rnd.IntN(4))
	case n%5 == 4:
		uids := v.c.Held(box)
		v.c.Remove(box, uids[v.rnd.IntN(len(uids))].UID)
	case n%7 == 6:
		uids := v.c.Held(box)
		v.c.SetFlags(box, uids[v.rnd.IntN(len(uids))].UID, imap.FlagFlagged)
		return
	case n%13 == 12: // without a store the next listing is a first one
		if err := os.RemoveAll(v.store); err != nil {
			v.t.Fatal(err)
		}
		return
	default:
		return
	}
	v.note(box)
}

// cycle kills the mount while it starts or while cp -r runs, depending on n.
func (v *victim) cycle(n int) {
	v.t.Helper()
	kill(v.t, v.m)
	if n%4 == 3 {
		args := append(append([]string{"mount", "--log-file", v.m.Log, "--log-level", "debug"}, v.args...), v.m.Path)
		cmd, _, _ := run.Start(v.t, withPassword(args...))
		time.Sleep(time.Duration(v.rnd.IntN(120)) * time.Millisecond)
		kill(v.t, v.m)
		cmd.Wait() // whether it has mounted or not
		return
	}
	v.mount()
	out := filepath.Join(run.TempDir(v.t), "out")
	defer os.RemoveAll(out)
	cp := exec.Command("cp", "-r", v.m.Path+"/.", out)
	var stderr bytes.Buffer
	cp.Stderr = &stderr
	if err := cp.Start(); err != nil {
		v.t.Fatal(err)
	}
	all := 0
	for _, box := range v.mail {
		all += len(box)
	}
	if n%2 == 0 {
		time.Sleep(time.Duration(v.rnd.IntN(80))*time.Millisecond + time.Duration(v.rnd.IntN(30))*v.rtt)
	} else { // cp is stopped, so that it doesn't end before the mount does
		most := 1 + v.rnd.IntN(all/2)
		harness.Eventually(v.t, "cp -r copies", func() bool { return files(out) >= most || !harness.Alive(cp.Process.Pid) })
		cp.Process.Signal(syscall.SIGSTOP)
	}
	kill(v.t, v.m)
	cp.Process.Signal(syscall.SIGCONT)
	cp.Wait() // cp fails when the mount dies, unless it was done before
	for _, line := range strings.Split(strings.TrimSpace(stderr.String()), "\n") {
		if line != "" && !containsAny(line, "Transport endpoint is not connected", "Software caused connection abort",
			"Input/output error") {
			v.t.Errorf("cp says %q", line)
		}
	}
	// Every file of the copy is the beginning of a message, or all of it.
	copied := 0
	err := filepath.Walk(out, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return nil // cp may have made nothing
		}
		rel, err := filepath.Rel(out, path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		copied++
		mail, ok := v.want(filepath.Dir(rel), info.Name())
		if !ok {
			v.t.Errorf("kill %d: %s is no message on the server", n, rel)
		} else if !bytes.HasPrefix(mail.Body, got) {
			v.t.Errorf("kill %d: the %d bytes of %s are not those of the server", n, len(got), rel)
		}
		return nil
	})
	if err != nil {
		v.t.Fatal(err)
	}
	if copied > 0 && copied < all {
		v.midway++
	}
}

// files counts the files in a folder.
func files(dir string) (n int) {
	filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return nil
	})
	return n
}

// mount mounts where the killed process has left a dead mount, and with the store that it has left.
func (v *victim) mount() {
	v.t.Helper()
	args := append(append([]string{"mount", "--log-file", v.m.Log, "--log-level", "debug"}, v.args...), v.m.Path)
	res := run.Run(v.t, withPassword(args...))
	if res.Code != 0 {
		v.t.Fatalf("mounting over the store fails: %s", res.Stderr)
	}
	if res.Stderr != "" && !regexp.MustCompile(`^mailfs: .*: cleared away a dead mount\n$`).MatchString(res.Stderr) {
		v.t.Errorf("mount says %q", res.Stderr)
	}
}

// compare compares names, sizes, dates, inode numbers and bytes with the server. It mounts if nothing is mounted.
func (v *victim) compare() {
	v.t.Helper()
	if harness.Mounted(v.m.Path) == 0 || len(v.m.Processes()) == 0 {
		v.mount()
	}
	list := v.m.List(v.t)
	for _, box := range v.boxes() {
		if len(list[box]) != len(v.mail[box]) {
			v.t.Errorf("%s shows %d messages, want %d", box, len(list[box]), len(v.mail[box]))
		}
		for _, f := range list[box] {
			mail, ok := v.want(box, f.Name)
			if !ok {
				v.t.Errorf("%s is no message on the server", f.Path())
				continue
			}
			if !f.Time.Equal(mail.Date) {
				v.t.Errorf("%s: mtime %v, want %v", f.Path(), f.Time.UTC(), mail.Date.UTC())
			}
			if got := v.m.Read(v.t, f); !bytes.Equal(got, mail.Body) || f.Size != int64(len(got)) {
				v.t.Errorf("%s: st_size %d, %d bytes that are not the server's %d", f.Path(), f.Size, len(got), len(mail.Body))
			}
			if before, ok := v.inodes[f.Path()]; ok && before != f.Inode {
				v.t.Errorf("%s: its inode was %d and is %d", f.Path(), before, f.Inode)
			}
			v.inodes[f.Path()] = f.Inode
		}
	}
}
