package imap

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
)

const (
	listAtOnce  = 5000  // messages of one FETCH: the newest are there soon, and a lost connection loses little
	flagsAtOnce = 20000 // the same where only flags are asked for
	inFlight    = 2     // FETCH commands at a time
	batchSize   = 500   // messages of one Delta
	slack       = 10000 // UIDs that may be unused before it pays to ask which are used
)

// Sync implements remote.Account. New messages are those from UIDNEXT on; flags come by CONDSTORE (RFC 7162, section
// 3.1.4.1) or all of them; what has vanished is found by SEARCH, but only when the numbers don't add up.
func (a *Account) Sync(ctx context.Context, mailbox string, since remote.Version, known *remote.UIDSet,
	emit func(remote.Delta) error) (remote.Version, error) {
	var now remote.Version
	err := a.pool.use(ctx, &request{lane: listing, mailbox: mailbox, fresh: true}, func(s *session) error {
		now = remote.Version{
			UIDValidity: s.box.UIDValidity,
			UIDNext:     remote.UID(s.box.UIDNext),
			ModSeq:      s.box.HighestModSeq,
			Messages:    s.box.NumMessages,
		}
		return nil
	})
	if err != nil {
		return remote.Version{}, err
	}
	y := &syncing{
		a: a, now: now, emit: emit, have: known.Minus(nil), steps: make(chan remote.Delta),
		box: box{lane: listing, mailbox: mailbox, validity: now.UIDValidity},
	}
	if since.UIDValidity != 0 && since.UIDValidity != now.UIDValidity {
		if err := y.take(remote.Delta{Reset: true}); err != nil {
			return remote.Version{}, err
		}
		since = remote.Version{}
	}
	if since == now && now.ModSeq != 0 && now.UIDNext != 0 {
		return now, nil
	}
	if err := y.all(ctx, since); err != nil {
		return remote.Version{}, err
	}
	return now, nil
}

// syncing is one call of Sync.
type syncing struct {
	box
	a     *Account
	now   remote.Version
	steps chan remote.Delta // from the goroutines that fetch to the one of Sync

	// Of the goroutine of Sync.
	emit func(remote.Delta) error
	have *remote.UIDSet // what the caller knows

	mu       sync.Mutex // guards what follows
	garbled  int        // answers that go-imap could not parse, at this level
	level    int        // into levels
	doubtful bool       // the server has refused to list something
}

// levels are what messages are listed with, when too many answers can't be parsed with what was asked for before. The last
// asks for nothing: all that is known then is that the message is there.
var levels = [...]items{everything, size | header, size, 0}

// enough is how many answers that can't be parsed are put up with before the next level.
const enough = 8

// all brings the caller from since to now.
func (y *syncing) all(ctx context.Context, since remote.Version) error {
	known := y.have.Minus(nil)
	messages := int(y.now.Messages)
	if messages == 0 {
		if known.Len() == 0 {
			return nil
		}
		return y.take(remote.Delta{Present: &remote.UIDSet{}})
	}
	// there is every UID in the mailbox, where it had to be asked for.
	var there *remote.UIDSet
	want, perFetch := &remote.UIDSet{}, listAtOnce
	last := y.now.UIDNext - 1
	switch {
	case y.now.UIDNext == 0: // not told
	case since.UIDNext != 0 && since.UIDNext <= y.now.UIDNext:
		grown := max(messages-known.Len(), 0)
		if int64(y.now.UIDNext-since.UIDNext) <= int64(2*grown+slack) {
			want.AddRange(since.UIDNext, last)
			want = want.Minus(known)
			there = &remote.UIDSet{}
		}
	case known.Len() == 0 && int64(last) <= int64(2*messages+slack):
		want.AddRange(1, last)
		perFetch = max(perFetch, int(uint64(listAtOnce)*uint64(last)/uint64(messages)))
		there = &remote.UIDSet{}
	}
	asked := there == nil
	if asked {
		var err error
		if there, err = y.present(ctx); err != nil {
			return err
		}
		want = there.Minus(y.have)
	}
	work := y.lists(want, perFetch)
	work = append(work, y.flagChanges(since, known)...)
	if err := y.run(ctx, work); err != nil {
		return err
	}
	if !asked && (y.have.Len() != messages || y.doubtful) {
		var err error
		if there, err = y.present(ctx); err != nil {
			return err
		}
		asked = true
	}
	if !asked {
		return nil
	}
	return y.rest(ctx, there)
}

