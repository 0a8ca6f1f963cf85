package workers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"agentmarket/activities"
	"agentmarket/ids"
	"agentmarket/product"
)

// Bodies is what of the record says which bodies are due, see product.RunBodies.
type Bodies interface {
	RetentionDue(ctx context.Context, now time.Time, limit int) ([]product.Run, error)
	DataRemoved(ctx context.Context, id ids.Run, at time.Time) error
	PostponeRemoval(ctx context.Context, id ids.Run, until time.Time) error
	AllArtifacts(ctx context.Context, run ids.Run) ([]product.Artifact, error)
}

// Blobs removes bodies. Removing one that is not there is no error.
type Blobs interface {
	Delete(ctx context.Context, key string) error
}

// Messages is what keeps the messages of webhooks, and the webhooks of runs, see
// product.DeliveryStore and product.WebhookStore.
type Messages interface {
	RemoveDeliveries(ctx context.Context, before time.Time, limit int) (int, error)
	RemoveRunEndpoints(ctx context.Context, before time.Time, limit int) (int, error)
}

// Retention removes the bodies of runs whose time is over: first those in the blob
// store, then, with the input, what the record says of them. A worker that dies in
// between leaves the run due, and another one does all of it again. Any number of
// workers may do so at once. It also removes old messages of webhooks, and the
// webhooks of runs that ended as long ago.
type Retention struct {
	Runs     Bodies
	Blobs    Blobs
	Messages Messages
	Log      *slog.Logger
	Now      func() time.Time
	// Interval is the pause between two looks. Default: 1 minute.
	Interval time.Duration
}

const (
	retentionInterval = time.Minute
	// retentionPause is after how long a run is looked at again whose data could not
	// be removed.
	retentionPause = time.Hour
)

// Run removes data until the context ends.
func (r *Retention) Run(ctx context.Context) error {
	return repeat(ctx, r.Interval, retentionInterval, func(ctx context.Context) {
		r.once(ctx)
		r.old(ctx, r.Messages.RemoveDeliveries)
		r.old(ctx, r.Messages.RemoveRunEndpoints) // those that have no messages any more
	})
}

// old removes what is older than messages are kept, until less was due than is
// removed at once.
func (r *Retention) old(ctx context.Context, remove func(ctx context.Context, before time.Time, limit int) (int, error)) {
	for ctx.Err() == nil {
		n, err := remove(ctx, r.Now().Add(-product.DeliveryKept), choreBatch)
		if err != nil {
			r.warn(ctx, err)
		}
		if err != nil || n < choreBatch {
			return
		}
	}
}

// once removes whatever is due, until less was due than is removed at once, or
// nothing of it could be removed.
func (r *Retention) once(ctx context.Context) {
	for ctx.Err() == nil {
		now := r.Now()
		due, err := r.Runs.RetentionDue(ctx, now, choreBatch)
		if err != nil {
			r.warn(ctx, err)
			return
		}
		failed := 0
		for _, run := range due {
			if !r.removeOrPostpone(ctx, run, now) {
				failed++
			}
		}
		if len(due) < choreBatch || failed == len(due) {
			return
		}
	}
}

// removeOrPostpone reports whether the data of a run is removed. Where it is not the
// run goes behind the others, for it may never be; those of a worker that stops stay
// where they are.
func (r *Retention) removeOrPostpone(ctx context.Context, run product.Run, now time.Time) bool {
	err := r.remove(ctx, run, now)
	if err == nil {
		r.Log.Info("data of a run removed", "run_id", run.ID)
		return true
	}
	if ctx.Err() == nil {
		err = errors.Join(err, r.Runs.PostponeRemoval(ctx, run.ID, now.Add(retentionPause)))
	}
	r.warn(ctx, err, "run_id", run.ID)
	return false
}

func (r *Retention) warn(ctx context.Context, err error, details ...any) {
	if ctx.Err() == nil {
		r.Log.Warn("removal of data interrupted", append(details, "error", err)...)
	}
}

// remove uses one moment for both steps: what becomes due between them is not
// taken for removed.
func (r *Retention) remove(ctx context.Context, run product.Run, now time.Time) error {
	artifacts, err := r.Runs.AllArtifacts(ctx, run.ID)
	if err != nil {
		return err
	}
	for _, key := range blobsDue(run, artifacts, now) {
		if err := r.Blobs.Delete(ctx, key); err != nil {
			return err
		}
	}
	return r.Runs.DataRemoved(ctx, run.ID, now)
}

// blobsDue names the bodies in the blob store that are due: those of the record, and
// those that an attempt may have left without getting into it.
func blobsDue(run product.Run, artifacts []product.Artifact, now time.Time) (keys []string) {
	due, _ := run.RetentionDue(now)
	if slices.Contains(due, product.BodyOutput) {
		keys = append(keys, activities.OutputKey(run.ID))
		if run.Output != nil {
			keys = append(keys, run.Output.Key)
		}
		for _, artifact := range artifacts {
			keys = append(keys, artifact.Blob.Key)
		}
	}
	if slices.Contains(due, product.BodyLog) {
		for _, attempt := range run.Attempts {
			keys = append(keys, product.LogKey(run.ID, attempt.Number))
			if attempt.Log != nil {
				keys = append(keys, attempt.Log.Key)
			}
		}
		if run.Log != nil {
			keys = append(keys, run.Log.Key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
