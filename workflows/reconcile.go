package workflows

import (
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
	// Errors are those of parts that could not be done at all.
	Errors []string `json:"errors,omitempty"`
}

// reconcileOptions: a part that cannot be done now is for the next minute.
var reconcileOptions = workflow.ActivityOptions{
	TaskQueue: QueueProduct, StartToCloseTimeout: 2 * time.Minute, ScheduleToCloseTimeout: 4 * time.Minute,
	HeartbeatTimeout: time.Minute,
	RetryPolicy:      &temporal.RetryPolicy{InitialInterval: 2 * time.Second, BackoffCoefficient: 2, MaximumAttempts: 3},
}

// Reconcile holds record, engine and cluster together. Temporal starts it each minute,
// one at a time. Its parts know nothing of each other: one that fails keeps none from
// its work. The workflow completes all the same, for its result is where the next one
// goes on; operators see the error in it, and a metric that gets old.
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
	for _, err := range []error{jobs.Get(ctx, &result.Jobs), runs.Get(ctx, &result.Runs), slots.Get(ctx, &result.Slots)} {
		if err != nil {
			workflow.GetLogger(ctx).Warn("a part of the reconciliation failed", "error", err)
			result.Errors = append(result.Errors, err.Error())
		}
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("objects in the cluster: %d, orphans: %d\n\nopen runs: %d, without a workflow: %d\n\nleaked slots and holds: %d",
		result.Jobs.Checked, result.Jobs.Found, result.Runs.Checked, result.Runs.Found, result.Slots.Found))
	return result, ctx.Err()
}