// rest asks once more for what is there and has not come, and lists it as well as it can.
func (y *syncing) rest(ctx context.Context, there *remote.UIDSet) error {
	missing := there.Minus(y.have)
	if missing.Len() == 0 {
		return nil
	}
	if err := y.run(ctx, y.lists(missing, listAtOnce)); err != nil {
		return err
	}
	if missing = there.Minus(y.have); missing.Len() == 0 {
		return nil
	}
	missing, err := y.a.search(ctx, y.box, missing, missing.Len())
	if err != nil || missing.Len() == 0 {
		return err
	}
	return y.run(ctx, []job{func(ctx context.Context) error {
		for n := 0; n < enough && missing.Len() > 0; n++ {
			first := missing.Ranges()[0].First
			if err := y.piecemeal(ctx, first); err != nil {
				return err
			}
			missing = missing.Minus(remote.NewUIDSet(first))
		}
		return y.bare(ctx, missing)
	}})
}

// present asks which messages there are and tells the caller, if it knows others.
func (y *syncing) present(ctx context.Context) (*remote.UIDSet, error) {
	there, err := y.a.search(ctx, y.box, nil, 2*int(y.now.Messages)+slack)
	if err != nil {
		return nil, err
	}
	if y.have.Minus(there).Len() > 0 {
		err = y.take(remote.Delta{Present: there})
	}
	return there, err
}

// take hands a step to the caller.
func (y *syncing) take(d remote.Delta) error {
	d.UIDValidity, d.Total = y.now.UIDValidity, y.now.Messages
	switch {
	case d.Reset:
		y.have = &remote.UIDSet{}
	case d.Present != nil:
		y.have = y.have.Minus(y.have.Minus(d.Present))
	}
	for i := range d.Messages {
		y.have.Add(d.Messages[i].UID)
	}
	return y.emit(d)
}

// job is a part of the work that can go on beside others.
type job func(context.Context) error

