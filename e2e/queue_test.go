package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/internal/simulate"
	"agentmarket/internal/testenv"
	"agentmarket/product"
)

const (
	crowdOrgs  = 5
	crowdLimit = 10 // at once in each
)

// crowd is five organizations that start many runs each at once, under two keys, on
// a platform whose quota is ten runs at once. Everything is real but the cluster.
type crowd struct {
	*simulate.Platform
	orgs []ids.Org
	each int                       // runs of an organization
	runs map[ids.Org][]product.Run // in the order of their creation
}

func TestQueue(t *testing.T) {
	t.Parallel() // it has nothing to do with the cluster
	each := 30
	if isLong() {
		each = 100
	}
	t.Run("undisturbed", func(t *testing.T) {
		c := startCrowd(t, 15)
		c.StartWorker(t)
		c.untilFull(t)
		c.requirePositions(t)
		c.Jobs.Release()
		c.untilEnded(t)
		c.requireOrder(t)
		c.requireNothingLeft(t)
	})
	t.Run(fmt.Sprintf("%d starts, and a worker that is killed every 5 s", crowdOrgs*each), func(t *testing.T) {
		c := startCrowd(t, each)
		worker := c.StartWorker(t)
		c.untilFull(t)
		c.requirePositions(t)
		worker.Kill()
		c.Jobs.Release()
		done := make(chan struct{})
		var killer sync.WaitGroup
		killer.Go(func() { c.killWorkers(t, done) })
		c.untilEnded(t)
		close(done)
		killer.Wait()
		c.requireOrder(t)
		c.requireNothingLeft(t)
	})
}

// startCrowd starts all runs at once, with the processes of their agents held.
func startCrowd(t *testing.T, each int) *crowd {
	t.Helper()
	c := &crowd{
		Platform: simulate.NewPlatform(t, simulate.Options{Quota: product.Quota{ConcurrentRuns: crowdLimit}}),
		runs:     map[ids.Org][]product.Run{}, each: each,
	}
	c.Jobs.Duration = func(infra.Sandbox) time.Duration { return time.Duration(100+rand.IntN(300)) * time.Millisecond }
	c.Jobs.Hold()
	var all []product.Run
	for i := range crowdOrgs {
		version := c.Agent(t, fmt.Sprintf("crowd-%d", i))
		for n := range each {
			run := c.Run(t, version, ids.Key(fmt.Sprintf("key_%d_%d", i, n%2)))
			c.runs[run.OrgID] = append(c.runs[run.OrgID], run)
			all = append(all, run)
		}
		c.orgs = append(c.orgs, all[len(all)-1].OrgID)
	}
	var starters sync.WaitGroup
	for part := range slices.Chunk(all, 20) {
		starters.Go(func() {
			for _, run := range part {
				c.StartRun(t, run)
			}
		})
	}
	starters.Wait()
	return c
}

// usage of the quota of an organization.
func (c *crowd) usage(t *testing.T, org ids.Org) product.Usage {
	t.Helper()
	_, usage, err := c.DB.Product().Limits(t.Context(), []product.Scope{{Kind: product.ScopeQuota, ID: string(org)}}, time.Now())
	require.NoError(t, err)
	if len(usage) == 0 {
		return product.Usage{}
	}
	return usage[0]
}

// untilFull waits until every organization runs what it may, and all others wait.
func (c *crowd) untilFull(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, org := range c.orgs {
			if u := c.usage(t, org); u.Running != crowdLimit || u.Waiting != int64(c.each-crowdLimit) {
				return false
			}
		}
		return c.Jobs.Running() == crowdOrgs*crowdLimit
	}, 3*time.Minute, 200*time.Millisecond, "10 runs of each organization run, and the others wait")
}

// requirePositions: every position of an organization is taken once, and each key's
// runs stand in the order of their creation.
func (c *crowd) requirePositions(t *testing.T) {
	t.Helper()
	for _, org := range c.orgs {
		waiting := map[int]product.Run{}
		for _, run := range c.runs[org] {
			wait, err := c.DB.Product().Waiting(t.Context(), run.ID)
			require.NoError(t, err)
			if wait != nil {
				require.Equal(t, product.ScopeQuota, wait.Scope.Kind)
				require.Equal(t, product.BoundRuns, wait.Bound)
				require.Equal(t, int64(crowdLimit), wait.Limit)
				waiting[wait.Position] = run
			}
		}
		require.Len(t, waiting, c.each-crowdLimit, "every position is taken once")
		last := map[ids.Key]ids.Run{}
		for position := 1; position <= len(waiting); position++ {
			run, ok := waiting[position]
			require.True(t, ok, "position %d", position)
			require.Greater(t, run.ID, last[run.KeyID], "the runs of a key stand in their order")
			last[run.KeyID] = run.ID
		}
	}
}

