package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var slotOrderTests = []testCase{
	{"organizations take turns, and so do their users, however many runs they have", slotsTakeTurns},
	{"positions foretell the order", slotsAsForetold},
	{"who needs more than there is is not overtaken, and keeps nobody back once gone", slotsNotOvertaken},
	{"who fits no more after a limit was lowered keeps nobody back, and is refused", slotsOfLoweredLimit},
	{"a run of a day that is full waits for no slot", slotsOfFullDay},
	{"who is kept back by another limit keeps back nobody else", slotsPassedOver},
	{"as many wait for another limit as there is room for, and all are served", slotsMoved},
	{"the organization keeps its order while limits come and go", slotsOfDeletedLimit},
	{"a new limit counts what goes on, whatever begins and ends at that moment", slotsOfNewLimit},
}

// clock is a time that goes on: who was served longest ago depends on it.
type clock struct{ now time.Time }

func (c *clock) tick() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

func (c crowd) of(t *testing.T, name string) crowd {
	t.Helper()
	c.buyer = anOrganization(t, c.Stores, name)
	c.scope.ID = string(c.buyer.ID)
	return c
}

func (c crowd) agentScope() product.Scope {
	return product.Scope{Kind: product.ScopeAgent, ID: string(c.agent.ID)}
}

// needs stores a run that needs so much of a processor.
func (c crowd) needs(t *testing.T, key ids.Key, cpu int64) product.Run {
	t.Helper()
	run := c.run(t, func(r *product.Run) { r.KeyID = key })
	run, err := c.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Planned(product.Plan{
			AgentID: c.agent.ID, PublisherID: c.publisher.ID, Resources: product.Resources{CPUMillis: cpu}, ResolvedAt: start,
		}, start)}, nil
	})
	require.NoError(t, err)
	return run
}

func (c crowd) beginAt(t *testing.T, id ids.Run, at time.Time) *product.Wait {
	t.Helper()
	_, wait, err := c.Marketplace.AdmitRun(t.Context(), id, at, begin(at), c.decide(at))
	require.NoError(t, err)
	return wait
}

func (c crowd) endAt(t *testing.T, id ids.Run, at time.Time) []ids.Run {
	t.Helper()
	_, granted, err := c.Marketplace.SettleRun(t.Context(), id, at, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Settle(product.ReasonCanceled, "", at)}, nil
	}, bill)
	require.NoError(t, err)
	return granted
}

// slotsTakeTurns has three organizations wait for an agent that runs once at a time.
// The first has come first, with many runs, nearly all of one key.
func slotsTakeTurns(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{})
	c.limit(t, c.agentScope(), product.Limit{ConcurrentRuns: 1})
	now := &clock{start}
	who := map[ids.Run]string{}
	wait := func(c crowd, name, key string, n int) {
		for range n {
			run := c.planned(t, ids.Key(key), nil)
			who[run.ID] = name + key
			require.NotNil(t, c.beginAt(t, run.ID, now.tick()))
		}
	}
	running := c.planned(t, "1", nil).ID
	require.Nil(t, c.beginAt(t, running, now.tick()))
	wait(c, "a", "1", 6)
	wait(c.of(t, "globex-b"), "b", "1", 2)
	wait(c, "a", "2", 2)
	wait(c.of(t, "globex-c"), "c", "1", 3)

	places := make([]string, len(who))
	for id, name := range who {
		w, err := c.Control.Waiting(t.Context(), id)
		require.NoError(t, err)
		places[w.Position-1] = name
	}
	var order []string
	for {
		granted := c.endAt(t, running, now.tick())
		if len(granted) == 0 {
			break
		}
		require.Len(t, granted, 1)
		running = granted[0]
		order = append(order, who[running])
		require.Nil(t, c.beginAt(t, running, now.tick()))
	}
	require.Equal(t, []string{
		"b1", "c1", "a2", "b1", "c1", "a1", "c1", "a2", "a1", "a1", "a1", "a1", "a1",
	}, order)
	require.NotContains(t, places, "", "every position is given out once")
	require.Equal(t, order[:2], places[:2])
}

