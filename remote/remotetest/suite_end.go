package remotetest

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func (s *suite) stale() {
	a, v := s.filled(letter(1))
	at := v.at()
	at.UIDValidity++
	for _, m := range methods {
		switch m.name {
		case "Sync", "Mailboxes", "Versions", "Search", "Quota": // name no UIDs
			continue
		}
		if err := m.call(s.Context(), a, at, v.uids(1)[0]); !errors.Is(err, remote.ErrUnsupported) {
			s.wants(m.name, err, remote.ErrStale)
		}
	}
}

func (s *suite) noMailbox() {
	a, v := s.filled(letter(1))
	at := v.at()
	at.Mailbox = "no such mailbox"
	for _, m := range methods {
		switch m.name {
		case "Mailboxes", "Versions", "Quota": // open none
			continue
		}
		if err := m.call(s.Context(), a, at, v.uids(1)[0]); !errors.Is(err, remote.ErrUnsupported) {
			s.wants(m.name, err, remote.ErrNoMailbox)
		}
	}
}

func (s *suite) concurrent() {
	const n = 20
	s.server.Put(inbox, letters(n)...)
	a := s.open() // not connected yet
	v := s.view(inbox)
	v.sync(a, remote.Version{})
	uids := v.uids(count(n)...)
	failed := make(chan error)
	for i := range n {
		go func() {
			for round := range 3 {
				at := v.at()
				at.Priority = remote.Priority((i + round) % 3)
				got, err := s.read(s.Context(), a, at, uids[i])
				if err == nil && !bytes.Equal(got[uids[i]], letter(i+1)) {
					err = errors.New("another message came")
				}
				if err == nil {
					err = methods[(i+round)%len(methods)].call(s.Context(), a, at, uids[i])
				}
				if err != nil && !errors.Is(err, remote.ErrUnsupported) {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range n {
		if err := <-failed; err != nil {
			s.Error(err)
		}
	}
}

// count returns the numbers from 1 to n.
func count(n int) []int {
	var numbers []int
	for i := range n {
		numbers = append(numbers, i+1)
	}
	return numbers
}

func (s *suite) cancelledBefore() {
	a, v := s.filled(letter(1))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	for i, m := range methods {
		err := m.call(ctx, a, v.at(), v.uids(1)[0])
		if i >= 3 && (err == nil || errors.Is(err, remote.ErrUnsupported)) {
			continue // there was nothing to ask for
		}
		s.wants(m.name, err, context.Canceled)
	}
}

// begin starts a call and returns a channel that its error is sent to.
func (s *suite) begin(ctx context.Context, m method, a remote.Account, v *view, uid remote.UID) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- m.call(ctx, a, v.at(), uid) }()
	return ended
}

// within returns the error of a call, and fails the test where none comes soon.
func (s *suite) within(what string, ended <-chan error) error {
	s.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(soon):
		s.Fatalf("%s does not return", what)
		return nil
	}
}

// under is how long a test gives a call to get under way where that can't be seen. On a slow machine the test only proves less.
const under = 50 * time.Millisecond

// held starts Bodies on a server that is frozen, and returns when the command has been sent.
func (s *suite) held(ctx context.Context, a remote.Account, v *view, uid remote.UID) <-chan error {
	s.Helper()
	return s.heldFor(func() error { return methods[0].call(ctx, a, v.at(), uid) })
}

func (s *suite) heldFor(bodies func() error) <-chan error {
	s.Helper()
	ended := make(chan error, 1)
	go func() { ended <- bodies() }()
	for deadline := time.Now().Add(soon); !s.server.Held(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatal("Bodies asks for nothing")
		}
	}
	return ended
}

