package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var slotTests = []testCase{
	{"no more runs than the limit, however many begin at once", slotsAtOnce},
	{"slots are handed over in a fair order, as the positions say", slotsInOrder},
	{"the urgent run of a person goes first", slotsByPriority},
	{"a run that waits for two limits gets its slot from the second", slotsOfTwoLimits},
	{"cpu and memory in flight are bounded", slotsByResources},
	{"what never fits, or not today, is refused", slotsRefused},
	{"a run that never ran does not count for the day", slotsUnused},
	{"a raised limit hands over, and a lowered one takes nothing away", slotsOfRaisedLimit},
	{"a slot is given back once", slotsGivenBackOnce},
	{"who has a slot handed to him and ends gives it on", slotsPassedOn},
	{"what a crash left is repaired", slotsRepaired},
	{"whoever was handed a slot is told until he knows", slotsTold},
	{"no deadlock, whatever happens at once", slotsTogether},
}

// crowd is a market with a limit of its buyer.
type crowd struct {
	market
	scope product.Scope
}

func newCrowd(t *testing.T, s Stores, limit product.Limit) crowd {
	t.Helper()
	c := crowd{market: newMarket(t, s)}
	c.scope = product.Scope{Kind: product.ScopeOrganization, ID: string(c.buyer.ID)}
	c.limit(t, c.scope, limit)
	return c
}

func (c crowd) limit(t *testing.T, scope product.Scope, l product.Limit) []ids.Run {
	t.Helper()
	l.Scope, l.UpdatedBy, l.UpdatedAt = scope, "key_1", start
	granted, err := c.Control.SetLimit(t.Context(), actor, c.buyer.ID, l)
	require.NoError(t, err)
	return granted
}

// waiting stores a run of a key with a plan.
func (c crowd) planned(t *testing.T, key ids.Key, change func(*product.Run)) product.Run {
	t.Helper()
	run := c.run(t, func(r *product.Run) {
		r.KeyID, r.UserID = key, ""
		if change != nil {
			change(r)
		}
	})
	run, err := c.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Planned(product.Plan{
			AgentID: c.agent.ID, PublisherID: c.publisher.ID, Resources: product.Resources{CPUMillis: 500, MemoryMiB: 128}, ResolvedAt: start,
		}, start)}, nil
	})
	require.NoError(t, err)
	return run
}

// begin asks for the slot of a run.
func (c crowd) begin(t *testing.T, id ids.Run) (*product.Wait, error) {
	_, wait, err := c.Marketplace.AdmitRun(t.Context(), id, start, begin(start), c.decide(start))
	return wait, err
}

func (c crowd) begins(t *testing.T, id ids.Run) {
	t.Helper()
	wait, err := c.begin(t, id)
	require.NoError(t, err)
	require.Nil(t, wait)
}

func (c crowd) waits(t *testing.T, id ids.Run, position int) product.Wait {
	t.Helper()
	wait, err := c.begin(t, id)
	require.NoError(t, err)
	require.NotNil(t, wait)
	require.Equal(t, position, wait.Position)
	return *wait
}

// ends settles a run and returns who got its slot.
func (c crowd) ends(t *testing.T, id ids.Run) []ids.Run {
	t.Helper()
	_, granted, err := c.Marketplace.SettleRun(t.Context(), id, start, func(r *product.Run) ([]*product.Event, error) {
		end := product.End{Reason: product.ReasonOK, StartedAt: start}
		return []*product.Event{r.AttemptEnded(1, end, start), r.Settle(product.ReasonOK, "", start)}, nil
	}, bill)
	require.NoError(t, err)
	return granted
}

func (c crowd) use(t *testing.T, scope product.Scope) product.Usage {
	t.Helper()
	_, usages, err := c.Control.Limits(t.Context(), []product.Scope{scope}, start)
	require.NoError(t, err)
	require.Len(t, usages, 1)
	return usages[0]
}

