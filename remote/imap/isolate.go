package imap

import (
	"context"
	"errors"
	"strconv"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// levels are the items that messages are listed with: the next level when too many answers can't be parsed at the one before.
// The last asks for nothing: all that is known then is that the message is there.
var levels = [...]items{everything, size | header, size, 0}

// enough is how many answers that can't be parsed are put up with at one level.
const enough = 8

// isolate lists messages of which at least one comes in an answer that go-imap can't parse. Servers answer in order: the
// first message that does not come is the suspect, and is listed by itself. Every such answer costs a connection; after some
// of them less is asked for.
func (y *syncing) isolate(ctx context.Context, set *remote.UIDSet) error {
	if set.Len() == 0 {
		return nil
	}
	set, err := y.a.search(ctx, y.box, set, set.Len())
	if err != nil {
		return err
	}
	for set.Len() > 0 {
		want := y.want()
		if want == 0 {
			return y.bare(ctx, set)
		}
		came, partial, err := y.fetch(ctx, set, want, true)
		switch {
		case refused(err):
			y.doubt()
			return y.complete(ctx, partial)
		case err == nil:
			return y.complete(ctx, partial)
		case !errors.Is(err, wire.ErrUnparsable):
			return err
		}
		if set = set.Minus(came); set.Len() == 0 {
			return nil
		}
		y.count(err)
		suspect := set.Ranges()[0].First
		if err := y.piecemeal(ctx, suspect); err != nil {
			return err
		}
		set = set.Minus(remote.NewUIDSet(suspect))
	}
	return nil
}

// mostFatal is how many messages a server may end the connection over. If there are more, the server or the network is out of
// order.
const mostFatal = 2

// outlive lists messages amid which the connection was lost. If the connection is lost again at the same message, that one is
// listed item by item, once the others are listed.
func (y *syncing) outlive(ctx context.Context, set *remote.UIDSet) error {
	var fatal []remote.Message
	done := func(partial []remote.Message) error {
		if len(fatal) > 0 {
			y.send(ctx, remote.Delta{Messages: fatal})
		}
		return y.complete(ctx, partial)
	}
	for set.Len() > 0 {
		first := set.Ranges()[0].First
		came, partial, err := y.fetch(ctx, set, y.want(), true)
		if ctx.Err() != nil {
			return err
		}
		set = set.Minus(came)
		switch {
		case errors.Is(err, wire.ErrUnparsable):
			return y.isolate(ctx, set)
		case refused(err):
			y.doubt()
			return done(partial)
		case err == nil:
			return done(partial)
		case !errors.Is(err, remote.ErrLost):
			return err
		case !set.Contains(first):
			continue // it came further this time
		}
		y.mu.Lock()
		y.fatal++
		most := y.fatal > mostFatal
		y.mu.Unlock()
		if most {
			return err
		}
		m, err := y.items(ctx, first, true)
		if err != nil {
			return err
		}
		fatal = append(fatal, m)
		set = set.Minus(remote.NewUIDSet(first))
	}
	return done(nil)
}

// complete lists messages that came without all that was asked for: item by item, with one command for each item where
// there are many messages.
func (y *syncing) complete(ctx context.Context, partial []remote.Message) error {
	if len(partial) > enough {
		return y.byItem(ctx, partial)
	}
	for _, m := range partial {
		if err := y.piecemeal(ctx, m.UID); err != nil {
			return err
		}
	}
	return nil
}

// byItem lists messages with what can be had of them when each item is asked for alone.
func (y *syncing) byItem(ctx context.Context, partial []remote.Message) error {
	set := &remote.UIDSet{}
	byUID := make(map[remote.UID]*remote.Message, len(partial))
	told := make(map[remote.UID]items, len(partial))
	for i := range partial {
		set.Add(partial[i].UID)
		byUID[partial[i].UID] = &partial[i]
	}
	y.a.log.Warn("the server does not send all items of messages: each item is asked for alone", "mailbox", y.Mailbox,
		"messages", len(partial))
	for _, item := range []items{size, date, flags, header, heading} {
		if item == heading {
			for uid, m := range byUID {
				if len(m.Header) > 0 {
					set = set.Minus(remote.NewUIDSet(uid))
				}
			}
		}
		if set.Len() == 0 {
			break
		}
		if err := y.fill(ctx, set, item, byUID, told); err != nil {
			return err
		}
	}
	for i := range partial {
		partial[i].Incomplete = y.a.incomplete(told[partial[i].UID])
	}
	y.send(ctx, remote.Delta{Messages: partial})
	return nil
}

// fill asks for one item of messages, puts it into them, and adds it to told. A server that refuses leaves them as they are.
func (y *syncing) fill(ctx context.Context, set *remote.UIDSet, want items, into map[remote.UID]*remote.Message,
	told map[remote.UID]items) error {
	var came []remote.Message
	err := y.a.pool.use(ctx, y.fetching(set, false), func(s *session) error {
		var arena []byte
		return s.fetch(set, want.options(), false, func(data *imapclient.FetchMessageData) (err error) {
			var m remote.Message
			var got items
			if m, got, arena, err = readMessage(data, arena); err == nil && got&want != 0 {
				came = append(came, m)
			}
			return err
		})
	})
	if ctx.Err() != nil {
		return ctx.Err() // came may still be written
	}
	if err != nil && !refused(err) && !errors.Is(err, wire.ErrUnparsable) {
		return err
	}
	for _, m := range came {
		to := into[m.UID]
		told[m.UID] |= want
		switch {
		case to == nil:
		case want == size:
			to.Size = m.Size
		case want == date:
			to.Date = m.Date
		case want == flags:
			to.Flags = m.Flags
		default:
			to.Header = m.Header
		}
	}
	return nil
}

// piecemeal lists one message with whichever items can be had one by one.
func (y *syncing) piecemeal(ctx context.Context, uid remote.UID) error {
	m, err := y.items(ctx, uid, false)
	if err == nil {
		y.send(ctx, remote.Delta{Messages: []remote.Message{m}})
	}
	return err
}

// items returns what can be had of one message item by item. fatal says that the message was fatal to connections: an item
// that ends one more of them is left out.
func (y *syncing) items(ctx context.Context, uid remote.UID, fatal bool) (remote.Message, error) {
	m := remote.Message{UID: uid, Key: strconv.FormatUint(uint64(uid), 10)}
	var without []string
	var told items
	for _, item := range []struct {
		items
		name string
	}{{size, "RFC822.SIZE"}, {date, "INTERNALDATE"}, {flags, "FLAGS"}, {header, "HEADER.FIELDS"}, {heading, "HEADER"}} {
		if item.items == heading && m.Header != nil {
			break
		}
		part, got, err := y.a.one(ctx, y.box, uid, item.items, true)
		if err != nil && !refused(err) && !errors.Is(err, wire.ErrUnparsable) && !(fatal && errors.Is(err, remote.ErrLost)) {
			return m, err
		}
		if got == 0 {
			without = append(without, item.name)
			continue
		}
		told |= item.items
		switch item.items {
		case size:
			m.Size = part.Size
		case date:
			m.Date = part.Date
		case flags:
			m.Flags = part.Flags
		default:
			m.Header = part.Header
		}
	}
	m.Incomplete = y.a.incomplete(told)
	y.a.log.Warn("a message had to be listed item by item", "mailbox", y.Mailbox, "uid", uid, "without", without)
	return m, nil
}

// bare lists messages of which nothing is known but their UIDs.
func (y *syncing) bare(ctx context.Context, set *remote.UIDSet) error {
	if set.Len() == 0 {
		return nil
	}
	y.a.log.Warn("nothing is known of messages but their UIDs", "mailbox", y.Mailbox, "messages", set.Len())
	var batch []remote.Message
	for _, r := range set.Ranges() {
		for uid := r.First; uid <= r.Last; uid++ {
			batch = append(batch, remote.Message{UID: uid, Key: strconv.FormatUint(uint64(uid), 10), Incomplete: true})
		}
	}
	y.send(ctx, remote.Delta{Messages: batch})
	return nil
}

// incomplete tells whether a message of which the server has told some items has more to tell: a header, and the size and the
// date if the server tells these of any message.
func (a *Account) incomplete(told items) bool {
	a.told.Or(uint32(told))
	return told&(header|heading) == 0 || items(a.told.Load())&^told&(size|date) != 0
}

// want returns the items of the present level.
func (y *syncing) want() items {
	y.mu.Lock()
	defer y.mu.Unlock()
	return levels[y.level]
}

// count notes an answer that could not be parsed, and goes to the next level if there were enough.
func (y *syncing) count(why error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.unparsable++
	if y.unparsable > enough && y.level < len(levels)-1 {
		y.unparsable = 0
		y.level++
		y.a.log.Warn("too many messages of a mailbox can't be understood: fewer items are asked for", "mailbox", y.Mailbox, "error", why)
	}
}

// doubt notes that the server has refused to list something, so that it is asked which messages there are.
func (y *syncing) doubt() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.doubtful = true
}
