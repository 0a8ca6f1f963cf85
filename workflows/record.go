package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// record runs an activity that reads or writes the record, and reads its result
// into out (nil: none). It runs within the worker, which is one event of history,
// and only where that does not succeed soon by the queue, where it is tried for as
// long as the record is away. The error is final.
func record(ctx workflow.Context, activity, in, out any) error {
	local := workflow.WithLocalActivityOptions(ctx, recordOptions)
	err := workflow.ExecuteLocalActivity(local, activity, in).Get(local, out)
	if err == nil || ctx.Err() != nil || final(err) {
		return err
	}
	workflow.GetLogger(ctx).Warn("the record is away, going on by the queue", "error", err)
	patient := workflow.WithActivityOptions(ctx, patientOptions)
	return workflow.ExecuteActivity(patient, activity, in).Get(patient, out)
}

// final reports whether an activity failed with an error that no retry mends.
func final(err error) bool {
	var app *temporal.ApplicationError
	return !temporal.IsTimeoutError(err) && errors.As(err, &app) && app.NonRetryable()
}
