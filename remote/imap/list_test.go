package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestMailboxesHaveUniqueNamesAndPathsHoweverTheyAreSpelled(t *testing.T) {
	s := newServer(t, fullCaps)
	s.list = strings.ReplaceAll(strings.Join([]string{
		`* LIST () "/" Inbox`,
		`* LIST () "/" "inbox/below"`,
		`* LIST (\Noselect \HasChildren) "/" Archive`,
		`* LIST (\HasNoChildren \Sent) "/" "Archive/2025"`,
		`* LIST (\Drafts) "/" "Entw&APw-rfe"`,
		`* LIST () "/" "R&D"`,
		"* LIST () \"/\" {4}\nB\xfcro",
		"* LIST () \"/\" \"\xe5\x8f\xb0\xe5\x8c\x97\"",
		`* LIST () "/" "a//b"`,
		`* LIST () "/" "trail/"`,
		`* LIST () "/" "trail"`,
		`* LIST () NIL "x/y"`,
		`* LIST () "." "Mail.lists.go"`,
		`* LSUB () "/" "subscribed"`,
		"* XLIST () \"/\" {3}\nabc",
		"",
	}, "\n"), "\n", "\r\n")
	opened := make(chan string, 1)
	s.hook = func(c *peer, tag, command string) bool {
		if strings.HasPrefix(command, "EXAMINE") && !strings.HasPrefix(command, "EXAMINE INBOX") {
			opened <- strings.TrimSuffix(strings.TrimPrefix(command, "EXAMINE "), " (CONDSTORE)")
			fmt.Fprintf(c.w, "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] .\r\n%s OK\r\n", tag)
			return true
		}
		return false
	}
	a := s.open()
	list, err := a.Mailboxes(inTime(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		got = append(got, fmt.Sprintf("%s=%q %v %d", m.Name, m.Path, m.Selectable, m.Role))
	}
	want := []string{
		`Archive=["Archive"] false 0`,
		`Archive/2025=["Archive" "2025"] true 1`,
		`Büro=["Büro"] true 0`,
		`Entwürfe=["Entwürfe"] true 2`,
		`INBOX=["INBOX"] true 0`,
		`inbox/below=["INBOX" "below"] true 0`,
		`Mail.lists.go=["Mail" "lists" "go"] true 0`,
		`R&D=["R&D"] true 0`,
		`a//b=["a" "/" "b"] true 0`,
		`trail=["trail" "/"] true 0`,
		`x/y=["x/y"] true 0`,
		`台北=["台北"] true 0`,
	}
	for _, w := range want {
		if !slices.Contains(got, w) && !strings.HasPrefix(w, "trail") {
			t.Errorf("%s is missing", w)
		}
	}
	if len(got) != 13 {
		t.Errorf("%d mailboxes", len(got))
	}
	paths := map[string]bool{}
	for _, m := range list {
		paths[strings.Join(m.Path, "\x00")] = true
	}
	if len(paths) != 13 || !paths["trail"] || !paths["trail\x00/"] {
		t.Errorf("paths are not unique: %q", got)
	}
	if t.Failed() {
		t.Logf("got %s", strings.Join(got, "\n"))
	}
	for name, spelled := range map[string]string{"R&D": `"R&D"`, "Büro": "\"B\xfcro\"",
		"台北":       "\"\xe5\x8f\xb0\xe5\x8c\x97\"",
		"Entwürfe": `"Entw&APw-rfe"`} {
		if _, err := a.Sync(inTime(t), name, remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got := <-opened; got != spelled {
			t.Errorf("%s is opened as %q", name, got)
		}
	}
}

func TestAMailboxThatIsGoneIsToldFromOneThatDoesNotOpen(t *testing.T) {
	s := newServer(t, plainCaps)
	a := s.open()
	_, err := a.Sync(inTime(t), "gone", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
	wantError(t, err, remote.ErrNoMailbox, "no such mailbox")
	s.change(func() { s.list = "* LIST () \"/\" gone\r\n" })
	_, err = a.Sync(inTime(t), "gone", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
	wantError(t, err, remote.ErrServer, "no such mailbox")
}

func TestQuotaIsToldWhereTheServerHasIt(t *testing.T) {
	used, limit, err := newServer(t, fullCaps).open().Quota(inTime(t))
	if err != nil || used != 10<<10 || limit != 512<<10 {
		t.Fatalf("%d of %d, %v", used, limit, err)
	}
	_, _, err = newServer(t, plainCaps).open().Quota(inTime(t))
	wantError(t, err, remote.ErrUnsupported)
}
