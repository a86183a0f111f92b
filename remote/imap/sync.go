package imap

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

const (
	listAtOnce  = 5000  // messages of one FETCH: the newest are there soon, and a lost connection loses little
	flagsAtOnce = 20000 // the same where only flags are asked for
	inFlight    = 2     // FETCH commands at a time
	batchSize   = 500   // messages of one Delta
	slack       = 10000 // so many UIDs may be unused before it pays to ask which are used
)

// Sync implements remote.Account. New messages are those from UIDNEXT on; flags come by CONDSTORE (RFC 7162, section
// 3.1.4.1) or all of them; what has vanished is found by SEARCH, but only when the numbers don't add up.
func (a *Account) Sync(ctx context.Context, mailbox string, since, now remote.Version, known *remote.UIDSet,
	emit func(remote.Delta) error) (remote.Version, error) {
	if now.UIDNext == 0 {
		err := a.pool.use(ctx, &request{lane: listing, mailbox: mailbox, fresh: true}, func(s *session) error {
			_, box := a.pool.openOn(s)
			now = remote.Version{
				UIDValidity: box.UIDValidity,
				UIDNext:     remote.UID(box.UIDNext),
				ModSeq:      box.HighestModSeq,
				Messages:    box.NumMessages,
			}
			return nil
		})
		if err != nil {
			return remote.Version{}, err
		}
		if known.Len() == 0 { // a mailbox that is listed for the first time is likely to be read in
			a.pool.open(mailbox)
		}
	}
	y := &syncing{
		a: a, above: a.pool.newest(mailbox), now: now, emit: emit, have: known.Minus(nil), steps: make(chan remote.Delta),
		box: box{listing, remote.Place{Mailbox: mailbox, UIDValidity: now.UIDValidity}},
	}
	if since.UIDValidity != 0 && since.UIDValidity != now.UIDValidity {
		if err := y.take(remote.Delta{Reset: true}); err != nil {
			return remote.Version{}, err
		}
		since = remote.Version{}
	}
	if since == now && now.ModSeq != 0 && now.UIDNext != 0 && known.Len() >= int(now.Messages) {
		return now, nil
	}
	if err := y.all(ctx, since); err != nil {
		return remote.Version{}, err
	}
	return now, nil
}