func slotsAtOnce(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 3})
	runs := make([]product.Run, 20)
	for i := range runs {
		runs[i] = c.planned(t, ids.Key(fmt.Sprintf("key_%d", i%2)), nil)
	}
	var mu sync.Mutex
	var running, waiting []ids.Run
	together(len(runs), func(i int) {
		wait, err := c.begin(t, runs[i].ID)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("begin: %v", err)
		}
		if wait == nil {
			running = append(running, runs[i].ID)
		} else {
			waiting = append(waiting, runs[i].ID)
		}
	})
	require.Len(t, running, 3)
	requireSame(t, product.Usage{Scope: c.scope, Running: 3, CPUMillis: 1500, MemoryMiB: 384, Waiting: 17, RunsToday: 3, RunsThisMonth: 3}, c.use(t, c.scope))
	done := 0
	for len(running) > 0 {
		require.LessOrEqual(t, len(running), 3)
		granted := c.ends(t, running[0])
		done++
		require.Len(t, granted, min(1, len(waiting)))
		running = append(running[1:], granted...)
		for _, id := range granted {
			waiting = slices.DeleteFunc(waiting, func(w ids.Run) bool { return w == id })
			require.EqualValues(t, 3, c.use(t, c.scope).Running, "a slot is never free while somebody waits")
			c.begins(t, id)
		}
	}
	require.Equal(t, len(runs), done)
	u := c.use(t, c.scope)
	require.Zero(t, u.Running)
	require.Zero(t, u.Waiting)
	require.EqualValues(t, len(runs), u.RunsToday)
	repair, _, err := c.Control.RepairSlots(t.Context(), start)
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair)
}

// slotsInOrder has two organizations wait for an agent that runs once at a time:
// they take turns, and within the buyer its two keys do.
func slotsInOrder(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{})
	agent := product.Scope{Kind: product.ScopeAgent, ID: string(c.agent.ID)}
	c.limit(t, agent, product.Limit{ConcurrentRuns: 1})
	first := c.planned(t, "key_a", nil)
	c.begins(t, first.ID)
	other := c
	other.buyer = anOrganization(t, s, "other")
	a1, a2, b1 := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil), c.planned(t, "key_b", nil)
	o1, o2 := other.planned(t, "key_o", nil), other.planned(t, "key_o", nil)
	for _, run := range []product.Run{a1, a2, b1, o1, o2} {
		wait, err := c.begin(t, run.ID)
		require.NoError(t, err)
		require.Equal(t, agent, wait.Scope)
		require.Equal(t, product.BoundRuns, wait.Bound)
		require.EqualValues(t, 1, wait.Limit)
	}
	positions := map[ids.Run]int{}
	for _, run := range []product.Run{a1, a2, b1, o1, o2} {
		wait, err := c.Control.Waiting(t.Context(), run.ID)
		require.NoError(t, err)
		positions[run.ID] = wait.Position
	}
	// The buyer has one run now and other none; of the buyer key_a has one.
	requireSame(t, map[ids.Run]int{o1.ID: 1, b1.ID: pick(c.buyer.ID < other.buyer.ID, 2, 3), o2.ID: pick(c.buyer.ID < other.buyer.ID, 3, 2), a1.ID: 4, a2.ID: 5}, positions)

	require.Equal(t, []ids.Run{o1.ID}, c.ends(t, first.ID))
	c.begins(t, o1.ID)
	require.Equal(t, []ids.Run{b1.ID}, c.ends(t, o1.ID), "it was the turn of the buyer, and of its key_b")
	wait, err := c.Control.Waiting(t.Context(), b1.ID)
	require.NoError(t, err)
	require.Nil(t, wait, "it has its slot")
	c.begins(t, b1.ID)
	events, err := s.Runs.Events(t.Context(), b1.ID, 0, 10)
	require.NoError(t, err)
	var types []product.EventType
	for _, e := range events {
		types = append(types, e.Type)
	}
	require.Equal(t, []product.EventType{product.EventCreated, product.EventPlanned, product.EventQueued, product.EventAttemptCreated}, types)
}

