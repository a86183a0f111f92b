package imap

import (
	"context"
	"errors"
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// Mailboxes implements remote.Account with LIST (RFC 9051, section 6.3.9), of the namespaces of other users and of
// shared ones too (RFC 2342).
func (a *Account) Mailboxes(ctx context.Context) ([]remote.Mailbox, error) {
	var found []*goimap.ListData
	err := a.pool.use(ctx, &request{lane: listing, single: true}, func(s *session) error {
		var err error
		found, err = a.list(s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a.mailboxes(found), nil
}

// list returns what LIST tells of the mailboxes in all namespaces.
func (a *Account) list(s *session) ([]*goimap.ListData, error) {
	var options *goimap.ListOptions
	if s.caps.Has(goimap.CapListExtended) && s.caps.Has(goimap.CapSpecialUse) {
		options = &goimap.ListOptions{ReturnSpecialUse: true}
	}
	var namespaces *imapclient.NamespaceCommand
	if s.caps.Has(goimap.CapNamespace) {
		namespaces = s.client.Namespace()
	}
	found, err := s.client.List("", "*", options).Collect()
	var prefixes []string
	if namespaces != nil {
		spaces, err := namespaces.Wait()
		if _, refused := errors.AsType[*goimap.Error](err); err != nil && !refused {
			return nil, s.fault(err)
		}
		for _, n := range slices.Concat(spaces.Other, spaces.Shared) {
			if prefix, ok := wire.Decode(n.Prefix); ok && prefix != "" {
				prefixes = append(prefixes, prefix)
			}
		}
	}
	if err != nil {
		return nil, s.fault(err)
	}
	for _, prefix := range prefixes {
		if slices.ContainsFunc(found, func(l *goimap.ListData) bool { return strings.HasPrefix(l.Mailbox, prefix) }) {
			continue // "*" has listed the namespace, too
		}
		more, err := s.client.List("", prefix+"*", options).Collect()
		if _, refused := errors.AsType[*goimap.Error](err); err != nil && !refused {
			return nil, s.fault(err)
		}
		found = append(found, more...)
	}
	return found, nil
}

// mailboxes makes mailboxes with unique names and paths of what LIST told, parents before children.
func (a *Account) mailboxes(found []*goimap.ListData) []remote.Mailbox {
	names, paths := map[string]int{}, map[string]bool{}
	list := make([]remote.Mailbox, 0, len(found))
	// The order decides which of two names that look the same keeps its path. It must not depend on the server.
	slices.SortStableFunc(found, func(x, y *goimap.ListData) int { return strings.Compare(x.Mailbox, y.Mailbox) })
	for _, l := range found {
		m := remote.Mailbox{Name: l.Mailbox, Selectable: !unselectable(l.Attrs), Role: role(l.Attrs)}
		if i, known := names[m.Name]; known {
			if !list[i].Selectable && m.Selectable {
				m.Path = list[i].Path
				list[i] = m
			} else if m.Selectable {
				a.log.Warn("two mailboxes have the same name: only one of them can be opened", "mailbox", m.Name)
			}
			continue
		}
		for exact := range 3 {
			if m.Path = split(l.Mailbox, l.Delim, exact); !paths[strings.Join(m.Path, "\x00")] {
				break
			}
		}
		paths[strings.Join(m.Path, "\x00")] = true
		names[m.Name] = len(list)
		list = append(list, m)
	}
	slices.SortFunc(list, func(x, y remote.Mailbox) int { return slices.Compare(x.Path, y.Path) })
	return list
}

// split returns the levels of a name. An empty level becomes the delimiter itself, which no other level can be. exact is for
// names that would have the same levels otherwise: 0 drops a delimiter at the end and spells INBOX as the protocol does, 1
// keeps the delimiter, 2 keeps the spelling too.
func split(name string, delim rune, exact int) []string {
	path := []string{name}
	if delim != 0 && strings.Trim(name, string(delim)) != "" {
		if exact < 1 {
			name = strings.TrimSuffix(name, string(delim))
		}
		path = strings.Split(name, string(delim))
		for i, level := range path {
			if level == "" {
				path[i] = string(delim)
			}
		}
	}
	if exact < 2 && strings.EqualFold(path[0], "INBOX") {
		path[0] = "INBOX"
	}
	return path
}

// unselectable tells whether a mailbox can't be opened.
func unselectable(attrs []goimap.MailboxAttr) bool {
	return slices.Contains(attrs, goimap.MailboxAttrNoSelect) || slices.Contains(attrs, goimap.MailboxAttrNonExistent)
}

// role returns the special use of a mailbox (RFC 6154, section 2).
func role(attrs []goimap.MailboxAttr) remote.Role {
	switch {
	case slices.Contains(attrs, goimap.MailboxAttrSent):
		return remote.RoleSent
	case slices.Contains(attrs, goimap.MailboxAttrDrafts):
		return remote.RoleDrafts
	}
	return remote.RoleNone
}

// Count returns how many messages a mailbox holds, without opening it (STATUS of RFC 9051, section 6.3.11).
func (a *Account) Count(ctx context.Context, mailbox string) (messages int, err error) {
	err = a.pool.use(ctx, &request{lane: listing, single: true}, func(s *session) error {
		status, err := s.client.Status(mailbox, &goimap.StatusOptions{NumMessages: true}).Wait()
		if err != nil {
			return s.whyNot(mailbox, err)
		}
		if status.NumMessages != nil {
			messages = int(*status.NumMessages)
		}
		return nil
	})
	return messages, err
}