// Versions implements remote.Account: STATUS of RFC 9051, section 6.3.11, for all mailboxes at once but the one that is open
// on the connection, which STATUS is not for.
func (a *Account) Versions(ctx context.Context, mailboxes []string) ([]remote.Version, error) {
	versions := make([]remote.Version, len(mailboxes))
	err := a.pool.use(ctx, &request{lane: listing, single: true}, func(s *session) error {
		options := &goimap.StatusOptions{
			NumMessages: true, UIDNext: true, UIDValidity: true, HighestModSeq: s.caps.Has(goimap.CapCondStore),
		}
		asked := make([]*imapclient.StatusCommand, len(mailboxes))
		open, _ := a.pool.openOn(s)
		for i, mailbox := range mailboxes {
			if mailbox != open {
				asked[i] = s.client.Status(mailbox, options)
			}
		}
		for i, cmd := range asked {
			if cmd == nil {
				continue
			}
			status, err := cmd.Wait()
			if refused(err) {
				continue
			}
			if err != nil {
				return s.fault(err)
			}
			if status.NumMessages != nil {
				versions[i] = remote.Version{
					UIDValidity: status.UIDValidity, UIDNext: remote.UID(status.UIDNext), ModSeq: status.HighestModSeq,
					Messages: *status.NumMessages,
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return versions, nil
}

// syncing is one call of Sync.
type syncing struct {
	box
	a     *Account
	above *atomic.Uint32 // see pool.newest
	now   remote.Version
	steps chan remote.Delta // from the goroutines that fetch to the one of Sync

	// Of the goroutine of Sync.
	emit func(remote.Delta) error
	have *remote.UIDSet // what the caller knows

	mu         sync.Mutex // guards what follows
	unparsable int        // answers that go-imap could not parse, at this level
	level      int        // index into levels
	doubtful   bool       // the server has refused to list something
	fatal      int        // messages over which the server has ended the connection
}

// all brings the caller from the version since to the version now.
func (y *syncing) all(ctx context.Context, since remote.Version) error {
	known := y.have.Minus(nil)
	messages := int(y.now.Messages)
	if messages == 0 {
		if known.Len() == 0 {
			return nil
		}
		return y.take(remote.Delta{Present: &remote.UIDSet{}})
	}
	// there is every UID in the mailbox. It is nil where the server must be asked for it before anything else.
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

// rest asks once more for the messages that are there and have not come, and lists what does not come then either item by
// item or by its UID.
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

// present asks which messages there are, and tells the caller if it knows messages that are gone.
func (y *syncing) present(ctx context.Context) (*remote.UIDSet, error) {
	there, err := y.a.search(ctx, y.box, nil, 2*int(y.now.Messages)+slack)
	if err != nil {
		return nil, err
	}
	y.above.Store(max(y.above.Load(), uint32(there.Last()+1)))
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
	last := remote.UID(y.above.Load())
	for i := range d.Messages {
		y.have.Add(d.Messages[i].UID)
		last = max(last, d.Messages[i].UID+1)
	}
	y.above.Store(uint32(last)) // nothing is lost: a mailbox has one listing at a time
	return y.emit(d)
}

// job is a part of the work of a Sync that can go on beside others.
type job func(context.Context) error

// run does jobs, inFlight at a time, and takes the steps that they send.
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

// send hands a step to the goroutine of Sync, unless that has returned.
func (y *syncing) send(ctx context.Context, d remote.Delta) {
	select {
	case y.steps <- d:
	case <-ctx.Done():
	}
}

// lists returns the jobs that list messages, the newest first.
func (y *syncing) lists(want *remote.UIDSet, perFetch int) []job {
	var jobs []job
	for _, set := range wire.Chunks(want, y.have, perFetch) {
		jobs = append(jobs, func(ctx context.Context) error { return y.list(ctx, set) })
	}
	return jobs
}

// list lists messages. Those that came without all that was asked for, as where the server told of the flags unasked, are
// asked for once more.
func (y *syncing) list(ctx context.Context, set *remote.UIDSet) error {
	for again := range 2 {
		came, partial, err := y.fetch(ctx, set, y.want(), false)
		switch {
		case errors.Is(err, wire.ErrUnparsable):
			return y.isolate(ctx, set.Minus(came))
		case refused(err):
			y.doubt()
		case errors.Is(err, remote.ErrLost):
			return y.outlive(ctx, set.Minus(came))
		case err != nil:
			return err
		}
		if len(partial) == 0 {
			return nil
		}
		if again > 0 {
			return y.complete(ctx, partial)
		}
		set = &remote.UIDSet{}
		for _, m := range partial {
			set.Add(m.UID)
		}
	}
	return nil
}

// fetch lists the messages of a set with one FETCH for the items want, with nothing else on the connection if alone is set.
// came are the messages that are listed. partial are those that came without all items, which are not listed.
func (y *syncing) fetch(ctx context.Context, set *remote.UIDSet, want items, alone bool) (
	came *remote.UIDSet, partial []remote.Message, err error) {
	came = &remote.UIDSet{}
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
		err := s.fetch(set, want.options(), false, func(data *imapclient.FetchMessageData) error {
			var (
				m   remote.Message
				got items
				err error
			)
			m, got, arena, err = readMessage(data, arena)
			switch {
			case err != nil:
				return err
			case !set.Contains(m.UID) || came.Contains(m.UID):
				return nil
			case got&want != want:
				partial = append(partial, m)
				return nil
			}
			came.Add(m.UID)
			m.Incomplete = y.a.incomplete(got)
			if batch = append(batch, m); len(batch) == batchSize {
				flush()
			}
			return nil
		})
		flush()
		return err
	})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err() // what is returned may still be written
	}
	return came, partial, err
}