// slotsAsForetold raises the limit one by one.
func slotsAsForetold(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{})
	now := &clock{start}
	most := 6
	raise := func() []ids.Run {
		granted, err := c.Control.SetLimit(t.Context(), actor, "", product.Limit{
			Scope: c.agentScope(), ConcurrentRuns: int64(most), UpdatedAt: now.tick(),
		})
		require.NoError(t, err)
		return granted
	}
	require.Empty(t, raise())
	crowds := []crowd{c, c.of(t, "globex-b"), c.of(t, "globex-c")}
	random := rand.New(rand.NewPCG(1, 2))
	var waiting []ids.Run
	for i := range 40 {
		from := crowds[random.IntN(3)*random.IntN(2)] // one has more than half
		run := from.planned(t, ids.Key(fmt.Sprint("key_", random.IntN(3))), func(r *product.Run) { r.Request.Priority = random.IntN(3) })
		if from.beginAt(t, run.ID, now.tick()) != nil {
			waiting = append(waiting, run.ID)
		}
		require.Len(t, waiting, max(0, i+1-most))
	}
	foretold := make([]ids.Run, len(waiting))
	for _, id := range waiting {
		wait, err := c.Control.Waiting(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, foretold[wait.Position-1], "a place for each")
		foretold[wait.Position-1] = id
	}
	var order []ids.Run
	for range waiting {
		most++
		order = append(order, raise()...)
	}
	requireSame(t, foretold, order)
}

func slotsNotOvertaken(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{CPUMillis: 1_200})
	running, big := c.needs(t, "key_a", 500), c.needs(t, "key_a", 1_000)
	c.begins(t, running.ID)
	require.Equal(t, product.BoundCPU, c.waits(t, big.ID, 1).Bound)
	small, other := c.needs(t, "key_a", 500), c.needs(t, "key_a", 200)
	c.waits(t, small.ID, 2)
	c.waits(t, other.ID, 3)
	c.waits(t, small.ID, 2)
	// The big one gives up: its end makes room for those behind it.
	require.Equal(t, []ids.Run{small.ID, other.ID}, c.endAt(t, big.ID, after(time.Minute)))
	c.begins(t, small.ID)
	c.begins(t, other.ID)
	requireSame(t, product.Usage{Scope: c.scope, Running: 3, CPUMillis: 1_200, RunsToday: 3, RunsThisMonth: 3}, c.use(t, c.scope))
}

func slotsOfLoweredLimit(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{CPUMillis: 1_200})
	running, big, small := c.needs(t, "key_a", 500), c.needs(t, "key_a", 1_000), c.needs(t, "key_a", 300)
	c.begins(t, running.ID)
	c.waits(t, big.ID, 1)
	c.waits(t, small.ID, 2)
	require.Equal(t, []ids.Run{big.ID, small.ID}, c.limit(t, c.scope, product.Limit{CPUMillis: 900}), "both are told: one of its slot")
	c.begins(t, small.ID)
	_, err := c.begin(t, big.ID)
	requireFault(t, err, fault.Forbidden, product.CodeLimitReached)
	require.EqualValues(t, 2, c.use(t, c.scope).Running)
	// Raised again before the run has heard of it, it waits as before.
	c.limit(t, c.scope, product.Limit{CPUMillis: 1_000})
	c.waits(t, big.ID, 1)
	require.Empty(t, c.ends(t, small.ID))
	require.Equal(t, []ids.Run{big.ID}, c.ends(t, running.ID))
	c.begins(t, big.ID)
}