func pick(first bool, a, b int) int {
	if first {
		return a
	}
	return b
}

func slotsByPriority(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1})
	first := c.planned(t, "key_a", nil)
	c.begins(t, first.ID)
	late, early := c.planned(t, "key_a", nil), c.planned(t, "key_a", func(r *product.Run) { r.Request.Priority = 5 })
	c.waits(t, late.ID, 1)
	c.waits(t, early.ID, 1)
	c.waits(t, late.ID, 2)
	require.Equal(t, []ids.Run{early.ID}, c.ends(t, first.ID))
	newcomer := c.planned(t, "key_b", nil)
	c.waits(t, newcomer.ID, 1)
	require.Equal(t, []ids.Run{newcomer.ID}, c.ends(t, early.ID), "the other key had none")
}

// slotsOfTwoLimits: the organization's slot is free, the agent's is not.
func slotsOfTwoLimits(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1})
	agent := product.Scope{Kind: product.ScopeAgent, ID: string(c.agent.ID)}
	c.limit(t, agent, product.Limit{ConcurrentRuns: 1})
	other := c
	other.buyer = anOrganization(t, s, "other")
	running := c.planned(t, "key_a", nil)
	c.begins(t, running.ID)
	c.limit(t, c.scope, product.Limit{ConcurrentRuns: 1})
	waiting := c.planned(t, "key_a", nil)
	c.waits(t, waiting.ID, 1)
	theirs := other.planned(t, "key_o", nil)
	c.waits(t, theirs.ID, pick(c.buyer.ID < other.buyer.ID, 1, 1))
	granted := c.ends(t, running.ID)
	require.Len(t, granted, 1, "the agent has one slot")
	next := granted[0]
	c.begins(t, next)
	require.Len(t, c.ends(t, next), 1, "and hands it on, whatever the other one waits for")
}

func slotsByResources(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{CPUMillis: 1_200, MemoryMiB: 1_000})
	a, b, d := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil), c.planned(t, "key_a", nil)
	c.begins(t, a.ID)
	c.begins(t, b.ID)
	wait := c.waits(t, d.ID, 1)
	require.Equal(t, product.BoundCPU, wait.Bound)
	require.EqualValues(t, 1_200, wait.Limit)
	require.Equal(t, []ids.Run{d.ID}, c.ends(t, a.ID))
	c.limit(t, c.scope, product.Limit{MemoryMiB: 256})
	require.Equal(t, product.BoundMemory, c.waits(t, c.planned(t, "key_b", nil).ID, 1).Bound)
}

func slotsRefused(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{CPUMillis: 100})
	_, err := c.begin(t, c.planned(t, "key_a", nil).ID)
	requireFault(t, err, fault.Forbidden, product.CodeLimitReached)
	c.limit(t, c.scope, product.Limit{RunsPerDay: 1, RunsPerMonth: 2})
	c.begins(t, c.planned(t, "key_a", nil).ID)
	blocked := c.planned(t, "key_a", nil)
	_, err = c.begin(t, blocked.ID)
	requireFault(t, err, fault.Forbidden, product.CodeLimitReached)
	wait, err := c.Control.Waiting(t.Context(), blocked.ID)
	require.NoError(t, err)
	require.Nil(t, wait)
	tomorrow := after(24 * time.Hour)
	_, _, err = c.Marketplace.AdmitRun(t.Context(), blocked.ID, tomorrow, begin(tomorrow), c.decide(tomorrow))
	require.NoError(t, err, "another day")
	_, usages, err := c.Control.Limits(t.Context(), []product.Scope{c.scope}, tomorrow)
	require.NoError(t, err)
	require.EqualValues(t, 1, usages[0].RunsToday)
	require.EqualValues(t, 2, usages[0].RunsThisMonth)
}

