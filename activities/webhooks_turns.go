package activities

import (
	"math/rand/v2"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"

	"agentmarket/ids"
)

// MaxSends is how many messages of an organization a process sends at the same
// time. It is a small part of what a worker does at a time: an organization whose
// endpoints answer slowly leaves the rest to the others.
const MaxSends = 10

// turns counts the messages under way of each organization. The zero value is
// ready to use.
type turns struct {
	mu    sync.Mutex
	taken map[ids.Org]int // no zeros
}

// take takes a turn of an organization, until leave is called. It does not wait:
// without a turn it returns false.
func (t *turns) take(org ids.Org) (leave func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken[org] >= MaxSends {
		return nil, false
	}
	if t.taken == nil {
		t.taken = map[ids.Org]int{}
	}
	t.taken[org]++
	return func() { t.leave(org) }, true
}

func (t *turns) leave(org ids.Org) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken[org]--
	if t.taken[org] == 0 {
		delete(t.taken, org)
	}
}

// The pauses of a delivery that waits for its turn.
const (
	firstTurnPause   = 2 * time.Second
	longestTurnPause = time.Minute
)

// notItsTurn makes Temporal ask again soon, and less often the longer it takes. The
// pauses differ by chance: those who were refused together do not come back
// together. Nothing was sent, so it is no try on record.
func notItsTurn(attempt int) error {
	pause := min(firstTurnPause<<min(attempt-1, 10), longestTurnPause)
	return temporal.NewApplicationErrorWithOptions("the organization has as many messages under way as it may", "not_its_turn",
		temporal.ApplicationErrorOptions{
			Category:       temporal.ApplicationErrorCategoryBenign,
			NextRetryDelay: pause/2 + rand.N(pause/2),
		})
}