func slotsOfFullDay(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1, RunsPerDay: 2})
	runs := []product.Run{c.planned(t, "key_a", nil), c.planned(t, "key_a", nil), c.planned(t, "key_a", nil)}
	c.begins(t, runs[0].ID)
	c.waits(t, runs[1].ID, 1)
	c.waits(t, runs[2].ID, 2)
	require.Equal(t, []ids.Run{runs[1].ID}, c.ends(t, runs[0].ID))
	c.begins(t, runs[1].ID)
	require.EqualValues(t, 2, c.use(t, c.scope).RunsToday)
	require.Equal(t, []ids.Run{runs[2].ID}, c.ends(t, runs[1].ID), "it is told to ask again")
	_, err := c.begin(t, runs[2].ID)
	requireFault(t, err, fault.Forbidden, product.CodeLimitReached)
	require.Zero(t, c.use(t, c.scope).Running)
}

// slotsPassedOver: the agent has room, and of those who wait for it the first may
// not run more than it does.
func slotsPassedOver(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{})
	c.limit(t, c.agentScope(), product.Limit{ConcurrentRuns: 2})
	other := c.of(t, "globex-b")
	first, second := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil)
	c.begins(t, first.ID)
	c.begins(t, second.ID)
	a1, a2, o1 := c.planned(t, "key_a", nil), c.planned(t, "key_a", nil), other.planned(t, "key_o", nil)
	for _, id := range []ids.Run{a1.ID, a2.ID, o1.ID} {
		wait, err := c.begin(t, id)
		require.NoError(t, err)
		require.Equal(t, c.agentScope(), wait.Scope)
	}
	c.limit(t, c.scope, product.Limit{ConcurrentRuns: 1}) // fewer than it runs
	require.Equal(t, []ids.Run{o1.ID}, c.ends(t, first.ID))
	other.begins(t, o1.ID)
	require.Empty(t, other.ends(t, o1.ID), "the agent has room, the organization has not")
	require.EqualValues(t, 1, c.use(t, c.scope).Waiting, "as many as the agent has room for")
	third := other.planned(t, "key_o", nil)
	other.begins(t, third.ID)
	require.Empty(t, other.ends(t, third.ID))
	require.Equal(t, []ids.Run{a1.ID}, c.ends(t, second.ID), "now it has")
	c.begins(t, a1.ID)
	require.Equal(t, []ids.Run{a2.ID}, c.ends(t, a1.ID))
}

// slotsMoved lets every limit be the one that keeps back, in turn.
func slotsMoved(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 3})
	other := c.of(t, "globex-b")
	c.limit(t, c.agentScope(), product.Limit{ConcurrentRuns: 4})
	c.limit(t, product.UserScope(c.buyer.ID, "key_a"), product.Limit{ConcurrentRuns: 2})
	c.limit(t, product.PlatformScope(), product.Limit{ConcurrentRuns: 5})
	most := map[product.Scope]int64{
		c.agentScope(): 4, product.PlatformScope(): 5, c.scope: 3, product.UserScope(c.buyer.ID, "key_a"): 2,
	}
	now := &clock{start}
	waiting := map[ids.Run]product.Run{}
	var running []ids.Run
	for i := range 12 {
		for _, run := range []product.Run{
			c.planned(t, "key_a", nil), c.planned(t, "key_b", nil), other.planned(t, ids.Key(fmt.Sprintf("key_%d", i%2)), nil),
		} {
			if c.beginAt(t, run.ID, now.tick()) == nil {
				running = append(running, run.ID)
			} else {
				waiting[run.ID] = run
			}
		}
	}
	for len(running) > 0 {
		full := map[product.Scope]bool{}
		for scope, n := range most {
			used := c.use(t, scope).Running
			require.LessOrEqual(t, used, n, "%v", scope)
			full[scope] = used == n
		}
		for _, run := range waiting {
			kept := slices.ContainsFunc(run.Scopes(c.publisher.ID), func(s product.Scope) bool { return full[s] })
			require.True(t, kept, "%s of %s waits while every limit of it has room", run.ID, run.KeyID)
		}
		granted := c.endAt(t, running[0], now.tick())
		running = append(running[1:], granted...)
		for _, id := range granted {
			require.Nil(t, c.beginAt(t, id, now.tick()))
			delete(waiting, id)
		}
	}
	require.Empty(t, waiting)
	repair, granted, err := c.Control.RepairSlots(t.Context(), now.tick())
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair)
	require.Empty(t, granted)
}

