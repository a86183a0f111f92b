package pop3

import (
	"slices"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// suite runs the tests that every protocol must pass against responders that change has changed.
func suite(t *testing.T, change func(*responder)) {
	remotetest.Suite(t, func(t *testing.T) *remotetest.Server {
		r := startServer(t, nil, change)
		line := remotetest.NewLine(t, r.listener.Addr().String())
		s := &remotetest.Server{
			Open: func(timeout time.Duration) remote.Account {
				where := r.server(timeout)
				where.Host, where.Port = "127.0.0.1", line.Port
				return New(dial.New(where), Options{})
			},
			Put: func(_ string, bodies ...[]byte) {
				for _, body := range bodies {
					r.add(string(body))
				}
			},
			Remove: func(_ string, number int) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.messages = slices.Delete(slices.Clone(r.messages), number-1, number)
			},
		}
		s.Over(line)
		return s
	})
}

func TestTheContractHoldsOverAServerThatPipelines(t *testing.T) { suite(t, nil) }

func TestTheContractHoldsOverAServerThatKnowsLittle(t *testing.T) {
	suite(t, func(r *responder) { r.capabilities = nil })
}
