package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
)

// ReconcileResult is what one reconciliation found and mended. The next one goes on
// where Runs ended.
type ReconcileResult struct {
	Jobs  activities.Reconciled `json:"jobs"`
	Runs  activities.Reconciled `json:"runs"`
	Slots activities.Reconciled `json:"slots"`
}

// reconcileOptions: a part that cannot be done now is for the next minute.
var reconcileOptions = workflow.ActivityOptions{
	TaskQueue: QueueProduct, StartToCloseTimeout: 2 * time.Minute, ScheduleToCloseTimeout: 4 * time.Minute,
	HeartbeatTimeout: time.Minute,
	RetryPolicy:      &temporal.RetryPolicy{InitialInterval: 2 * time.Second, BackoffCoefficient: 2, MaximumAttempts: 3},
}

// Reconcile holds record, engine and cluster together. Temporal starts it each minute,
// one at a time. Its parts know nothing of each other: one that fails keeps none from
// its work, and fails the workflow, so that operators see it.
func Reconcile(ctx workflow.Context) (ReconcileResult, error) {
	var parts *activities.Reconcile
	var last, result ReconcileResult
	if workflow.HasLastCompletionResult(ctx) {
		if err := workflow.GetLastCompletionResult(ctx, &last); err != nil { // then from the beginning
			last = ReconcileResult{}
		}
	}
	ctx = workflow.WithActivityOptions(ctx, reconcileOptions)
	jobs := workflow.ExecuteActivity(ctx, parts.ReconcileJobs)
	runs := workflow.ExecuteActivity(ctx, parts.ReconcileRuns, activities.ReconcileRunsInput{After: last.Runs.Next})
	slots := workflow.ExecuteActivity(ctx, parts.ReconcileSlots)
	err := errors.Join(jobs.Get(ctx, &result.Jobs), runs.Get(ctx, &result.Runs), slots.Get(ctx, &result.Slots))
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("objects in the cluster: %d, orphans: %d\n\nopen runs: %d, without a workflow: %d\n\nleaked slots and holds: %d",
		result.Jobs.Checked, result.Jobs.Found, result.Runs.Checked, result.Runs.Found, result.Slots.Found))
	return result, err
}
