package activities

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

// drift is a platform whose parts do not agree.
type drift struct {
	product.QueueStore
	runs    map[ids.Run]product.Run
	open    []product.Run
	held    []ids.Run
	closed  map[ids.Run]time.Time // of workflows that exist
	objects []infra.Object
	err     error // of the engine

	repair     product.Repair
	granted    []ids.Run
	redispatch []ids.Run
	removed    []string
	found      map[string]int
	after      ids.Run
}

func (d *drift) RunsByID(_ context.Context, list []ids.Run) (map[ids.Run]product.Run, error) {
	found := map[ids.Run]product.Run{}
	for _, id := range list {
		if run, ok := d.runs[id]; ok {
			found[id] = run
		}
	}
	return found, nil
}

func (d *drift) OpenRuns(_ context.Context, after ids.Run, _ time.Time, limit int) ([]product.Run, error) {
	d.after = after
	return d.open[:min(limit, len(d.open))], nil
}

func (d *drift) LeakedHolds(context.Context, time.Time, int) ([]ids.Run, error) { return d.held, nil }

func (d *drift) Redispatch(_ context.Context, run ids.Run, _ time.Time) error {
	d.redispatch = append(d.redispatch, run)
	return nil
}

func (d *drift) RepairSlots(context.Context, time.Time) (product.Repair, []ids.Run, error) {
	return d.repair, d.granted, nil
}

func (d *drift) ClosedAt(_ context.Context, run ids.Run) (time.Time, error) {
	if d.err != nil {
		return time.Time{}, d.err
	}
	closed, exists := d.closed[run]
	if !exists {
		return time.Time{}, fault.New(fault.NotFound, "", "no workflow")
	}
	return closed, nil
}

func (d *drift) Objects(_ context.Context, page func([]infra.Object) error) error {
	return page(d.objects)
}

func (d *drift) Remove(_ context.Context, o infra.Object) (bool, error) {
	d.removed = append(d.removed, o.Name)
	return o.UID != "replaced", nil
}

// reconciling is a reconciliation of a drift. run is the one that the Product part
// knows.
func reconciling(d *drift, run product.Run) (*Reconcile, *runs, *cluster) {
	p, store, _, _ := aCrowd(run)
	c := &cluster{}
	d.found = map[string]int{}
	return &Reconcile{
		Runs: d, Queue: d, Engine: d, Inventory: d, Cluster: c, Product: p, Margin: time.Minute,
		Found: func(part string, n int) { d.found[part] += n }, Now: clock,
	}, store, c
}

func TestReconcileJobs(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	goesOn, retried, over, justOver := running(), running(), running(), running()
	goesOn.ID, retried.ID, over.ID, justOver.ID = "run_on", "run_retried", "run_over", "run_just_over"
	retried.Attempts = []product.Attempt{{Number: 1, Reason: "node_lost", FinishedAt: ago(time.Hour)}, {Number: 2}}
	over.Status, over.FinishedAt = product.StatusFailed, ago(time.Hour)
	justOver.Status, justOver.FinishedAt = product.StatusSucceeded, ago(time.Second)
	finished := over
	finished.ID, finished.Attempts = "run_finished", []product.Attempt{{Number: 1, Reason: product.ReasonOK, FinishedAt: ago(time.Hour)}}
	object := func(name string, run ids.Run, attempt int, age time.Duration) infra.Object {
		return infra.Object{Kind: "Job", Name: name, UID: name, Ref: infra.Ref{Run: run, Attempt: attempt}, CreatedAt: ago(age)}
	}
	d := &drift{
		runs: map[ids.Run]product.Run{goesOn.ID: goesOn, retried.ID: retried, over.ID: over, justOver.ID: justOver, finished.ID: finished},
		objects: []infra.Object{
			object("open", goesOn.ID, 1, time.Hour),
			object("of no attempt", goesOn.ID, 2, time.Hour),
			object("of no attempt yet", goesOn.ID, 2, time.Second),
			object("of an earlier attempt", retried.ID, 1, time.Hour),
			object("of the attempt that goes on", retried.ID, 2, time.Hour),
			object("of an ended run", over.ID, 1, time.Hour),
			object("of a run that has just ended", justOver.ID, 1, time.Hour),
			object("of no run", "run_none", 1, time.Hour),
			object("of no run yet", "run_new", 1, time.Second),
			object("replaced", over.ID, 1, time.Hour),
			object("finished", finished.ID, 1, time.Hour),
		},
	}
	a, _, _ := reconciling(d, running())
	done, err := a.ReconcileJobs(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"of no attempt", "of an earlier attempt", "of an ended run", "of no run", "replaced", "finished"}, d.removed)
	require.Equal(t, Reconciled{Checked: 11, Found: 6, Mended: 5}, done)
	require.Equal(t, 6, d.found[PartOrphanJobs])

	// Jobs of processes that ended by themselves stay where they are to; what was given
	// up, and may never end, goes.
	a.KeepFinished, d.removed = true, nil
	_, err = a.ReconcileJobs(t.Context())
	require.NoError(t, err)
	require.NotContains(t, d.removed, "finished")
	require.Len(t, d.removed, 5)
}

