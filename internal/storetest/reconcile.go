package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/product"
)

// dispatched is a run of which the engine was told.
func (w world) dispatched(t *testing.T, at time.Time) product.Run {
	t.Helper()
	run := w.create(t, w.queued(at))
	require.NoError(t, w.Runs.Dispatched(t.Context(), run))
	return run
}

// endUnsettled ends a run in its record alone, which nothing but an error does.
func endUnsettled(t *testing.T, s Stores, run ids.Run) {
	t.Helper()
	_, err := s.Runs.UpdateRun(t.Context(), run, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Settle(product.ReasonPlatformError, "x", start)}, nil
	})
	require.NoError(t, err)
}

var reconcileTests = []testCase{
	{"runs come by their identifiers, with their attempts", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		one, two := w.create(t, w.queued(start)), w.create(t, w.queued(start))
		began, err := s.Runs.UpdateRun(t.Context(), two.ID, begin(start))
		require.NoError(t, err)
		found, err := s.Reconcile.RunsByID(t.Context(), []ids.Run{one.ID, two.ID, "run_none"})
		require.NoError(t, err)
		require.Len(t, found, 2)
		requireSame(t, one, found[one.ID])
		requireSame(t, began, found[two.ID])
		none, err := s.Reconcile.RunsByID(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	}},
	{"open runs are those that the engine should know, page by page", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		ended, young := w.dispatched(t, start), w.dispatched(t, after(time.Hour))
		w.create(t, w.queued(start)) // the relay is to tell the engine of it
		var want []ids.Run
		for range 3 {
			want = append(want, w.dispatched(t, start).ID)
		}
		endUnsettled(t, s, ended.ID)
		open := func(behind ids.Run, limit int) []ids.Run {
			runs, err := s.Reconcile.OpenRuns(t.Context(), behind, after(time.Minute), limit)
			require.NoError(t, err)
			return runIDs(runs)
		}
		require.Equal(t, want, open("", 10))
		require.Equal(t, want[:2], open("", 2))
		require.Equal(t, want[2:], open(want[1], 2))
		require.NotContains(t, open("", 10), young.ID)
	}},
	{"a run that the engine lost is due again, unless it has ended", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		lost, ended := w.dispatched(t, start), w.dispatched(t, start)
		endUnsettled(t, s, ended.ID)
		require.Empty(t, w.claim(t, after(time.Hour)))
		for _, run := range []ids.Run{lost.ID, ended.ID} {
			require.NoError(t, s.Reconcile.Redispatch(t.Context(), run, after(time.Hour)))
		}
		require.Equal(t, []ids.Run{lost.ID}, runIDs(w.claim(t, after(time.Hour))))
		// It does not shorten the lease of a relay.
		require.NoError(t, s.Reconcile.Redispatch(t.Context(), lost.ID, after(time.Hour)))
		require.Empty(t, w.claim(t, after(time.Hour)))
	}},
	{"a hold is leaked when its run has ended", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		goesOn, ended := m.admitted(t, start), m.admitted(t, start)
		settled := m.admitted(t, start)
		m.settled(t, settled.ID, product.ReasonOK, time.Second, after(time.Second))
		endUnsettled(t, s, ended.ID)
		leaked := func(before time.Time) []ids.Run {
			runs, err := s.Reconcile.LeakedHolds(t.Context(), before, 10)
			require.NoError(t, err)
			return runs
		}
		require.Equal(t, []ids.Run{ended.ID}, leaked(after(time.Minute)))
		require.Empty(t, leaked(start), "too young to say so")
		// Settling the run once more releases it.
		m.settled(t, ended.ID, product.ReasonPlatformError, 0, after(time.Minute))
		require.Empty(t, leaked(after(time.Hour)))
		requireMoney(t, s, m.buyer, 8_000, 1_000, 0)
		require.Equal(t, product.StatusStarting, goesOn.Status)
	}},
}
