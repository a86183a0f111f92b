package main

import (
	"context"
	wire "encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// nameServer answers questions for SRV records, and says of all other names that there are none.
func nameServer(t *testing.T, records map[string]int) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		for b := make([]byte, 1500); ; {
			n, from, err := socket.ReadFrom(b)
			if err != nil {
				return
			}
			socket.WriteTo(answerSRV(b[:n], records), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

// answerSRV answers one question (RFC 1035, section 4; RFC 2782) with the target localhost and the name's port.
func answerSRV(question []byte, records map[string]int) []byte {
	var labels []string
	end := 12
	for question[end] != 0 {
		n := int(question[end])
		labels = append(labels, string(question[end+1:end+1+n]))
		end += 1 + n
	}
	end += 5 // the end of the name, type and class
	port, ok := records[strings.Join(labels, ".")]
	answer := append([]byte(nil), question[:end]...)
	answer[2], answer[3] = 0x84, 0 // an authoritative answer
	wire.BigEndian.PutUint16(answer[10:], 0)
	if !ok {
		answer[3] = 3 // no such name
		return answer
	}
	wire.BigEndian.PutUint16(answer[6:], 1)
	answer = append(answer, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 17, 0, 0, 0, 0) // SRV, priority and weight 0
	answer = wire.BigEndian.AppendUint16(answer, uint16(port))
	return append(append(answer, 9), "localhost\x00"...)
}

func port(t *testing.T, address string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSetup(t *testing.T) {
	t.Parallel()
	cert, ca := makeCertificate(t, "localhost", time.Now().Add(-time.Hour), time.Now().Add(300*24*time.Hour))
	caFile := pemFile(t, ca)
	good := port(t, listen(t, secured(cert, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"))))
	pop3 := port(t, listen(t, secured(cert, script("+OK hi\r\n", "+OK\r\nUSER\r\n.\r\n"))))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := port(t, closed.Addr().String())
	closed.Close()
	const before = "# mine\nmemory   =  \"1MiB\"   # odd\n\n[account.old]\nurl='imaps://x@h'"
	for _, c := range []struct {
		name    string
		srv     map[string]int
		address string
		flags   setupFlags
		before  string // of the file
		after   string // what is added
		says    string // what the output holds, or the error
		fails   bool
	}{
		{name: "IMAP is announced", srv: map[string]int{"_imaps._tcp.localhost": good, "_pop3s._tcp.localhost": pop3},
			address: "me@localhost", after: fmt.Sprintf("[account.localhost]\nurl = \"imaps://me%%40localhost@localhost:%d\"\n", good),
			says: "sign-in with PLAIN"},
		{name: "a file with an account", srv: map[string]int{"_imaps._tcp.localhost": good}, address: "me@localhost", before: before,
			flags: setupFlags{name: "two words", user: "me \"x\""},
			after: fmt.Sprintf("\n\n[account.\"two words\"]\nurl = \"imaps://me%%20%%22x%%22@localhost:%d\"\n", good), says: "mailfs login 'two words'"},
		{name: "IMAP is announced in vain", srv: map[string]int{"_imaps._tcp.localhost": nobody, "_pop3s._tcp.localhost": pop3},
			address: "me@localhost", after: fmt.Sprintf("[account.localhost]\nurl = \"pop3s://me%%40localhost@localhost:%d\"\n", pop3),
			says: "nothing listens there"},
		{name: "only looked at", srv: map[string]int{"_imaps._tcp.localhost": good}, address: "me@localhost", flags: setupFlags{dryRun: true},
			says: "For the configuration:"},
		{name: "in another domain", srv: map[string]int{"_imaps._tcp.example.invalid": good}, address: "me@example.invalid",
			flags: setupFlags{yes: true}, says: "announced",
			after: fmt.Sprintf("[account.example]\nurl = \"imaps://me%%40example.invalid@localhost:%d\"\n", good)},
		{name: "the name is taken", srv: map[string]int{"_imaps._tcp.localhost": good}, address: "me@localhost", before: before,
			flags: setupFlags{name: "old"}, says: `there is an account "old" already`, fails: true},
		{name: "a broken file", srv: map[string]int{"_imaps._tcp.localhost": good}, address: "me@localhost", before: "[account",
			says: "nothing was written", fails: true},
		{name: "nothing is there", address: "me@nowhere.invalid", says: "mailfs check imaps://HOST", fails: true},
		{name: "no address", address: "nowhere.invalid", says: "not an address", fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "new", "config.toml")
			if c.before != "" {
				path = filepath.Join(dir, "config.toml")
				if err := os.WriteFile(path, []byte(c.before), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			f := c.flags
			f.config, f.timeout, f.caFile = path, duration(10*time.Second), caFile
			var out strings.Builder
			err := setup(t.Context(), &out, nameServer(t, c.srv), &f, c.address)
			if c.fails != (err != nil) || !strings.Contains(fmt.Sprint(out.String(), err), c.says) {
				t.Errorf("%v, and it says\n%swant something of %q", err, &out, c.says)
			}
			text, err := os.ReadFile(path)
			if c.before+c.after == "" {
				if !os.IsNotExist(err) {
					t.Errorf("there is a file: %q (%v)", text, err)
				}
				return
			}
			want := c.before + c.after
			if c.after != "" {
				want += fmt.Sprintf("ca_file = %q\n", caFile)
			}
			if string(text) != want {
				t.Errorf("the file is\n%s\nwant\n%s", text, want)
			}
			if info, err := os.Stat(path); err == nil && c.before != "" && info.Mode().Perm() != 0o640 {
				t.Errorf("its mode is %v now", info.Mode())
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".config-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
