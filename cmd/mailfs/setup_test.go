package main

import (
	"cmp"
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

	"github.com/mailfs/mailfs/cmd/mailfs/config"
)

// srv is a record of type SRV (RFC 2782).
type srv struct {
	priority, weight, port int
	target                 string // default localhost
}

// at is a single record with a port.
func at(port int) []srv { return []srv{{port: port}} }

// nameServer is a name server with SRV records. Other names do not exist. With records nil, every answer is SERVFAIL.
func nameServer(t *testing.T, records map[string][]srv) *net.Resolver {
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

// answerSRV answers one question (RFC 1035, section 4).
func answerSRV(question []byte, names map[string][]srv) []byte {
	var labels []string
	end := 12
	for question[end] != 0 {
		n := int(question[end])
		labels = append(labels, string(question[end+1:end+1+n]))
		end += 1 + n
	}
	end += 5 // the end of the name, type and class
	records, ok := names[strings.Join(labels, ".")]
	answer := append([]byte(nil), question[:end]...)
	answer[2], answer[3] = 0x84, 0 // an authoritative answer
	wire.BigEndian.PutUint16(answer[10:], 0)
	switch {
	case names == nil:
		answer[3] = 2 // SERVFAIL
		return answer
	case !ok:
		answer[3] = 3 // no such name
		return answer
	}
	wire.BigEndian.PutUint16(answer[6:], uint16(len(records)))
	for _, r := range records {
		var target []byte
		for label := range strings.SplitSeq(cmp.Or(r.target, "localhost"), ".") {
			if label != "" {
				target = append(append(target, byte(len(label))), label...)
			}
		}
		target = append(target, 0)
		answer = append(answer, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60) // the question's name, SRV
		for _, n := range []int{6 + len(target), r.priority, r.weight, r.port} {
			answer = wire.BigEndian.AppendUint16(answer, uint16(n))
		}
		answer = append(answer, target...)
	}
	return answer
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

func TestSetupAddsTheBestServerToTheConfiguration(t *testing.T) {
	t.Parallel()
	cert, ca := makeCertificate(t, "localhost", time.Now().Add(-time.Hour), time.Now().Add(300*24*time.Hour))
	caFile := pemFile(t, ca)
	good := port(t, listen(t, secured(cert, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"))))
	other := port(t, listen(t, secured(cert, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] the other\r\n"))))
	pop3 := port(t, listen(t, secured(cert, script("+OK hi\r\n", "+OK\r\nUSER\r\n.\r\n"))))
	upgrade := port(t, listen(t, upgrading(cert, []string{"* OK hi\r\n", "TAG OK\r\n"}, script("", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK\r\n"))))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := port(t, closed.Addr().String())
	closed.Close()
	url := func(scheme string, port int) string {
		return fmt.Sprintf("[account.localhost]\nurl = \"%s://me%%40localhost@localhost:%d\"\n", scheme, port)
	}
	const before = "# mine\nmemory   =  \"1MiB\"   # odd\n\n[account.old]\nurl='imaps://x@h'"
	for _, c := range []struct {
		name    string
		srv     map[string][]srv
		address string
		flags   setupFlags
		before  string // of the file
		after   string // what is added
		says    string // what the output holds, or the error
		fails   bool
		unasked bool // the name server fails
	}{
		{name: "IMAP is announced", srv: map[string][]srv{"_imaps._tcp.localhost": at(good), "_pop3s._tcp.localhost": at(pop3)},
			address: "me@localhost", after: fmt.Sprintf("[account.localhost]\nurl = \"imaps://me%%40localhost@localhost:%d\"\n", good),
			says: "sign-in with PLAIN"},
		{name: "a file with an account", srv: map[string][]srv{"_imaps._tcp.localhost": at(good)}, address: "me@localhost", before: before,
			flags: setupFlags{name: "two words", user: "me \"x\""},
			after: fmt.Sprintf("\n\n[account.\"two words\"]\nurl = \"imaps://me%%20%%22x%%22@localhost:%d\"\n", good), says: "/config.toml 'two words'\n"},
		{name: "IMAP is announced in vain", srv: map[string][]srv{"_imaps._tcp.localhost": at(nobody), "_pop3s._tcp.localhost": at(pop3)},
			address: "me@localhost", after: fmt.Sprintf("[account.localhost]\nurl = \"pop3s://me%%40localhost@localhost:%d\"\n", pop3),
			says: "nothing listens there"},
		{name: "by priority", srv: map[string][]srv{"_imaps._tcp.localhost": {{priority: 20, port: other}, {priority: 10, port: good}}},
			address: "me@localhost", after: url("imaps", good), says: "sign-in with PLAIN"},
		{name: "the second by priority, when the first is down", srv: map[string][]srv{"_imaps._tcp.localhost": {
			{priority: 20, port: other}, {priority: 10, port: nobody}}}, address: "me@localhost", after: url("imaps", other), says: "nothing listens there"},
		{name: "TLS from the first byte before an upgrade", srv: map[string][]srv{"_imap._tcp.localhost": {{port: upgrade}},
			"_imaps._tcp.localhost": {{priority: 99, port: good}}}, address: "me@localhost", after: url("imaps", good), says: "imap://localhost"},
		{name: "an upgrade", srv: map[string][]srv{"_imap._tcp.localhost": at(upgrade)}, address: "me@localhost", after: url("imap", upgrade),
			says: "sign-in with PLAIN"},
		{name: "no IMAP is offered", srv: map[string][]srv{"_imaps._tcp.localhost": {{target: "."}}, "_imap._tcp.localhost": {{target: "."}},
			"_pop3s._tcp.localhost": at(pop3)}, address: "me@localhost", after: url("pop3s", pop3), says: "sign-in with USER"},
		{name: "nothing is offered", srv: map[string][]srv{"_imaps._tcp.localhost": {{target: "."}}, "_imap._tcp.localhost": {{target: "."}},
			"_pop3s._tcp.localhost": {{target: "."}}, "_pop3._tcp.localhost": {{target: "."}}}, address: "me@localhost",
			says: "no IMAP or POP3 server of localhost", fails: true},
		{name: "no name server", address: "me@nowhere.invalid", unasked: true, says: "check the network", fails: true},
		{name: "it is there already", srv: map[string][]srv{"_imaps._tcp.localhost": at(good)}, address: "me@localhost",
			before: "# mine\n" + url("imaps", good), says: "already, as the account localhost"},
		{name: "another domain, nobody to ask", srv: map[string][]srv{"_imaps._tcp.example.invalid": at(good)}, address: "me@example.invalid",
			says: "add --yes", fails: true},
		{name: "only looked at", srv: map[string][]srv{"_imaps._tcp.localhost": at(good)}, address: "me@localhost", flags: setupFlags{dryRun: true},
			says: "For the configuration:"},
		{name: "in another domain", srv: map[string][]srv{"_imaps._tcp.example.invalid": at(good)}, address: "me@example.invalid",
			flags: setupFlags{yes: true}, says: "announced",
			after: fmt.Sprintf("[account.example]\nurl = \"imaps://me%%40example.invalid@localhost:%d\"\n", good)},
		{name: "an internationalised domain", srv: map[string][]srv{"_imaps._tcp.xn--bcher-kva.invalid": at(good)}, address: "me@Bücher.invalid",
			flags: setupFlags{yes: true, name: "books"}, says: "mailfs mount --config ",
			after: fmt.Sprintf("[account.books]\nurl = \"imaps://me%%40B%%C3%%BCcher.invalid@localhost:%d\"\n", good)},
		{name: "the name is taken", srv: map[string][]srv{"_imaps._tcp.localhost": at(good)}, address: "me@localhost", before: before,
			flags: setupFlags{name: "old"}, says: `there is an account "old" already`, fails: true},
		{name: "a broken file", srv: map[string][]srv{"_imaps._tcp.localhost": at(good)}, address: "me@localhost", before: "[account",
			says: "nothing was written", fails: true},
		{name: "nothing is there", address: "me@nowhere.invalid", says: "mailfs check imaps://HOST", fails: true},
		{name: "no domain", address: "me@bü cher", says: "not an address", fails: true},
		{name: "a domain that can't be", address: "me@bü_cher", says: "no domain name", fails: true},
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
			f.Config, f.Timeout, f.CAFile = path, config.Duration(10*time.Second), caFile
			var out strings.Builder
			if c.srv == nil && !c.unasked {
				c.srv = map[string][]srv{}
			}
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
