package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/product"
)

// soon is later than the moment that a store leaves a change to the process
// that made it.
const soon = 10 * time.Second

const lease = time.Minute

func (w world) claim(t *testing.T, now time.Time) []product.Run {
	t.Helper()
	runs, err := w.Runs.ClaimDispatch(t.Context(), now, lease, 100)
	require.NoError(t, err)
	return runs
}

var dispatchTests = []testCase{
	{"a new run is due a moment later, then after each lease", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		require.Empty(t, w.claim(t, start), "the process that stored it goes first")
		claimed := w.claim(t, after(soon))
		require.Len(t, claimed, 1)
		requireSame(t, run, claimed[0])
		require.Empty(t, w.claim(t, after(soon+lease-time.Microsecond)))
		require.Len(t, w.claim(t, after(soon+lease)), 1)
		require.NoError(t, s.Runs.Dispatched(t.Context(), claimed[0]))
		require.NoError(t, s.Runs.Dispatched(t.Context(), claimed[0]), "a second time is harmless")
		require.Empty(t, w.claim(t, after(time.Hour)))
	}},
	{"oldest first, up to the limit", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		var want []ids.Run
		for i := range 5 {
			want = append(want, w.create(t, w.queued(after(time.Duration(i)*time.Second))).ID)
		}
		for _, part := range [][]ids.Run{want[:2], want[2:4], want[4:]} {
			runs, err := s.Runs.ClaimDispatch(t.Context(), after(time.Minute), lease, 2)
			require.NoError(t, err)
			require.Equal(t, part, runIDs(runs))
		}
		none, err := s.Runs.ClaimDispatch(t.Context(), after(time.Hour), lease, 0)
		require.NoError(t, err)
		require.Empty(t, none)
	}},
	{"a request to cancel makes a run due again", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		require.NoError(t, s.Runs.Dispatched(t.Context(), run))
		require.Empty(t, w.claim(t, after(soon)))

		canceled := w.cancel(t, run.ID, after(time.Hour))
		require.Empty(t, w.claim(t, after(time.Hour)), "the process that stored it goes first")
		claimed := w.claim(t, after(time.Hour+soon))
		require.Len(t, claimed, 1)
		require.NotNil(t, claimed[0].Cancel)
		require.NoError(t, s.Runs.Dispatched(t.Context(), run), "the start was told, the cancel was not")
		require.Len(t, w.claim(t, after(2*time.Hour)), 1)
		require.NoError(t, s.Runs.Dispatched(t.Context(), canceled))
		require.Empty(t, w.claim(t, after(3*time.Hour)))

		w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			e, err := r.RequestCancel(product.Cancel{Reason: "again"}, after(4*time.Hour))
			return []*product.Event{e}, err
		})
		require.Empty(t, w.claim(t, after(5*time.Hour)), "a second request changes nothing")
	}},
	{"a cancel between load and report stays due", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		seen := w.create(t, w.queued(start))
		w.cancel(t, seen.ID, after(time.Second))
		require.NoError(t, s.Runs.Dispatched(t.Context(), seen))
		claimed := w.claim(t, after(soon))
		require.Len(t, claimed, 1)
		require.NotNil(t, claimed[0].Cancel)
	}},
	{"a cancel does not cut a lease short", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		require.Len(t, w.claim(t, after(soon)), 1)
		w.cancel(t, run.ID, after(soon))
		require.Empty(t, w.claim(t, after(soon+lease-time.Second)))
		require.Len(t, w.claim(t, after(soon+lease)), 1)
	}},
	{"a run that ended is never due", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		w.settle(t, run.ID, product.ReasonNotEntitled, after(time.Second))
		require.Empty(t, w.claim(t, after(time.Hour)))

		run = w.create(t, w.queued(start))
		w.cancel(t, run.ID, after(time.Second))
		w.settle(t, run.ID, product.ReasonCanceled, after(time.Second))
		require.Empty(t, w.claim(t, after(time.Hour)))

		run = w.create(t, w.queued(start))
		w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			canceled, err := r.RequestCancel(product.Cancel{Reason: "x"}, after(time.Second))
			return []*product.Event{canceled, r.Settle(product.ReasonCanceled, "", after(time.Second))}, err
		})
		require.Empty(t, w.claim(t, after(time.Hour)))
	}},
	{"rivals never claim the same run", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		const runs = 40
		for range runs {
			w.create(t, w.queued(start))
		}
		var mu sync.Mutex
		claims := map[ids.Run]int{}
		var failures []error
		together(10, func(int) {
			for {
				got, err := s.Runs.ClaimDispatch(t.Context(), after(soon), lease, 3)
				mu.Lock()
				if err != nil {
					failures = append(failures, err)
				}
				for _, r := range got {
					claims[r.ID]++
				}
				done := len(claims) == runs
				mu.Unlock()
				if err != nil || len(got) > 3 || len(got) == 0 && done {
					return
				}
			}
		})
		require.Empty(t, failures)
		require.Len(t, claims, runs)
		for id, n := range claims {
			require.Equal(t, 1, n, "claims of %s", id)
		}
	}},
}