func (s *suite) cancelled() {
	a, v := s.filled(letters(2)...)
	uid := v.uids(1)[0]
	s.server.Freeze()
	for i, m := range methods {
		ctx, cancel := context.WithCancel(s.Context())
		ended := s.begin(ctx, m, a, v, uid)
		var err error
		early := false
		select {
		case err = <-ended:
			early = true
		case <-time.After(under):
		}
		cancel()
		if early {
			if i < 3 || err != nil && !errors.Is(err, remote.ErrUnsupported) {
				s.Errorf("%s returns %v from a server that is silent", m.name, err)
			}
			continue
		}
		if err = s.within(m.name, ended); err != context.Canceled {
			s.Errorf("%s: the error is %v, want %v", m.name, err, context.Canceled)
		}
	}
}

func (s *suite) cancelledAlone() {
	a, v := s.filled(letters(2)...)
	uid := v.uids(1)[0]
	s.server.Freeze()
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	var returned atomic.Bool
	one := s.heldFor(func() error {
		defer returned.Store(true)
		return a.Bodies(ctx, v.at(), []remote.UID{uid}, func(remote.UID, []byte) {
			if returned.Load() {
				s.Error("a message is handed out after the call has returned")
			}
		})
	})
	other := s.begin(s.Context(), methods[0], a, v, uid)
	time.Sleep(under)
	cancel()
	s.wants("the call that was cancelled", s.within("the call that was cancelled", one), context.Canceled)
	s.server.Thaw()
	if err := s.within("the other call", other); err != nil {
		s.Errorf("the other call: %v", err)
	}
}

func (s *suite) timeout() {
	s.server.Put(inbox, letter(1))
	a := s.openFor(3 * time.Second)
	for deadline := time.Now().Add(patience); a.Connect(s.Context()) != nil && time.Now().Before(deadline); {
		time.Sleep(under) // the machine is too busy for the timeout
	}
	v := s.view(inbox)
	v.sync(a, remote.Version{})
	uid := v.uids(1)[0]
	_, err := s.read(s.Context(), a, v.at(), uid) // so that there is a connection
	s.must(err)
	s.server.Freeze()
	s.wants("Bodies", s.within("Bodies", s.begin(s.Context(), methods[0], a, v, uid)), remote.ErrTimeout)
}

func (s *suite) lost() {
	a, v := s.filled(letters(2)...)
	uid := v.uids(1)[0]
	_, err := s.read(s.Context(), a, v.at(), uid) // so that there is a connection to lose
	s.must(err)
	s.server.Freeze()
	ended := s.held(s.Context(), a, v, uid)
	s.server.Cut()
	s.server.Thaw()
	if err := s.within("Bodies", ended); !s.server.Retries {
		s.wants("Bodies", err, remote.ErrLost)
	} else if err != nil {
		s.Errorf("Bodies: %v", err)
	}
	got, err := s.read(s.Context(), a, v.at(), uid)
	s.must(err)
	if !bytes.Equal(got[uid], letter(1)) {
		s.Errorf("the message is %q", got[uid])
	}
	s.server.Freeze()
	ended = s.held(s.Context(), remote.Retry(a), v, uid)
	s.server.Cut()
	s.server.Thaw()
	if err := s.within("Bodies", ended); err != nil {
		s.Errorf("Bodies that are tried again: %v", err)
	}
}

func (s *suite) closed() {
	a, v := s.filled(letters(2)...)
	uid := v.uids(1)[0]
	s.server.Freeze()
	var all []<-chan error
	for _, m := range methods[:3] {
		all = append(all, s.begin(s.Context(), m, a, v, uid))
	}
	time.Sleep(under)
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }()
	for i, ended := range all {
		s.wants(methods[i].name, s.within(methods[i].name, ended), remote.ErrClosed)
	}
	s.must(s.within("Close", closed))
	s.server.Thaw()
	s.wants("Connect after Close", a.Connect(s.Context()), remote.ErrClosed)
	for _, m := range methods[:3] {
		s.wants(m.name+" after Close", m.call(s.Context(), a, v.at(), uid), remote.ErrClosed)
	}
}
