package cache

import (
	"context"

	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// ahead notes that a message is read, and fetches ahead of its reader.
func (m *Mailbox) ahead(ref Ref) {
	t, _ := m.table.Known()
	if t == nil || t.UIDValidity() != ref.UIDValidity {
		return
	}
	i := t.Index(ref.UID)
	if i < 0 {
		return
	}
	a := m.account
	most := a.options.Memory / 4
	want, long := m.walks.Step(t, i, walk.Limits{
		Ahead: most, Room: most - a.bodies.ahead.Load(), Part: 1, Consecutive: a.consecutive.Read(m, (*Mailbox).readToEnd),
	})
	probe := remote.UID(0)
	if long {
		probe = walk.Probe(t, want)
	}
	for batch := range walk.Batches(t, want) {
		m.fetchAhead(t, batch, probe)
	}
}

// readToEnd tells whether the reader that read last in a mailbox has come to its end.
func (m *Mailbox) readToEnd() bool {
	t, _ := m.table.Known()
	return m.walks.Finished(t)
}

// fetchAhead begins to fetch what is not here already. If probe is not 0, all but that message are pushed to the kernel once
// they are here.
func (m *Mailbox) fetchAhead(t *Table, uids []remote.UID, probe remote.UID) {
	a, validity := m.account, t.UIDValidity()
	fetches := map[remote.UID]*fetch{}
	pushed := func(uid remote.UID) bool {
		return probe != 0 && uid != probe && a.store != nil && a.pushes.push != nil
	}
	onDisk := map[remote.UID]bool{} // found out before m.inflight.mu is locked: the filesystem may have to be asked
	for _, uid := range uids {
		if a.store != nil && !pushed(uid) {
			onDisk[uid] = a.disk.Has(a.diskKey(m, Ref{UIDValidity: validity, UID: uid}))
		}
	}
	m.inflight.mu.Lock()
	for _, uid := range uids {
		key, push := bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}, pushed(uid)
		if m.inflight.fetches[key] != nil || a.bodies.Has(key) || onDisk[uid] {
			continue
		}
		fetches[uid] = m.inflight.startLocked(key)
		fetches[uid].ahead = t.Size(t.Index(uid))
		a.bodies.ahead.Add(fetches[uid].ahead)
		m.inflight.aheadAsked += fetches[uid].ahead
		fetches[uid].place = m.inflight.aheadAsked
		fetches[uid].push = push
	}
	m.inflight.mu.Unlock()
	if len(fetches) == 0 {
		return
	}
	if !a.tasks.Run(func(ctx context.Context) { m.fetchBodies(ctx, m.at(validity, remote.Readahead), fetches) }) {
		for uid, f := range fetches {
			m.inflight.finish(bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}, f, nil, remote.ErrClosed)
		}
	}
}
