package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

// Reconcile holds record, engine and cluster together where everything else failed to:
// after a crash, an outage, or something that somebody did by hand. In the normal case
// it finds nothing.
//
//	cluster ──Objects──► ReconcileJobs  ──► what no run needs is deleted
//	record  ──OpenRuns─► ReconcileRuns  ──► runs that nothing moves are settled, or started again
//	record  ───────────► ReconcileSlots ──► slots and holds of runs that have ended are released
type Reconcile struct {
	Runs      product.ReconcileStore
	Queue     product.QueueStore
	Engine    Engine
	Inventory infra.Inventory
	Cluster   infra.Cluster
	// Product settles what nothing else does.
	Product *Product
	// KeepFinished: objects of attempts that have ended by themselves are left to their
	// time to live.
	KeepFinished bool
	// Margin is how old something must be before anything is concluded from it: what
	// is being made at this moment is not touched.
	Margin time.Duration
	// Found is told what was found, for the metrics.
	Found func(part string, n int)
	Now   func() time.Time
}

// Engine says how workflows of runs are. See conductor.Conductor.
type Engine interface {
	// ClosedAt says when the workflow of a run was closed; zero: it is open.
	// fault.NotFound: there is none.
	ClosedAt(ctx context.Context, run ids.Run) (time.Time, error)
}

// The parts of a reconciliation, by the names of their metrics.
const (
	PartOrphanJobs  = "orphan_jobs"
	PartZombieRuns  = "zombie_runs"
	PartLeakedSlots = "leaked_slots"
	PartLeakedHolds = "leaked_holds"
)

// DefaultMargin is a Margin that is longer than anything takes from record to cluster.
const DefaultMargin = 2 * time.Minute

// Reconciled is what one part found, and what it could mend.
type Reconciled struct {
	Checked int `json:"checked"`
	Found   int `json:"found"`
	Mended  int `json:"mended"`
	// Failed is what could not be looked at, or not be mended: the next
	// reconciliation tries again.
	Failed int `json:"failed,omitempty"`
	// Next is where the next reconciliation goes on (runs).
	Next ids.Run `json:"next,omitempty"`
}

// ReconcileJobs deletes what is in the cluster and of no use to any run.
func (a *Reconcile) ReconcileJobs(ctx context.Context) (Reconciled, error) {
	var done Reconciled
	now := a.Now()
	err := a.Inventory.Objects(ctx, func(objects []infra.Object) error {
		runs, err := a.Runs.RunsByID(ctx, runsOf(objects))
		if err != nil {
			return err
		}
		alive(ctx)
		for _, o := range objects {
			done.Checked++
			if !a.orphaned(o, runs, now) {
				continue
			}
			done.Found++
			alive(ctx)
			removed, err := a.Inventory.Remove(ctx, o)
			if err != nil {
				done.failed(ctx, "orphan not deleted", o.Ref.Run, err)
			}
			if removed {
				done.Mended++
				info(ctx, "orphan deleted", "kind", o.Kind, "namespace", o.Namespace, "name", o.Name, "run_id", string(o.Ref.Run))
			}
		}
		return nil
	})
	if err != nil {
		return done, toTemporal(err)
	}
	a.Found(PartOrphanJobs, done.Found)
	return done, nil
}

// failed notes what could not be done.
func (r *Reconciled) failed(ctx context.Context, message string, run ids.Run, err error) {
	r.Failed++
	warn(ctx, message, "run_id", string(run), "error", err)
}

// alive says that a long part goes on.
func alive(ctx context.Context) {
	if activity.IsActivity(ctx) {
		activity.RecordHeartbeat(ctx)
	}
}

// orphaned reports whether an object is of no use to any run.
func (a *Reconcile) orphaned(o infra.Object, runs map[ids.Run]product.Run, now time.Time) bool {
	if now.Sub(o.CreatedAt) < a.Margin {
		return false
	}
	run, known := runs[o.Ref.Run]
	if !known {
		return true
	}
	if i := run.AttemptIndex(o.Ref.Attempt); a.KeepFinished && i >= 0 && run.Attempts[i].Reason != "" && endedByItself(run.Attempts[i].Reason) {
		return false
	}
	return !run.Needs(o.Ref.Attempt, now, a.Margin)
}

func runsOf(objects []infra.Object) []ids.Run {
	seen := map[ids.Run]bool{}
	var list []ids.Run
	for _, o := range objects {
		if !seen[o.Ref.Run] {
			seen[o.Ref.Run] = true
			list = append(list, o.Ref.Run)
		}
	}
	return list
}

