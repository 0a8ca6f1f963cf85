package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/product"
)

var slotRandomTests = []testCase{
	{"whatever happens, nobody waits while there is room", func(t *testing.T, s Stores) {
		for seed := range uint64(2) {
			newTraffic(t, s, seed).goOn(t, 1, 120)
		}
	}},
	{"nor when it happens at once", Traffic},
}

// Traffic begins and ends runs while limits change, all at once, and requires that
// nobody waits while there is room.
func Traffic(t *testing.T, s Stores) { newTraffic(t, s, 7).goOn(t, 8, 40) }

// traffic is the runs of three organizations and of two agents, under limits that
// change. A run begins when it is planned, and again only when it is handed a slot.
type traffic struct {
	crowds []crowd // an organization and an agent
	scopes []product.Scope

	mu      sync.Mutex
	random  *rand.Rand
	now     *clock
	running []ids.Run
	waiting map[ids.Run]product.Run
}

func newTraffic(t *testing.T, s Stores, seed uint64) *traffic {
	t.Helper()
	name := func(n int) string { return fmt.Sprintf("org-%d-%d", seed, n) }
	m := market{Stores: s, publisher: anOrganization(t, s, name(0))}
	tr := &traffic{random: rand.New(rand.NewPCG(seed, 1)), now: &clock{start}, waiting: map[ids.Run]product.Run{}}
	tr.scopes = []product.Scope{product.PlatformScope(), {Kind: product.ScopePublisher, ID: string(m.publisher.ID)}}
	for i := range 2 {
		m = m.another(t, fmt.Sprint("agent-", i))
		l := crowd{market: m}
		m.list(t, "public")
		tr.scopes = append(tr.scopes, l.agentScope())
		tr.crowds = append(tr.crowds, l)
	}
	agents := tr.crowds
	tr.crowds = nil
	for i := range 3 {
		org := anOrganization(t, s, name(i+1))
		for _, c := range agents {
			c.buyer = org
			tr.crowds = append(tr.crowds, c)
		}
		tr.scopes = append(tr.scopes, product.Scope{Kind: product.ScopeQuota, ID: string(org.ID)},
			product.Scope{Kind: product.ScopeOrganization, ID: string(org.ID)}, product.UserScope(org.ID, "key_a"))
	}
	return tr
}

// draw is a random number below n, and a time later than all before.
func (tr *traffic) draw(n int) (int, time.Time) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.random.IntN(n), tr.now.tick()
}

// goOn does n random things each in so many goroutines, waits until what is handed
// over has begun, and checks that nobody was forgotten.
func (tr *traffic) goOn(t *testing.T, workers, n int) {
	t.Helper()
	together(workers, func(int) {
		for range n {
			switch what, at := tr.draw(10); {
			case what < 5:
				tr.start(t, at)
			case what < 9:
				tr.end(t, at)
			default:
				tr.limit(t, at)
			}
			if workers == 1 {
				tr.check(t)
			}
		}
	})
	tr.check(t)
	c := tr.crowds[0]
	repair, granted, err := c.Control.RepairSlots(t.Context(), tr.now.tick())
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair)
	require.Empty(t, granted)
	for len(tr.running) > 0 {
		_, at := tr.draw(1)
		tr.end(t, at)
		tr.check(t)
	}
	require.Empty(t, tr.waiting)
}

func (tr *traffic) start(t *testing.T, at time.Time) {
	which, _ := tr.draw(len(tr.crowds) * 2)
	c := tr.crowds[which/2]
	run := c.planned(t, ids.Key(fmt.Sprintf("key_%c", 'a'+which%2)), nil)
	tr.mu.Lock()
	tr.waiting[run.ID] = run // somebody may hand it a slot before this one knows that it waits
	tr.mu.Unlock()
	if c.beginAt(t, run.ID, at) == nil {
		tr.begun(run.ID)
	}
}

func (tr *traffic) begun(id ids.Run) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	delete(tr.waiting, id)
	tr.running = append(tr.running, id)
}

// end ends a run that goes on.
func (tr *traffic) end(t *testing.T, at time.Time) {
	tr.mu.Lock()
	var id ids.Run
	if n := len(tr.running); n > 0 {
		i := tr.random.IntN(n)
		id = tr.running[i]
		tr.running = slices.Delete(tr.running, i, i+1)
	}
	tr.mu.Unlock()
	if id == "" {
		return
	}
	tr.beginAll(t, tr.crowds[0].endAt(t, id, at), at)
}

func (tr *traffic) beginAll(t *testing.T, granted []ids.Run, at time.Time) {
	for _, id := range granted {
		if tr.crowds[0].beginAt(t, id, at) != nil {
			t.Errorf("run %s was handed a slot, and waits", id)
		}
		tr.begun(id)
	}
}

func (tr *traffic) limit(t *testing.T, at time.Time) {
	which, _ := tr.draw(len(tr.scopes))
	most, _ := tr.draw(6)
	tr.beginAll(t, tr.crowds[0].limit(t, tr.scopes[which], product.Limit{ConcurrentRuns: int64(most)}), at)
}

// check begins what was handed a slot by a run that began, as the relay does, and
// requires a reason for each run that waits.
func (tr *traffic) check(t *testing.T) {
	c := tr.crowds[0]
	_, at := tr.draw(1)
	granted, err := c.Control.Granted(t.Context(), at.Add(time.Hour), 0, 1000)
	if err != nil {
		t.Errorf("granted: %v", err)
	}
	tr.beginAll(t, granted, at)
	limits, usages, err := c.Control.Limits(t.Context(), tr.scopes, at)
	if err != nil {
		t.Errorf("limits: %v", err)
	}
	full := map[product.Scope]bool{}
	for i, l := range limits {
		full[l.Scope] = l.Blocks(usages[i], product.Resources{}) != ""
	}
	for _, run := range tr.waiting {
		if !slices.ContainsFunc(run.Scopes(c.publisher.ID), func(s product.Scope) bool { return full[s] }) {
			t.Errorf("run %s waits while every limit of it has room", run.ID)
		}
	}
}
