package remotetest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is an account in memory as a server of the suite.
func memory(a *remotetest.Account) *remotetest.Server {
	var (
		mu   sync.Mutex // guards what follows
		cold chan struct{}
		cut  chan struct{}
		held int
	)
	a.Intercept(func(ctx context.Context, _ remotetest.Call) error {
		mu.Lock()
		thawed, cut := cold, cut
		if thawed == nil {
			mu.Unlock()
			return nil
		}
		held++
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			held--
		}()
		select {
		case <-thawed:
		case <-cut:
			return remote.ErrLost
		case <-ctx.Done():
		}
		return nil
	})
	uid := func(mailbox string, number int) remote.UID {
		set := &remote.UIDSet{}
		_, err := a.Sync(context.Background(), mailbox, remote.Version{}, remote.Version{}, nil, func(d remote.Delta) error {
			for _, m := range d.Messages {
				set.Add(m.UID)
			}
			return nil
		})
		if err != nil {
			panic(err)
		}
		for _, r := range set.Ranges() {
			if n := int(r.Last - r.First + 1); number > n {
				number -= n
				continue
			}
			return r.First + remote.UID(number-1)
		}
		panic("no such message")
	}
	return &remotetest.Server{
		Open: func(timeout time.Duration) remote.Account {
			a.Timeout = timeout
			return a
		},
		Put:    func(mailbox string, bodies ...[]byte) { a.Put(mailbox, bodies...) },
		Remove: func(mailbox string, number int) { a.Remove(mailbox, uid(mailbox, number)) },
		Create: a.Create, Drop: a.Drop,
		SetFlags: func(mailbox string, number int, flags ...string) { a.SetFlags(mailbox, uid(mailbox, number), flags...) },
		Flags:    func(mailbox string, number int) []string { return a.Flags(mailbox, remote.UID(number)) },
		Freeze: func() {
			mu.Lock()
			defer mu.Unlock()
			cold, cut = make(chan struct{}), make(chan struct{})
		},
		Held: func() bool {
			mu.Lock()
			defer mu.Unlock()
			return held > 0
		},
		Thaw: func() {
			mu.Lock()
			defer mu.Unlock()
			if cold != nil {
				close(cold)
			}
			cold = nil
		},
		Cut: func() {
			mu.Lock()
			defer mu.Unlock()
			close(cut)
			cut = make(chan struct{})
		},
	}
}

func TestAnAccountInMemoryPasses(t *testing.T) {
	remotetest.Suite(t, func(*testing.T) *remotetest.Server {
		a := remotetest.NewAccount()
		a.SetQuota(1 << 20)
		return memory(a)
	})
}

func TestAnAccountInMemoryThatKnowsOnlyWholeMessagesPasses(t *testing.T) {
	remotetest.Suite(t, func(*testing.T) *remotetest.Server {
		a := remotetest.NewAccount()
		a.WholeOnly = true
		return memory(a)
	})
}

func TestAnAccountThatRetriesPasses(t *testing.T) {
	remotetest.Suite(t, func(*testing.T) *remotetest.Server {
		s := memory(remotetest.NewAccount())
		open := s.Open
		s.Open = func(timeout time.Duration) remote.Account { return remote.Retry(open(timeout)) }
		s.Retries = true
		return s
	})
}