// killWorkers kills a worker every five seconds and starts the next one. On a busy
// machine a worker needs longer than that to begin: then it is killed with the first
// thing that it has done.
func (c *crowd) killWorkers(t *testing.T, done <-chan struct{}) {
	for {
		worker, created := c.StartWorker(t), c.Jobs.Created()
		for wait := 5 * time.Second; wait > 0; {
			select {
			case <-done:
				return
			case <-time.After(wait):
			}
			if wait = 0; c.Jobs.Created() == created && created < crowdOrgs*c.each {
				wait = 100 * time.Millisecond
			}
		}
		worker.Kill()
	}
}

func (c *crowd) untilEnded(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, org := range c.orgs {
			open, err := c.DB.Runs().Runs(t.Context(), org, product.RunQuery{
				Statuses: []product.Status{product.StatusQueued, product.StatusStarting, product.StatusRunning, product.StatusCanceling}, Limit: 1,
			})
			if err != nil || len(open) > 0 {
				return false
			}
		}
		return true
	}, 10*time.Minute, 300*time.Millisecond, "all end")
}

// step is a run that takes or gives back its slot, by the event log.
type step struct {
	at    time.Time
	key   ids.Key
	start bool
}

// requireOrder reads the event log: all runs succeeded, and never more than the
// limit of an organization ran at once. No key has more than its half of the slots
// and one, as long as the other one waits for any: a slot goes to whoever has fewer.
// How many runs of each have begun says nothing, for those of one key may all be
// held up by a worker that died.
func (c *crowd) requireOrder(t *testing.T) {
	t.Helper()
	var handOvers []time.Duration
	for _, org := range c.orgs {
		var steps []step
		var starts, ends []time.Time
		waiting := map[ids.Key]int{}
		for _, r := range c.runs[org] {
			run, err := c.DB.Runs().Run(t.Context(), r.ID)
			require.NoError(t, err)
			require.Equal(t, product.StatusSucceeded, run.Status, "%s: %s", run.Reason, run.Message)
			events, err := c.DB.Runs().Events(t.Context(), r.ID, 0, 100)
			require.NoError(t, err)
			waiting[r.KeyID]++
			for i, e := range events {
				require.Equal(t, int64(i+1), e.Seq)
				switch {
				case e.Type == product.EventAttemptCreated && e.Attempt == 1:
					steps, starts = append(steps, step{e.At, r.KeyID, true}), append(starts, e.At)
				case e.Type == product.EventEnded:
					steps, ends = append(steps, step{at: e.At, key: r.KeyID}), append(ends, e.At)
				}
			}
		}
		require.Len(t, steps, 2*c.each)
		slices.SortStableFunc(steps, func(a, b step) int { return a.at.Compare(b.at) })
		all, running := 0, map[ids.Key]int{}
		for i, s := range steps {
			if !s.start {
				all--
				running[s.key]--
				continue
			}
			all++
			running[s.key]++
			waiting[s.key]--
			require.LessOrEqual(t, all, crowdLimit, "step %d, at %s", i, s.at)
			// The slots that the other key may hold already without having begun.
			others := crowdLimit - running[s.key]
			if i > 2*crowdLimit && waiting[c.other(org, s.key)] > others {
				require.LessOrEqual(t, running[s.key], crowdLimit/2+1, "step %d, at %s", i, s.at)
			}
		}
		require.LessOrEqual(t, c.Jobs.Peak(org), crowdLimit)
		slices.SortFunc(starts, time.Time.Compare)
		slices.SortFunc(ends, time.Time.Compare)
		for i, start := range starts[crowdLimit:] {
			handOvers = append(handOvers, start.Sub(ends[i]))
		}
	}
	slices.SortFunc(handOvers, cmp.Compare)
	t.Logf("hand-over, median of %d: %s", len(handOvers), handOvers[len(handOvers)/2])
}

// other is the other key of an organization.
func (c *crowd) other(org ids.Org, key ids.Key) ids.Key {
	for _, run := range c.runs[org] {
		if run.KeyID != key {
			return run.KeyID
		}
	}
	return ""
}

// requireNothingLeft: no slot, no place in the queue, no attempt but the first.
func (c *crowd) requireNothingLeft(t *testing.T) {
	t.Helper()
	for _, org := range c.orgs {
		u := c.usage(t, org)
		require.Zero(t, u.Running, "slots of %s", org)
		require.Zero(t, u.Waiting)
		require.Zero(t, u.CPUMillis)
	}
	require.Equal(t, crowdOrgs*c.each, c.Jobs.Created(), "every run had one Job")
	require.Zero(t, c.Jobs.Running())
	repair, granted, err := c.DB.Product().RepairSlots(t.Context(), time.Now())
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair, "nothing was leaked")
	require.Empty(t, granted)
}

func TestMain(m *testing.M) {
	simulate.Main()
	testenv.Main(m)
}