func slotsOfDeletedLimit(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{ConcurrentRuns: 1})
	first, second := c.planned(t, "key_a", nil), c.planned(t, "key_b", nil)
	c.begins(t, first.ID)
	wait := c.waits(t, second.ID, 1)
	require.Equal(t, c.scope, wait.Scope)
	c.limit(t, product.Scope{Kind: product.ScopeQuota, ID: c.scope.ID}, product.Limit{ConcurrentRuns: 1})
	granted, err := c.Control.DeleteLimit(t.Context(), actor, c.buyer.ID, c.scope, start)
	require.NoError(t, err)
	require.Empty(t, granted)
	wait = c.waits(t, second.ID, 1)
	require.Equal(t, product.ScopeQuota, wait.Scope.Kind)
	require.Equal(t, stored(start), wait.Since)
	granted, err = c.Control.DeleteLimit(t.Context(), actor, "", product.Scope{Kind: product.ScopeQuota, ID: c.scope.ID}, start)
	require.NoError(t, err)
	require.Equal(t, []ids.Run{second.ID}, granted)
	limits, usages, err := c.Control.Limits(t.Context(), []product.Scope{
		c.scope, {Kind: product.ScopeQuota, ID: c.scope.ID}, {Kind: product.ScopeQuota, ID: "org_new"},
		product.UserScope(c.buyer.ID, "key_a"),
	}, start)
	require.NoError(t, err)
	require.Len(t, limits, 2, "quotas are there always; users are counted, and have no limit")
	requireSame(t, product.Limit{Scope: product.Scope{Kind: product.ScopeQuota, ID: c.scope.ID}}, limits[0])
	require.EqualValues(t, 2, usages[0].Running)
	for _, scope := range []product.Scope{c.scope, {Kind: product.ScopeQuota, ID: c.scope.ID}, product.UserScope(c.buyer.ID, "key_a")} {
		_, err = c.Control.DeleteLimit(t.Context(), actor, c.buyer.ID, scope, start)
		requireFault(t, err, fault.NotFound, "limit_not_found")
	}
	l := product.Limit{Scope: product.Scope{Kind: product.ScopeTeam, ID: "team_none"}, ConcurrentRuns: 1, UpdatedAt: start}
	_, err = c.Control.SetLimit(t.Context(), actor, c.buyer.ID, l)
	requireFault(t, err, fault.NotFound, "team_not_found")
}

// slotsOfNewLimit makes the row of a limit while slots of its scope come and go.
func slotsOfNewLimit(t *testing.T, s Stores) {
	c := newCrowd(t, s, product.Limit{})
	runs := make([]ids.Run, 24)
	for i := range runs {
		runs[i] = c.planned(t, ids.Key(fmt.Sprintf("key_%d", i%4)), nil).ID
	}
	half := len(runs) / 2
	for _, id := range runs[:half] {
		c.begins(t, id)
	}
	scopes := []product.Scope{c.agentScope(), {Kind: product.ScopePublisher, ID: string(c.publisher.ID)}, product.PlatformScope()}
	together(len(runs)+len(scopes), func(i int) {
		switch {
		case i < half:
			c.ends(t, runs[i])
		case i < len(runs):
			c.begins(t, runs[i])
		default:
			c.limit(t, scopes[i-len(runs)], product.Limit{ConcurrentRuns: 100, CPUMillis: 1 << 30})
		}
	})
	for _, scope := range scopes {
		u := c.use(t, scope)
		require.Equal(t, []int64{int64(half), int64(half) * 500, int64(half) * 128}, []int64{u.Running, u.CPUMillis, u.MemoryMiB})
	}
	repair, _, err := c.Control.RepairSlots(t.Context(), start)
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair)
}