// ReconcileRunsInput says behind which run to go on.
type ReconcileRunsInput struct {
	After ids.Run `json:"after,omitempty"`
}

// reconcileRuns bounds the runs of one reconciliation: each is a question to the
// engine. All others have their turn in the next ones.
const reconcileRuns = 1000

// ReconcileRuns settles runs whose workflow was closed without doing so: terminated by
// hand, or failed. Runs whose workflow is not there are started again, which goes on
// from the record.
func (a *Reconcile) ReconcileRuns(ctx context.Context, in ReconcileRunsInput) (Reconciled, error) {
	var done Reconciled
	now := a.Now()
	runs, err := a.Runs.OpenRuns(ctx, in.After, now.Add(-a.Margin), reconcileRuns)
	if err != nil {
		return done, toTemporal(err)
	}
	if len(runs) == reconcileRuns {
		done.Next = runs[len(runs)-1].ID
	}
	for _, run := range runs {
		done.Checked++
		alive(ctx)
		closed, err := a.Engine.ClosedAt(ctx, run.ID)
		switch {
		case fault.Is(err, fault.NotFound):
			done.Found++
			err = a.Runs.Redispatch(ctx, run.ID, now)
		case err == nil && !closed.IsZero() && now.Sub(closed) >= a.Margin:
			done.Found++
			err = a.bury(ctx, run)
		case err == nil: // it goes on
			continue
		}
		if err != nil {
			done.failed(ctx, "run not reconciled", run.ID, err)
			continue
		}
		done.Mended++
	}
	a.Found(PartZombieRuns, done.Found)
	return done, nil
}

// bury settles a run that nothing moves any more, and ends what may still run of it.
func (a *Reconcile) bury(ctx context.Context, run product.Run) error {
	end := SettleRunInput{RunID: run.ID, Reason: product.ReasonPlatformError, Message: "the workflow of the run was ended from outside"}
	if run.Cancel != nil {
		end.Reason, end.Message = product.ReasonCanceled, run.Cancel.Reason
	}
	full, err := a.Runs.RunsByID(ctx, []ids.Run{run.ID})
	if err != nil {
		return err
	}
	if _, err := a.Product.SettleRun(ctx, end); err != nil {
		return err
	}
	info(ctx, "run without a workflow settled", "run_id", string(run.ID), "reason", string(end.Reason))
	run = full[run.ID]
	for _, attempt := range run.Attempts {
		if attempt.Reason != "" {
			continue
		}
		if err := a.Cluster.Delete(ctx, run.Ref(attempt.Number), 0); err != nil { // an orphan from now on
			warn(ctx, "attempt of a settled run left to the next reconciliation", "run_id", string(run.ID), "error", err)
		}
	}
	return nil
}

// leakedHolds bounds the holds of one reconciliation.
const leakedHolds = 500

// ReconcileSlots releases the slots and the holds of runs that have ended, and hands
// over what is free.
func (a *Reconcile) ReconcileSlots(ctx context.Context) (Reconciled, error) {
	var done Reconciled
	now := a.Now()
	repaired, granted, err := a.Queue.RepairSlots(ctx, now)
	a.Product.wake(ctx, granted)
	slots := repaired.Leaked + repaired.Stranded + repaired.Counters
	if slots > 0 {
		info(ctx, "slots repaired", "leaked", repaired.Leaked, "stranded", repaired.Stranded, "counters", repaired.Counters)
	}
	if err == nil {
		a.Found(PartLeakedSlots, slots)
	}
	held, holdErr := a.Runs.LeakedHolds(ctx, now.Add(-a.Margin), leakedHolds)
	done.Found, done.Mended = slots+len(held), slots
	for _, run := range held {
		alive(ctx)
		// A run that has ended stays as it is, but for what is held.
		if _, err := a.Product.SettleRun(ctx, SettleRunInput{RunID: run, Reason: product.ReasonPlatformError}); err != nil {
			done.failed(ctx, "hold of an ended run not released", run, err)
			continue
		}
		done.Mended++
		info(ctx, "hold of an ended run released", "run_id", string(run))
	}
	if holdErr == nil {
		a.Found(PartLeakedHolds, len(held))
	}
	return done, toTemporal(errors.Join(err, holdErr))
}

// info logs what an activity mends.
func info(ctx context.Context, message string, keyvals ...any) {
	if activity.IsActivity(ctx) {
		activity.GetLogger(ctx).Info(message, keyvals...)
	}
}
