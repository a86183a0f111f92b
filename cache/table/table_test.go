package table

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

func named(m *remote.Message) (string, time.Time) { return message.Name(m, remote.RoleNone) }

// synthetic returns the i-th of many ordinary messages.
func synthetic(i int) remote.Message {
	return remote.Message{
		UID: remote.UID(i + 1), Key: fmt.Sprint(i + 1), Size: int64(2000 + i%5000),
		Date: time.Unix(1.6e9+int64(i)*600, 0), Flags: []string{`\Seen`, "$Label" + fmt.Sprint(i%7)},
		Header: fmt.Appendf(nil, "From: Person Number %d <person%d@example.org>\r\nTo: me@example.net\r\nSubject: Re: [list] the %d. thing about =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"+
			"Date: Thu, 05 Nov 2026 11:22:33 +0100\r\nMessage-ID: <%d.abcdef@mail.example.org>\r\n\r\n", i%900, i%900, i, i),
	}
}

func build(t testing.TB, base *Table, messages ...remote.Message) *Table {
	t.Helper()
	d := NewDraft(base, 1)
	for i := range messages {
		d.Add(&messages[i], named)
	}
	table, _ := d.Finish(time.Now())
	return table
}

func TestTableFollowsTheMailbox(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var table *Table
	model := map[remote.UID]remote.Message{}
	for step := range 200 {
		d := NewDraft(table, 1)
		for range rnd.IntN(30) {
			m := synthetic(rnd.IntN(2000))
			d.Add(&m, named)
			model[m.UID] = m
		}
		for uid, m := range model {
			if rnd.IntN(10) == 0 {
				m.Flags = [][]string{nil, {`\Seen`}, {"b", "a"}}[rnd.IntN(3)]
				d.Flag(remote.FlagChange{UID: uid, Flags: m.Flags})
				model[uid] = m
			}
		}
		if step%3 == 0 {
			present := &remote.UIDSet{}
			for uid := range model {
				if rnd.IntN(4) == 0 {
					delete(model, uid)
				} else {
					present.Add(uid)
				}
			}
			d.Keep(present)
		}
		if known := d.Known(); known.Len() != len(model) {
			t.Fatalf("step %d: the draft knows %d of %d", step, known.Len(), len(model))
		}
		before := table
		var change Change
		table, change = d.Finish(time.Unix(int64(step+1), 0))
		if table.Len() != len(model) {
			t.Fatalf("step %d: %d messages, want %d", step, table.Len(), len(model))
		}
		for i := range table.Len() {
			e := table.At(i)
			m, ok := model[e.UID]
			wantName, wantTime := named(&m)
			flags := slices.Sorted(slices.Values(m.Flags))
			if !ok || e.Name != wantName || !e.Time.Equal(wantTime) || e.Size != m.Size || !slices.Equal(table.Flags(i), flags) {
				t.Fatalf("step %d: %+v %v, want %+v", step, e, table.Flags(i), m)
			}
			if i > 0 && table.At(i-1).UID >= e.UID {
				t.Fatalf("step %d: UIDs out of order", step)
			}
			if found, ok := table.Lookup(e.Name); !ok || found != e {
				t.Fatalf("step %d: Lookup(%q) = %+v, %v", step, e.Name, found, ok)
			}
		}
		for _, e := range change.Vanished {
			if _, ok := table.Lookup(e.Name); ok || before.Index(e.UID) < 0 {
				t.Fatalf("step %d: %s vanished", step, e.Name)
			}
		}
	}
	for _, none := range []string{"", "x", ".eml", "_.eml", "_1.eml", "2026-01-01_a_b_1.eml", table.At(0).Name + ".eml"} {
		if e, ok := table.Lookup(none); ok {
			t.Errorf("Lookup(%q) = %+v", none, e)
		}
	}
}

func TestTableThatDoesNotChangeIsTheSame(t *testing.T) {
	table := build(t, nil, synthetic(1), synthetic(2))
	d := NewDraft(table, 1)
	m := synthetic(1)
	d.Add(&m, named)
	d.Flag(remote.FlagChange{UID: m.UID, Flags: m.Flags})
	d.Keep(table.UIDs())
	if got, _ := d.Finish(time.Now()); got != table {
		t.Error("a new table was made although nothing changed")
	}
	d = NewDraft(table, 1)
	d.Flag(remote.FlagChange{UID: m.UID})
	got, change := d.Finish(table.changed.Add(time.Hour))
	if len(change.Flagged) != 1 || len(got.Flags(got.Index(m.UID))) != 0 {
		t.Error("the flags did not change")
	}
	if !got.Changed().Equal(table.Changed()) {
		t.Error("flags changed the directory's mtime")
	}
}

func TestTableOfNothingHasATime(t *testing.T) {
	now := time.Now()
	if table, _ := NewDraft(nil, 1).Finish(now); !table.Changed().Equal(now) || table.Len() != 0 {
		t.Errorf("%+v", table)
	}
}

func TestTableTakesLittleMemory(t *testing.T) {
	const n = 100_000
	messages := many(n)
	before := heap()
	table := build(t, nil, messages...)
	if per := (heap() - before) / n; per > 200 {
		t.Errorf("%d bytes a message", per)
	}
	runtime.KeepAlive(table)
	runtime.KeepAlive(messages)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func many(n int) []remote.Message {
	messages := make([]remote.Message, n)
	for i := range messages {
		messages[i] = synthetic(i)
	}
	return messages
}

func BenchmarkTable100k(b *testing.B) {
	messages := many(100_000)
	var table *Table
	before := heap()
	for b.Loop() {
		table = build(b, nil, messages...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(messages)), "ns/message")
	b.ReportMetric(float64(heap()-before)/float64(len(messages)), "bytes-kept/message")
	runtime.KeepAlive(table)
	runtime.KeepAlive(messages)
}

func BenchmarkLookup100k(b *testing.B) {
	table := build(b, nil, many(100_000)...)
	name := table.At(77_777).Name
	for b.Loop() {
		if _, ok := table.Lookup(name); !ok {
			b.Fatal("not found")
		}
	}
}
