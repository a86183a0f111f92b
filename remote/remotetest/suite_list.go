package remotetest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

func (s *suite) mailboxes() {
	want := []string{inbox}
	if s.server.Create != nil {
		for _, name := range []string{"Archive", "Archive/2026", "Übung & Spiel"} {
			s.server.Create(name)
			want = append(want, name)
		}
	}
	list, err := s.open().Mailboxes(s.Context())
	s.must(err)
	seen := map[string]bool{}
	paths := map[string]bool{"": true}
	var selectable []string
	for _, m := range list {
		if seen[m.Name] {
			s.Errorf("%q is listed twice", m.Name)
		}
		seen[m.Name] = true
		path := strings.Join(m.Path, "/")
		if parent := strings.Join(m.Path[:max(0, len(m.Path)-1)], "/"); !paths[parent] {
			s.Errorf("%q is listed before its parent", path)
		}
		paths[path] = true
		if m.Selectable {
			selectable = append(selectable, path)
		}
	}
	slices.Sort(selectable)
	slices.Sort(want)
	if !slices.Equal(selectable, want) {
		s.Errorf("listed are %q, want %q", selectable, want)
	}
}

func (s *suite) versions() {
	names := []string{inbox, "no such mailbox"}
	if s.server.Create != nil {
		s.server.Create("Archive")
		s.server.Put("Archive", letters(2)...)
		names = append(names, "Archive")
	}
	a := s.open()
	versions, err := a.Versions(s.Context(), names)
	s.must(err)
	if len(versions) != len(names) {
		s.Fatalf("%d versions of %d mailboxes", len(versions), len(names))
	}
	if versions[1] != (remote.Version{}) {
		s.Errorf("a mailbox that is not there is at %+v", versions[1])
	}
	for i, v := range versions {
		if v == (remote.Version{}) {
			continue
		}
		now := s.view(names[i])
		now.sync(a, remote.Version{})
		if v.UIDValidity != now.version.UIDValidity || int(v.Messages) != len(now.messages) || v.UIDNext <= now.known().Last() {
			s.Errorf("%s is at %+v, Sync finds %+v", names[i], v, now.version)
		}
	}
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9.,+=@~-]+$`)

func (s *suite) syncFromNothing() {
	const n = 30
	_, v := s.filled(letters(n)...)
	if len(v.messages) != n {
		s.Errorf("%d messages are listed, want %d", len(v.messages), n)
	}
	keys := map[string]bool{}
	for i := range n {
		uid := v.uids(i + 1)[0]
		m := v.messages[uid]
		if m.Size != int64(len(letter(i+1))) {
			s.Errorf("letter %d has %d bytes, listed as %d", i+1, len(letter(i+1)), m.Size)
		}
		if !plainKey.MatchString(m.Key) || keys[m.Key] || !slices.Contains(remote.UIDOfKey(m.Key), uid) {
			s.Errorf("letter %d with UID %d has the key %q", i+1, uid, m.Key)
		}
		keys[m.Key] = true
		for _, field := range []string{"From: Ann <ann@example.org>\r\n", "To: bob@example.org\r\n",
			"Date: Mon, 2 Feb 2026 10:00:00 +0000\r\n", fmt.Sprintf("Message-ID: <%d@example.org>\r\n", i+1)} {
			if !strings.Contains(strings.ToLower(string(m.Header)), strings.ToLower(field)) {
				s.Errorf("the header of letter %d lacks %q: %q", i+1, field, m.Header)
			}
		}
		if uid > v.version.UIDNext && v.version.UIDNext != 0 {
			s.Errorf("UIDNEXT is %d, and UID %d is there", v.version.UIDNext, uid)
		}
	}
}

func (s *suite) syncFromVersion() {
	a, v := s.filled(letters(5)...)
	before := v.uids(1, 2, 3, 4, 5)
	s.server.Remove(inbox, 2)
	s.server.Put(inbox, letter(6))
	v.sync(a, remote.Version{})
	if len(v.messages) != 5 || v.known().Contains(before[1]) {
		s.Errorf("after one was removed and one was put, there are %d messages", len(v.messages))
	}
	if fresh := v.uids(6)[0]; slices.Contains(before, fresh) {
		s.Errorf("UID %d is used again", fresh)
	}
	if after := v.uids(1, 3, 4, 5); !slices.Equal(after, slices.Delete(slices.Clone(before), 1, 2)) {
		s.Errorf("the UIDs were %v and are %v", before, after)
	}
	listed := 0
	for _, d := range v.deltas {
		listed += len(d.Messages)
	}
	if listed != 1 {
		s.Errorf("%d messages are listed where one is new", listed)
	}
	v.sync(a, remote.Version{})
	for _, d := range v.deltas {
		if d.Reset || len(d.Messages) > 0 || d.Present != nil {
			s.Errorf("nothing has changed, and Sync says %+v", d)
		}
	}
}

func (s *suite) syncToVersion() {
	s.server.Put(inbox, letters(4)...)
	a := s.open()
	now, err := a.Versions(s.Context(), []string{inbox})
	s.must(err)
	v := s.view(inbox)
	v.sync(a, now[0])
	v.uids(1, 2, 3, 4)
	if now[0].UIDNext == 0 {
		return
	}
	now[0].UIDValidity++
	_, err = a.Sync(s.Context(), inbox, remote.Version{}, now[0], nil, func(remote.Delta) error { return nil })
	s.wants("Sync to a version that is not true", err, remote.ErrStale)
}

func (s *suite) syncFlags() {
	if s.server.SetFlags == nil {
		s.Skip("the protocol has no flags")
	}
	a, v := s.filled(letters(3)...)
	s.server.SetFlags(inbox, 2, `\Seen`, `\Flagged`)
	v.sync(a, remote.Version{})
	for i, uid := range v.uids(1, 2, 3) {
		flags := v.messages[uid].Flags
		if changed := i == 1; slices.Contains(flags, `\Seen`) != changed || slices.Contains(flags, `\Flagged`) != changed {
			s.Errorf("letter %d has the flags %q", i+1, flags)
		}
	}
}

func (s *suite) syncReset() {
	a, v := s.filled(letters(2)...)
	v.version.UIDValidity++
	v.messages[12345] = remote.Message{UID: 12345}
	v.sync(a, remote.Version{})
	if len(v.deltas) == 0 || !v.deltas[0].Reset {
		s.Errorf("what is known of another UIDVALIDITY is not reset: %+v", v.deltas)
	}
	v.uids(1, 2)
}

func (s *suite) syncMadeAnew() {
	if s.server.Create == nil {
		s.Skip("there is only INBOX")
	}
	s.server.Create("Archive")
	s.server.Put("Archive", letters(3)...)
	a := s.open()
	v := s.view("Archive")
	v.sync(a, remote.Version{})
	old := v.at()
	s.server.Drop("Archive")
	s.server.Create("Archive")
	s.server.Put("Archive", letter(4))
	retried := remote.Retry(a) // a server may end the connections that have the mailbox open
	v.sync(retried, remote.Version{})
	if len(v.deltas) == 0 || !v.deltas[0].Reset {
		s.Errorf("a mailbox that was made anew is not reset: %+v", v.deltas)
	}
	v.uids(4)
	_, err := s.read(s.Context(), retried, old, 1)
	s.wants("Bodies of the mailbox as it was", err, remote.ErrStale)
}

func (s *suite) syncEmitFails() {
	s.server.Put(inbox, letters(3)...)
	enough := errors.New("enough")
	_, err := s.open().Sync(s.Context(), inbox, remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return enough })
	s.wants("Sync", err, enough)
}