func slotsUnused(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{RunsPerDay: 1, RunsPerMonth: 1})
	used := func() (today, month int64) {
		_, usages, err := c.Control.Limits(t.Context(), []product.Scope{c.scope}, start)
		require.NoError(t, err)
		return usages[0].RunsToday, usages[0].RunsThisMonth
	}
	for range 2 {
		canceled := c.planned(t, "key_a", nil)
		c.begins(t, canceled.ID)
		_, _, err := c.Marketplace.SettleRun(t.Context(), canceled.ID, start, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Settle(product.ReasonCanceled, "", start)}, nil
		}, bill)
		require.NoError(t, err)
		today, month := used()
		require.Zero(t, today)
		require.Zero(t, month)
	}
	ran := c.planned(t, "key_a", nil)
	c.begins(t, ran.ID)
	c.ends(t, ran.ID)
	today, month := used()
	require.EqualValues(t, 1, today)
	require.EqualValues(t, 1, month)
	_, err := c.begin(t, c.planned(t, "key_a", nil).ID)
	requireFault(t, err, fault.Forbidden, product.CodeLimitReached)
}

func slotsOfRaisedLimit(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1})
	var runs []product.Run
	for range 4 {
		runs = append(runs, c.planned(t, "key_a", nil))
	}
	c.begins(t, runs[0].ID)
	for i, run := range runs[1:] {
		c.waits(t, run.ID, i+1)
	}
	require.Equal(t, []ids.Run{runs[1].ID, runs[2].ID}, c.limit(t, c.scope, product.Limit{ConcurrentRuns: 3}))
	require.Empty(t, c.limit(t, c.scope, product.Limit{ConcurrentRuns: 1}))
	require.EqualValues(t, 3, c.use(t, c.scope).Running)
	require.Empty(t, c.ends(t, runs[0].ID), "there are still more than it allows")
	require.Empty(t, c.ends(t, runs[1].ID))
	granted, err := c.Control.DeleteLimit(t.Context(), actor, c.buyer.ID, c.scope, start)
	require.NoError(t, err)
	require.Equal(t, []ids.Run{runs[3].ID}, granted)
	_, err = c.Control.DeleteLimit(t.Context(), actor, c.buyer.ID, c.scope, start)
	requireFault(t, err, fault.NotFound, "")
	limits, err := c.Control.LimitsOf(t.Context(), c.buyer.ID)
	require.NoError(t, err)
	require.Empty(t, limits)
	// A limit that comes late counts the runs that go on.
	user := product.UserScope(c.buyer.ID, "key_a")
	c.limit(t, user, product.Limit{ConcurrentRuns: 9})
	require.EqualValues(t, 2, c.use(t, user).Running)
	limits, err = c.Control.LimitsOf(t.Context(), c.buyer.ID)
	require.NoError(t, err)
	require.Len(t, limits, 1)
	require.Equal(t, user, limits[0].Scope)
}

func slotsGivenBackOnce(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 2})
	a, b := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil)
	c.begins(t, a.ID)
	c.begins(t, b.ID)
	c.begins(t, a.ID) // again
	require.EqualValues(t, 2, c.use(t, c.scope).Running)
	together(8, func(int) {
		_, _, err := c.Marketplace.SettleRun(t.Context(), a.ID, start, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Settle(product.ReasonPlatformError, "", start)}, nil
		}, bill)
		if err != nil {
			t.Errorf("settle: %v", err)
		}
	})
	require.EqualValues(t, 1, c.use(t, c.scope).Running)
}

func slotsPassedOn(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1})
	a, b, d := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil), c.planned(t, "key_a", nil)
	c.begins(t, a.ID)
	c.waits(t, b.ID, 1)
	c.waits(t, d.ID, 2)
	require.Equal(t, []ids.Run{b.ID}, c.ends(t, a.ID))
	_, granted, err := c.Marketplace.SettleRun(t.Context(), b.ID, start, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Settle(product.ReasonQueueTimeout, "", start)}, nil
	}, bill)
	require.NoError(t, err)
	require.Equal(t, []ids.Run{d.ID}, granted, "it never began")
	_, granted, err = c.Marketplace.SettleRun(t.Context(), d.ID, start, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Settle(product.ReasonCanceled, "", start)}, nil
	}, bill)
	require.NoError(t, err)
	require.Empty(t, granted)
	require.Zero(t, c.use(t, c.scope).Running)
}

