package conductor

import (
	"context"
	"time"

	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

// Reporter tells the record and the workflow what a watcher saw of an attempt.
// Every report may come more than once.
type Reporter struct {
	Conductor *Conductor
	Runs      product.RunStore
}

// Started records the start of an attempt's process.
func (r *Reporter) Started(ctx context.Context, ref infra.Ref, at time.Time) error {
	_, err := r.Runs.UpdateRun(ctx, ref.Run, func(run *product.Run) ([]*product.Event, error) {
		return []*product.Event{run.AttemptStarted(ref.Attempt, at)}, nil
	})
	return ignoreNotFound(err)
}

// Running makes it visible to operators that the attempt runs.
func (r *Reporter) Running(ctx context.Context, ref infra.Ref, at time.Time) error {
	return ignoreNotFound(r.Conductor.RunStarted(ctx, ref, at))
}

// Ended hands the end of an attempt to the workflow that waits for it.
func (r *Reporter) Ended(ctx context.Context, ref infra.Ref, outcome infra.Outcome) error {
	return ignoreNotFound(r.Conductor.JobEnded(ctx, ref, outcome))
}

// Gone hands the proof that nothing is left of an attempt to the workflow that
// waits for it.
func (r *Reporter) Gone(ctx context.Context, ref infra.Ref, last infra.Pod, at time.Time) error {
	return ignoreNotFound(r.Conductor.PodGone(ctx, ref, last, at))
}

// ignoreNotFound: nobody waits. That is how a repeated report ends, and one
// about a run that another platform of the same cluster owns.
func ignoreNotFound(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