// run does jobs, some at a time, and takes the steps that they send.
func (y *syncing) run(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	within, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	results := make(chan error, len(jobs))
	left := len(jobs)
	start := func() {
		if len(jobs) > 0 {
			next := jobs[0]
			jobs = jobs[1:]
			running.Go(func() { results <- next(within) })
		}
	}
	for range inFlight {
		start()
	}
	for left > 0 {
		select {
		case d := <-y.steps:
			if err := y.take(d); err != nil {
				return err
			}
		case err := <-results:
			if err != nil {
				return err
			}
			left--
			start()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// send hands a step to the goroutine of Sync, if that still wants it.
func (y *syncing) send(ctx context.Context, d remote.Delta) {
	select {
	case y.steps <- d:
	case <-ctx.Done():
	}
}

// lists returns the jobs that list messages, the newest first.
func (y *syncing) lists(want *remote.UIDSet, perFetch int) []job {
	var jobs []job
	for _, set := range chunks(want, y.have, perFetch) {
		jobs = append(jobs, func(ctx context.Context) error { return y.list(ctx, set) })
	}
	return jobs
}

// list lists messages. One that came without all that was asked for, as when the server told of its flags unasked, is
// asked for again on its own.
func (y *syncing) list(ctx context.Context, set *remote.UIDSet) error {
	for range 2 {
		came, partial, err := y.fetch(ctx, set, y.want(), false)
		switch {
		case errors.Is(err, errGarbled):
			return y.isolate(ctx, set.Minus(came))
		case refused(err):
			y.doubt()
		case err != nil:
			return err
		}
		if partial.Len() == 0 {
			return nil
		}
		set = partial
	}
	return y.eachPiecemeal(ctx, set)
}

// isolate lists messages of which one, at least, comes in an answer that go-imap can't parse. Servers answer in order: the
// first that does not come is the suspect, and listed by itself. Every such answer costs a connection; after some of them
// less is asked for.
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
			return y.eachPiecemeal(ctx, partial)
		case err == nil:
			return y.eachPiecemeal(ctx, partial)
		case !errors.Is(err, errGarbled):
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

func (y *syncing) eachPiecemeal(ctx context.Context, set *remote.UIDSet) error {
	for _, r := range set.Ranges() {
		for uid := r.First; uid <= r.Last; uid++ {
			if err := y.piecemeal(ctx, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// piecemeal lists one message with whichever items can be had one by one.
func (y *syncing) piecemeal(ctx context.Context, uid remote.UID) error {
	m := remote.Message{UID: uid, Key: strconv.FormatUint(uint64(uid), 10)}
	var without []string
	for _, item := range []struct {
		items
		name string
	}{{size, "RFC822.SIZE"}, {date, "INTERNALDATE"}, {flags, "FLAGS"}, {header, "HEADER.FIELDS"}, {heading, "HEADER"}} {
		if item.items == heading && m.Header != nil {
			break
		}
		part, got, err := y.a.one(ctx, y.box, uid, item.items, true)
		if err != nil && !refused(err) && !errors.Is(err, errGarbled) {
			return err
		}
		if got == 0 {
			without = append(without, item.name)
			continue
		}
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
	y.a.log.Warn("a message had to be listed item by item", "mailbox", y.mailbox, "uid", uid, "without", without)
	y.send(ctx, remote.Delta{Messages: []remote.Message{m}})
	return nil
}

// bare lists messages of which nothing can be had but that they are there.
func (y *syncing) bare(ctx context.Context, set *remote.UIDSet) error {
	if set.Len() == 0 {
		return nil
	}
	y.a.log.Warn("messages are listed by number only", "mailbox", y.mailbox, "messages", set.Len())
	var batch []remote.Message
	for _, r := range set.Ranges() {
		for uid := r.First; uid <= r.Last; uid++ {
			batch = append(batch, remote.Message{UID: uid, Key: strconv.FormatUint(uint64(uid), 10)})
		}
	}
	y.send(ctx, remote.Delta{Messages: batch})
	return nil
}

// want returns what is asked for at this time.
func (y *syncing) want() items {
	y.mu.Lock()
	defer y.mu.Unlock()
	return levels[y.level]
}

// count notes an answer that could not be parsed.
func (y *syncing) count(why error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.garbled++
	if y.garbled > enough && y.level < len(levels)-1 {
		y.garbled = 0
		y.level++
		y.a.log.Warn("too much of a mailbox can't be understood; less is asked for", "mailbox", y.mailbox, "error", why)
	}
}

func (y *syncing) doubt() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.doubtful = true
}

// fetch lists what comes of a set in one FETCH. partial are the messages that came without all that was asked for; they
// are not listed.
func (y *syncing) fetch(ctx context.Context, set *remote.UIDSet, want items, alone bool) (came, partial *remote.UIDSet, err error) {
	came, partial = &remote.UIDSet{}, &remote.UIDSet{}
	err = y.a.pool.use(ctx, y.fetching(set, alone), func(s *session) error {
		var (
			batch []remote.Message
			arena []byte
		)
		flush := func() {
			if len(batch) > 0 {
				y.send(ctx, remote.Delta{Messages: batch})
			}
			batch, arena = nil, nil
		}
		err := s.fetch(set, want.options(), false, func(data *imapclient.FetchMessageData) {
			var (
				m   remote.Message
				got items
			)
			m, got, arena = readMessage(data, arena)
			switch {
			case !set.Contains(m.UID) || came.Contains(m.UID):
				return
			case got&want != want:
				partial.Add(m.UID)
				return
			}
			came.Add(m.UID)
			if batch = append(batch, m); len(batch) == batchSize {
				flush()
			}
		})
		flush()
		return err
	})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err() // the sets may still be written
	}
	return came, partial, err
}

// flagChanges returns the jobs that ask for the flags of known messages.
func (y *syncing) flagChanges(since remote.Version, known *remote.UIDSet) []job {
	ranges := known.Ranges()
	if len(ranges) == 0 || y.a.flags.has(y.mailbox) {
		return nil
	}
	if since.ModSeq != 0 && y.now.ModSeq >= since.ModSeq {
		if y.now.ModSeq == since.ModSeq {
			return nil
		}
		set := &remote.UIDSet{}
		set.AddRange(ranges[0].First, ranges[len(ranges)-1].Last)
		return []job{func(ctx context.Context) error { return y.fetchFlags(ctx, set, since.ModSeq) }}
	}
	var jobs []job
	for _, set := range chunks(known, nil, flagsAtOnce) {
		jobs = append(jobs, func(ctx context.Context) error { return y.fetchFlags(ctx, set, 0) })
	}
	return jobs
}

// fetchFlags asks for the flags that have changed since a MODSEQ, or all if that is 0. Where the answer can't be parsed,
// the flags of the mailbox are left as they are known from then on.
func (y *syncing) fetchFlags(ctx context.Context, set *remote.UIDSet, changedSince uint64) error {
	options := flags.options()
	options.ChangedSince = changedSince
	for _, alone := range []bool{false, true} {
		err := y.a.pool.use(ctx, y.fetching(set, alone), func(s *session) error {
			var batch []remote.FlagChange
			flush := func() {
				if len(batch) > 0 {
					y.send(ctx, remote.Delta{Flags: batch})
				}
				batch = nil
			}
			err := s.fetch(set, options, false, func(data *imapclient.FetchMessageData) {
				m, got, _ := readMessage(data, nil)
				if got&flags == 0 {
					return
				}
				if batch = append(batch, remote.FlagChange{UID: m.UID, Flags: m.Flags}); len(batch) == batchSize {
					flush()
				}
			})
			flush()
			return err
		})
		switch {
		case errors.Is(err, errGarbled) && alone:
			y.a.flags.add(y.mailbox)
			y.a.log.Warn("flags can't be understood and will not be refreshed", "mailbox", y.mailbox, "error", err)
			return nil
		case errors.Is(err, errGarbled):
		default:
			return err
		}
	}
	return nil
}

// unreadable is a set of mailboxes whose flags can't be understood.
type unreadable struct {
	mu  sync.Mutex
	set map[string]bool
}

func (u *unreadable) has(mailbox string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.set[mailbox]
}

func (u *unreadable) add(mailbox string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.set == nil {
		u.set = map[string]bool{}
	}
	u.set[mailbox] = true
}

// rangesAtOnce keeps a command within the 8,000 bytes that servers must accept (RFC 7162, section 4).
const rangesAtOnce = 300

// chunks cuts a set into parts for one FETCH each, the last UIDs first: at most n of the UIDs, in few ranges. A range goes
// on across UIDs that are in neither set, since asking for what does not exist costs nothing.
func chunks(want, have *remote.UIDSet, n int) []*remote.UIDSet {
	var (
		parts []*remote.UIDSet
		part  []remote.UIDRange // descending
		room  = n
	)
	cut := func() {
		set := &remote.UIDSet{}
		for i := len(part) - 1; i >= 0; i-- {
			set.AddRange(part[i].First, part[i].Last)
		}
		parts = append(parts, set)
		part, room = nil, n
	}
	ranges := want.Ranges()
	for i := len(ranges) - 1; i >= 0; i-- {
		for rest := ranges[i]; ; {
			r := rest
			if count := r.Last - r.First + 1; count > remote.UID(room) {
				r.First = r.Last - remote.UID(room) + 1
			}
			room -= int(r.Last - r.First + 1)
			if k := len(part) - 1; k >= 0 && !meet(between(r.Last, part[k].First), have) {
				part[k].First = r.First
			} else {
				part = append(part, r)
			}
			if room == 0 || len(part) == rangesAtOnce {
				cut()
			}
			if r.First == rest.First {
				break
			}
			rest.Last = r.First - 1
		}
	}
	if len(part) > 0 {
		cut()
	}
	return parts
}

// between returns the UIDs above a and below b.
func between(a, b remote.UID) *remote.UIDSet {
	set := &remote.UIDSet{}
	set.AddRange(a+1, b-1)
	return set
}