func TestReconcileRuns(t *testing.T) {
	canceled := running()
	canceled.Status, canceled.Cancel = product.StatusCanceling, &product.Cancel{Reason: "enough", SignaledAt: now}
	for name, tt := range map[string]struct {
		run        product.Run
		closed     map[ids.Run]time.Time
		err        error
		want       product.Reason
		redispatch bool
		done       Reconciled
	}{
		"it goes on":           {run: running(), closed: map[ids.Run]time.Time{runID: {}}, done: Reconciled{Checked: 1}},
		"closed just now":      {run: running(), closed: map[ids.Run]time.Time{runID: now}, done: Reconciled{Checked: 1}},
		"terminated":           {run: running(), closed: map[ids.Run]time.Time{runID: now.Add(-time.Hour)}, want: product.ReasonPlatformError, done: Reconciled{Checked: 1, Found: 1, Mended: 1}},
		"terminated, canceled": {run: canceled, closed: map[ids.Run]time.Time{runID: now.Add(-time.Hour)}, want: product.ReasonCanceled, done: Reconciled{Checked: 1, Found: 1, Mended: 1}},
		"no workflow":          {run: running(), redispatch: true, done: Reconciled{Checked: 1, Found: 1, Mended: 1}},
		"the engine is away":   {run: running(), err: fault.New(fault.Unavailable, "", "away"), done: Reconciled{Checked: 1, Failed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &drift{open: []product.Run{tt.run}, closed: tt.closed, err: tt.err, runs: map[ids.Run]product.Run{runID: tt.run}}
			a, store, c := reconciling(d, tt.run)
			done, err := a.ReconcileRuns(t.Context(), ReconcileRunsInput{After: "run_0"})
			require.NoError(t, err, "the others had their turn")
			require.Equal(t, ids.Run("run_0"), d.after)
			require.Equal(t, tt.done, done)
			require.Equal(t, tt.want, store.byID[runID].Reason)
			require.Equal(t, tt.redispatch, len(d.redispatch) == 1)
			require.Equal(t, tt.want != "", len(c.deleted) == 1, "its attempt is ended")
		})
	}

	// More than one reconciliation looks at: the next one goes on there.
	d := &drift{closed: map[ids.Run]time.Time{runID: {}}}
	for range reconcileRuns + 1 {
		d.open = append(d.open, running())
	}
	a, _, _ := reconciling(d, running())
	done, err := a.ReconcileRuns(t.Context(), ReconcileRunsInput{})
	require.NoError(t, err)
	require.Equal(t, Reconciled{Checked: reconcileRuns, Next: runID}, done)
}

func TestReconcileSlots(t *testing.T) {
	over := running()
	over.Status, over.Reason, over.FinishedAt = product.StatusFailed, product.ReasonPlatformError, now.Add(-time.Hour)
	d := &drift{held: []ids.Run{runID}, repair: product.Repair{Leaked: 1, Counters: 2}, granted: []ids.Run{"run_next"}}
	a, store, _ := reconciling(d, over)
	others := a.Product.Waker.(*others)
	done, err := a.ReconcileSlots(t.Context())
	require.NoError(t, err)
	require.Equal(t, Reconciled{Found: 4, Mended: 4}, done)
	require.Equal(t, map[string]int{PartLeakedSlots: 3, PartLeakedHolds: 1}, d.found)
	require.Contains(t, others.said, "told run_next")
	require.Equal(t, over.FinishedAt, store.byID[runID].FinishedAt, "its end stays as it is")
}
