package cache

// enoughSizes is how many announced sizes must have been right before the others are relied on.
const enoughSizes = 16

// SizesHold tells whether the sizes that the server announces have been compared with enough bodies to be relied on, and
// never were wrong.
func (a *Account) SizesHold() bool { return a.sizes.Hold(enoughSizes) }

// verify notes the size that a message really has, and tells of it where the server announced another one.
func (m *Mailbox) verify(ref Ref, size int64) {
	t, i, announced, verified := m.sizes.Note(func() *Table { t, _ := m.table.Known(); return t }, ref, size)
	if i < 0 {
		return
	}
	switch a := m.account; {
	case announced != size:
		if a.sizes.Wrong.Add(1) == 1 {
			a.log.Warn("the server announces wrong sizes: each message is checked when it is opened",
				"mailbox", m.name, "uid", ref.UID, "announced", announced, "real", size)
		}
		a.changed(Change{Mailbox: m, Table: t, Resized: []Entry{t.At(i)}})
		m.saveSize(t, ref.UID)
	case !verified:
		a.sizes.Right.Add(1)
	}
}