// slotsRepaired ends runs without the settlement, as nothing of the platform does.
func slotsRepaired(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1})
	a, b, d := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil), c.planned(t, "key_a", nil)
	c.begins(t, a.ID)
	c.waits(t, b.ID, 1)
	c.waits(t, d.ID, 2)
	for _, id := range []ids.Run{a.ID, b.ID} {
		_, err := s.Runs.UpdateRun(t.Context(), id, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Settle(product.ReasonPlatformError, "", start)}, nil
		})
		require.NoError(t, err)
	}
	repair, granted, err := c.Control.RepairSlots(t.Context(), start)
	require.NoError(t, err)
	require.Equal(t, product.Repair{Leaked: 1, Stranded: 1}, repair)
	require.Equal(t, []ids.Run{d.ID}, granted)
	repair, granted, err = c.Control.RepairSlots(t.Context(), start)
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair)
	require.Empty(t, granted)
	require.EqualValues(t, 1, c.use(t, c.scope).Running)
}

func slotsTold(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1})
	a, b := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil)
	c.begins(t, a.ID)
	c.waits(t, b.ID, 1)
	c.ends(t, a.ID)
	granted := func(at time.Time) []ids.Run {
		runs, err := c.Control.Granted(t.Context(), at, time.Minute, 10)
		require.NoError(t, err)
		return runs
	}
	require.Empty(t, granted(after(time.Second)), "who handed it over says so first")
	require.Equal(t, []ids.Run{b.ID}, granted(after(10*time.Second)))
	require.Empty(t, granted(after(11*time.Second)), "it is leased")
	require.Equal(t, []ids.Run{b.ID}, granted(after(2*time.Minute)))
	require.NoError(t, c.Control.Told(t.Context(), b.ID))
	require.Empty(t, granted(after(time.Hour)))
	// It was told, and has not come.
	_, _, err := c.Control.RepairSlots(t.Context(), after(time.Hour))
	require.NoError(t, err)
	require.Equal(t, []ids.Run{b.ID}, granted(after(time.Hour)))
	c.begins(t, b.ID)
}

// slotsTogether does everything at once that takes locks.
func slotsTogether(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 3})
	agent := product.Scope{Kind: product.ScopeAgent, ID: string(c.agent.ID)}
	c.limit(t, agent, product.Limit{ConcurrentRuns: 4})
	other := c
	other.buyer = anOrganization(t, s, "other")
	const each = 12
	var runs []product.Run
	for i := range each {
		runs = append(runs, c.planned(t, ids.Key(fmt.Sprintf("key_%d", i%3)), nil), other.planned(t, "key_o", nil))
	}
	var mu sync.Mutex
	open := map[ids.Run]bool{}
	for _, r := range runs {
		open[r.ID] = true
	}
	together(8, func(i int) {
		for turn := 0; turn < 400; turn++ {
			mu.Lock()
			var id ids.Run
			for candidate := range open { // in no order
				id = candidate
				break
			}
			mu.Unlock()
			if id == "" {
				return
			}
			if i == 0 && turn%5 == 0 {
				c.limit(t, agent, product.Limit{ConcurrentRuns: int64(2 + turn%3)})
				continue
			}
			wait, err := c.begin(t, id)
			if fault.Is(err, fault.Conflict) { // another one has ended it
				continue
			}
			if err != nil {
				t.Errorf("begin: %v", err)
				return
			}
			if wait != nil {
				continue
			}
			mu.Lock()
			delete(open, id)
			mu.Unlock()
			c.ends(t, id)
		}
	})
	require.Empty(t, open, "all ended")
	require.Zero(t, c.use(t, c.scope).Running)
	require.Zero(t, c.use(t, agent).Running)
	repair, _, err := c.Control.RepairSlots(t.Context(), start)
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair)
}
