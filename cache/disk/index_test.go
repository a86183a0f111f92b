package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

func openTestStore(t testing.TB, dir string) *Store {
	t.Helper()
	x, err := openStore(dir, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func named(m *remote.Message) (string, time.Time) { return "a-message_" + m.Key + ".eml", m.Date }

// synthetic returns the i-th of many ordinary messages.
func synthetic(i int) remote.Message {
	return remote.Message{
		UID: remote.UID(i + 1), Key: fmt.Sprint(i + 1), Size: int64(2000 + i%5000),
		Date: time.Unix(1.6e9+int64(i)*600, 0), Flags: []string{`\Seen`, "$Label" + fmt.Sprint(i%7)},
		Header: fmt.Appendf(nil, "From: Person %d <person%d@example.org>\r\nSubject: the %d. thing\r\n\r\n", i%900, i%900, i),
	}
}

func many(n int) (messages []remote.Message) {
	for i := range n {
		messages = append(messages, synthetic(i))
	}
	return messages
}

// build returns a table of messages.
func build(messages ...remote.Message) *table.Table {
	d := table.NewDraft(nil, 1)
	for i := range messages {
		d.Add(&messages[i], named)
	}
	t, _ := d.Finish(time.Now())
	return t
}

// same compares all that tables say.
func same(t testing.TB, got, want *table.Table) {
	t.Helper()
	if got == nil || got.UIDValidity() != want.UIDValidity() || !got.Changed().Equal(want.Changed()) || got.Len() != want.Len() {
		t.Fatalf("got %+v", got)
	}
	for i := range want.Len() {
		if got.At(i) != want.At(i) || !reflect.DeepEqual(got.Flags(i), want.Flags(i)) {
			t.Fatalf("%d: got %+v, want %+v", i, got.At(i), want.At(i))
		}
	}
}

func TestIndexKeepsTablesOverARestart(t *testing.T) {
	dir := t.TempDir()
	x := openTestStore(t, dir)
	version := remote.Version{UIDValidity: 1, UIDNext: 10_001, ModSeq: 99, Messages: 10_000}
	first := build(many(10_000)...)
	first.SetSize(5, 12345)
	x.Save("INBOX", Update{Table: first, Version: version, All: true})

	// A message comes, others go or change flags: only what holds them is written.
	d := table.NewDraft(first, 1)
	m := synthetic(20_000)
	d.Add(&m, named)
	present := first.UIDs().Minus(remote.NewUIDSet(17, 9000))
	present.Add(m.UID)
	d.Keep(present)
	d.Flag(remote.FlagChange{UID: 4000, Flags: []string{`\Answered`}})
	second, _ := d.Finish(time.Now())
	x.Save("INBOX", Update{
		Table: second, Version: version, Dirty: []remote.UID{m.UID, 17, 9000, 4000}, Gone: []remote.UID{17, 9000},
	})
	x.Close()

	x = openTestStore(t, dir)
	got, v := x.Load("INBOX")
	same(t, got, second)
	if v != version {
		t.Errorf("%+v", v)
	}
	if none, _ := x.Load("Archive"); none != nil {
		t.Error("a mailbox that was never saved was loaded")
	}
}

func TestIndexKeepsTablesOfPOP3(t *testing.T) {
	x := openTestStore(t, t.TempDir())
	var messages []remote.Message
	for i := range 3000 {
		m := synthetic(i)
		m.UID, m.Key = remote.KeyOfUIDL(fmt.Sprintf("%08x", i))
		messages = append(messages, m)
	}
	listing := build(messages...)
	x.Save("INBOX", Update{Table: listing, Version: remote.Version{UIDValidity: 1}, All: true})
	got, _ := x.Load("INBOX")
	same(t, got, listing)
}

func TestIndexKeepsHeadersUntilTheirMessagesVanish(t *testing.T) {
	x := openTestStore(t, t.TempDir())
	listed := build(many(3)...)
	x.saveHeaders("INBOX", 1, map[remote.UID][]byte{1: []byte("one"), 2: []byte("two")})
	x.Save("INBOX", Update{Table: listed, Gone: []remote.UID{2}, All: true})
	for uid, want := range map[remote.UID]string{1: "one", 2: "", 3: ""} {
		if got := x.Header("INBOX", table.Ref{UIDValidity: 1, UID: uid}); string(got) != want {
			t.Errorf("%d: %q", uid, got)
		}
	}
	if got := x.Header("INBOX", table.Ref{UIDValidity: 2, UID: 1}); got != nil {
		t.Errorf("of another UIDVALIDITY: %q", got)
	}
	x.saveHeaders("INBOX", 2, map[remote.UID][]byte{1: []byte("one of two")})
	x.saveHeaders("INBOX", 3, map[remote.UID][]byte{1: []byte("one of three")})
	x.Save("INBOX", Update{Table: table.Empty(2), Version: remote.Version{UIDValidity: 2}, All: true})
	for validity, want := range map[uint32]string{1: "", 2: "one of two", 3: ""} {
		if got := x.Header("INBOX", table.Ref{UIDValidity: validity, UID: 1}); string(got) != want {
			t.Errorf("of UIDVALIDITY %d after it became 2: %q", validity, got)
		}
	}
}

func TestIndexForgetsMailboxesThatAreGone(t *testing.T) {
	dir := t.TempDir()
	x := openTestStore(t, dir)
	list := []remote.Mailbox{
		{Name: "INBOX", Path: []string{"INBOX"}, Selectable: true},
		{Name: "a/ü", Path: []string{"a", "ü"}, Role: remote.RoleSent},
	}
	x.SaveMailboxes(list)
	x.Save("a/ü", Update{Table: build(many(3)...), Version: remote.Version{UIDValidity: 1}, All: true})
	if got := x.Mailboxes(); !reflect.DeepEqual(got, list) {
		t.Errorf("%+v", got)
	}
	x.SaveMailboxes(list[:1])
	if got, _ := x.Load("a/ü"); got != nil {
		t.Error("the table of a mailbox that is gone is still there")
	}
}

func TestStoreSaysWhichProcessHoldsIt(t *testing.T) {
	dir := t.TempDir()
	openTestStore(t, dir)
	_, err := openStore(dir, false, slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("(process %d)", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %s", err, want)
	}
}

// A process that is ending may take longer than one that just happens to hold the store is waited for.
func TestStoreWaitsForAProcessThatIsEnding(t *testing.T) {
	dir := t.TempDir()
	x := openTestStore(t, dir)
	x.Ending()
	next := make(chan error)
	go func() {
		y, err := openStore(dir, false, slog.New(slog.DiscardHandler))
		if err == nil {
			err = y.Close()
		}
		next <- err
	}()
	select {
	case err := <-next:
		t.Errorf("the store is still held: %v", err)
	case <-time.After(2 * lockWait):
		x.Close()
		if err := <-next; err != nil {
			t.Error(err)
		}
	}
}

// An index that is damaged, in many ways, serves what was saved or nothing, and what is saved then.
func TestIndexSurvivesDamage(t *testing.T) {
	dir := t.TempDir()
	x := openTestStore(t, dir)
	listing := build(many(2000)...)
	x.SaveMailboxes([]remote.Mailbox{{Name: "INBOX"}})
	x.Save("INBOX", Update{Table: listing, Version: remote.Version{UIDValidity: 1}, All: true})
	x.saveHeaders("INBOX", 1, map[remote.UID][]byte{1: []byte("one")})
	x.Close()
	whole, err := os.ReadFile(filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, content []byte) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "index.db"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := openStore(dir, false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer x.Close()
		if got, _ := x.Load("INBOX"); got != nil {
			same(t, got, listing)
		}
		if list := x.Mailboxes(); len(list) > 0 && list[0].Name != "INBOX" {
			t.Errorf("%s: %v", what, list)
		}
		if h := x.Header("INBOX", table.Ref{UIDValidity: 1, UID: 1}); len(h) > 0 && string(h) != "one" {
			t.Errorf("%s: header %q", what, h)
		}
		x.Save("INBOX", Update{Table: listing, Version: remote.Version{UIDValidity: 1}})
		got, _ := x.Load("INBOX")
		same(t, got, listing)
	}
	for _, cut := range []int{0, 1, 100, 4096, 8192, len(whole) / 2, len(whole) - 4096, len(whole) - 1} {
		try(fmt.Sprintf("cut at %d", cut), whole[:cut])
	}
	for at := 0; at < len(whole); at += 509 {
		flipped := append([]byte(nil), whole...)
		for i := at; i < min(at+16, len(flipped)); i++ {
			flipped[i] ^= 0xff
		}
		try(fmt.Sprintf("flipped at %d", at), flipped)
	}
	try("something else", []byte("this is not an index, and it is longer than a page? no."))
}

func TestStoreOfANewerVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	x := openTestStore(t, dir)
	err := x.db.Update(func(tx *bbolt.Tx) error {
		return put(tx.Bucket(accountBucket), formatKey, []byte{indexFormat + 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Close()
	if _, err := openStore(dir, false, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrNewer) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "index.db.damaged")); err == nil {
		t.Error("the store of a newer version was set aside")
	}
}

func TestIndexForgetsViewsWithTheirMessages(t *testing.T) {
	x := openTestStore(t, t.TempDir())
	view := func(validity uint32, uid remote.UID) View {
		return View{table.Ref{UIDValidity: validity, UID: uid}, "size of text"}
	}
	x.saveViews("INBOX", map[View][]byte{view(1, 1): []byte("nothing else is kept of the mailbox")})
	x.Save("INBOX", Update{Table: build(many(3)...), All: true})
	x.saveViews("INBOX", map[View][]byte{view(1, 1): []byte("1"), view(1, 2): []byte("2"), view(2, 1): []byte("3"), view(3, 1): []byte("4")})
	x.Save("INBOX", Update{Table: build(many(1)...), Gone: []remote.UID{2}})
	for v, want := range map[View]string{view(1, 1): "1", view(1, 2): "", view(2, 1): "3", view(3, 1): "4"} {
		if got := x.View("INBOX", v); string(got) != want {
			t.Errorf("of %+v: %q, want %q", v, got, want)
		}
	}
	x.Save("INBOX", Update{Table: table.Empty(2), All: true})
	for v, want := range map[View]string{view(1, 1): "", view(2, 1): "3", view(3, 1): ""} {
		if got := x.View("INBOX", v); string(got) != want {
			t.Errorf("of %+v after UIDVALIDITY became 2: %q, want %q", v, got, want)
		}
	}
}

// A damaged index is closed when the transactions that use it have ended. Meanwhile nothing is known, which is an answer.
func TestReadersDoNotWaitWhileADamagedIndexIsReplaced(t *testing.T) {
	x := openTestStore(t, t.TempDir())
	listing := build(many(3)...)
	x.Save("INBOX", Update{Table: listing, All: true})
	reading, end := make(chan struct{}), make(chan struct{})
	var transactions sync.WaitGroup
	transactions.Go(func() {
		x.do("reading for long", func(db *bbolt.DB) error {
			return db.View(func(*bbolt.Tx) error {
				close(reading)
				<-end
				return nil
			})
		})
	})
	<-reading
	transactions.Go(func() {
		x.do("finding damage", func(*bbolt.DB) error { return errDamaged("for this test") })
	})
	for replacing := false; !replacing; time.Sleep(time.Millisecond) {
		x.mu.Lock()
		replacing = x.db == nil
		x.mu.Unlock()
	}
	if got, _ := x.Load("INBOX"); got != nil {
		t.Error("a table was loaded of an index that is damaged")
	}
	x.Save("INBOX", Update{Table: listing, All: true})
	close(end)
	transactions.Wait()
	if x.Saved("INBOX") {
		t.Error("what was saved while there was no index counts as saved")
	}
	x.Save("INBOX", Update{Table: listing, Version: remote.Version{UIDValidity: 1}})
	got, _ := x.Load("INBOX")
	same(t, got, listing)
}

func BenchmarkIndexLoad100k(b *testing.B) {
	x := openTestStore(b, b.TempDir())
	x.Save("INBOX", Update{Table: build(many(100_000)...), Version: remote.Version{UIDValidity: 1}, All: true})
	for b.Loop() {
		if t, _ := x.Load("INBOX"); t.Len() != 100_000 {
			b.Fatal("not loaded")
		}
	}
}
