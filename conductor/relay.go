package conductor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// Outbox tells Temporal what is due of one kind of record. It is asked again and
// again; in the normal case nothing is due, and it is one indexed query over no
// rows. It says whether there may be more: then it is asked again at once.
type Outbox func(ctx context.Context, now time.Time) (more bool, err error)

// Relay tells Temporal what was stored but could not be said: runs to start, to
// cancel and that were approved, slots that were handed over, and whatever else has
// an outbox. In the normal case who stored it has said it within the grace that the
// store gives. No outbox waits for another one.
type Relay struct {
	Outboxes map[string]Outbox
	Log      *slog.Logger
	Now      func() time.Time
	// Interval is the pause between two looks. Default: 1 second.
	Interval time.Duration
}

const (
	relayBatch = 100
	// relayParallel is how many records of a batch are told at once.
	relayParallel = 8
	// relayLease is how long a claimed record is left to its claimer, and so what a
	// batch may take. It also bounds how long a cancel waits whose signal the API
	// could not send.
	relayLease = 10 * time.Second
)

// Run relays until the context ends.
func (r *Relay) Run(ctx context.Context) error {
	interval := r.Interval
	if interval == 0 {
		interval = time.Second
	}
	var asking sync.WaitGroup
	for name, outbox := range r.Outboxes {
		asking.Go(func() { r.ask(ctx, name, outbox, interval) })
	}
	asking.Wait()
	return nil
}

// ask asks one outbox until the context ends: again at once while there may be more,
// else after the interval.
func (r *Relay) ask(ctx context.Context, name string, outbox Outbox, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		more, err := outbox(ctx, r.Now())
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("relay interrupted", "outbox", name, "error", err)
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// RunOutbox is the outbox of runs.
func RunOutbox(c *Conductor, runs product.RunStore, log *slog.Logger) Outbox {
	return func(ctx context.Context, now time.Time) (bool, error) {
		due, err := runs.ClaimDispatch(ctx, now, relayLease, relayBatch)
		if err != nil {
			return false, err
		}
		return each(ctx, log, due, func(r product.Run) (kind, id string) { return "run", string(r.ID) },
			func(ctx context.Context, r product.Run) error { return Dispatch(ctx, c, runs, r) })
	}
}

// SlotOutbox is the outbox of slots that were handed to runs in the queue.
func SlotOutbox(c *Conductor, queue product.QueueStore, log *slog.Logger) Outbox {
	return func(ctx context.Context, now time.Time) (bool, error) {
		granted, err := queue.Granted(ctx, now, relayLease, relayBatch)
		if err != nil {
			return false, err
		}
		return each(ctx, log, granted, func(run ids.Run) (kind, id string) { return "slot_of_run", string(run) },
			func(ctx context.Context, run ids.Run) error {
				if err := ignoreNotFound(c.SlotFreed(ctx, run)); err != nil {
					return err
				}
				return queue.Told(ctx, run)
			})
	}
}

// each says what is due, some of it at once. A record that cannot be said stops no
// other one: the lease brings it back, and what was not begun within the lease.
// There may be more behind a full batch; where none of it could be said, the next
// one would hardly fare better.
func each[T any](ctx context.Context, log *slog.Logger, due []T, name func(T) (kind, id string), say func(context.Context, T) error) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, relayLease)
	defer cancel()
	failed := make([]error, len(due))
	var said atomic.Bool
	var group errgroup.Group
	group.SetLimit(relayParallel)
	for i, record := range due {
		group.Go(func() error {
			if ctx.Err() == nil { // else it is too late to begin
				failed[i] = sayOne(ctx, log, record, name, say)
				said.CompareAndSwap(false, failed[i] == nil)
			}
			return nil
		})
	}
	_ = group.Wait() // it has none: they are in failed
	return said.Load() && len(due) == relayBatch, errors.Join(failed...)
}

// sayOne says one record. One that Temporal refuses is an error of that record
// alone, and logged as one.
func sayOne[T any](ctx context.Context, log *slog.Logger, record T, name func(T) (kind, id string), say func(context.Context, T) error) error {
	kind, id := name(record)
	err := say(ctx, record)
	switch {
	case fault.Is(err, fault.Invalid):
		log.ErrorContext(ctx, "refused by Temporal", kind+"_id", id, "error", err)
		return nil
	case err != nil:
		return err
	}
	log.InfoContext(ctx, "relayed", kind+"_id", id)
	return nil
}

// Engine is what dispatching needs of a conductor.
type Engine interface {
	StartRun(ctx context.Context, run product.Run) error
	CancelRun(ctx context.Context, run product.Run) error
	Decided(ctx context.Context, run product.Run) error
}

// Dispatch says everything to the engine that is stored of a run: that it is to
// start, that its approval was decided, and that it is to be canceled. Saying it
// again is harmless.
func Dispatch(ctx context.Context, engine Engine, runs product.RunStore, run product.Run) error {
	if err := engine.StartRun(ctx, run); err != nil {
		return err
	}
	if decided(run) {
		if err := ignoreNotFound(engine.Decided(ctx, run)); err != nil {
			return err
		}
	}
	if run.Cancel != nil {
		if err := ignoreNotFound(engine.CancelRun(ctx, run)); err != nil {
			return err
		}
	}
	return runs.Dispatched(ctx, run)
}

// decided reports whether a run may still wait for a decision that was made.
func decided(run product.Run) bool {
	return run.Approval != nil && run.Approval.Decision != "" &&
		(run.Status == product.StatusQueued || run.Status == product.StatusWaitingApproval)
}
