package conductor

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

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
// an outbox. In the normal case who stored it has
// said it within the grace that the store gives.
type Relay struct {
	Outboxes map[string]Outbox
	Log      *slog.Logger
	Now      func() time.Time
	// Interval is the pause between two looks. Default: 1 second.
	Interval time.Duration
}

const (
	relayBatch = 100
	// relayLease is how long a claimed record is left to its claimer. It also
	// bounds how long a cancel waits whose signal the API could not send.
	relayLease = 10 * time.Second
)

// Run relays until the context ends.
func (r *Relay) Run(ctx context.Context) error {
	interval := r.Interval
	if interval == 0 {
		interval = time.Second
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if r.look(ctx) && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look asks every outbox once, so that a full one does not hold up the others, and
// reports whether one may have more.
func (r *Relay) look(ctx context.Context) (more bool) {
	for _, name := range slices.Sorted(maps.Keys(r.Outboxes)) {
		left, err := r.Outboxes[name](ctx, r.Now())
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("relay interrupted", "outbox", name, "error", err)
		}
		more = more || left
	}
	return more
}

// RunOutbox is the outbox of runs.
func RunOutbox(c *Conductor, runs product.RunStore, log *slog.Logger) Outbox {
	return func(ctx context.Context, now time.Time) (bool, error) {
		due, err := runs.ClaimDispatch(ctx, now, relayLease, relayBatch)
		if err != nil {
			return false, err
		}
		return each(ctx, log, due, func(r product.Run) (kind, id string) { return "run", string(r.ID) },
			func(r product.Run) error { return Dispatch(ctx, c, runs, r) })
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
			func(run ids.Run) error {
				if err := ignoreNotFound(c.SlotFreed(ctx, run)); err != nil {
					return err
				}
				return queue.Told(ctx, run)
			})
	}
}

// each says what is due, one by one. A record that Temporal refuses must not stop
// those behind it; where Temporal or the store is away the lease brings the rest
// back. There may be more behind a full batch.
func each[T any](ctx context.Context, log *slog.Logger, due []T, name func(T) (kind, id string), say func(T) error) (more bool, err error) {
	for _, record := range due {
		kind, id := name(record)
		err := say(record)
		if fault.Is(err, fault.Invalid) {
			log.ErrorContext(ctx, "refused by Temporal", kind+"_id", id, "error", err)
			continue
		}
		if err != nil {
			return false, err
		}
		log.InfoContext(ctx, "relayed", kind+"_id", id)
	}
	return len(due) == relayBatch, nil
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
