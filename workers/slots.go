package workers

import (
	"context"
	"log/slog"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// Slots mends what is wrong with slots, see product.QueueStore.
type Slots interface {
	RepairSlots(ctx context.Context, now time.Time) (product.Repair, []ids.Run, error)
}

// Waker tells the workflow of a run that it was given a slot. A workflow that has
// ended is fault.NotFound.
type Waker interface {
	SlotFreed(ctx context.Context, run ids.Run) error
}

// SlotRepair holds the slots to the runs that go on. In the normal case there is
// nothing to mend: settlements hand slots over by themselves. Any number of workers
// may do so at once.
type SlotRepair struct {
	Slots Slots
	Waker Waker
	Log   *slog.Logger
	Now   func() time.Time
	// Interval is the pause between two looks. Default: 1 minute.
	Interval time.Duration
}

const slotInterval = time.Minute

// Run repairs until the context ends. What fails is tried again after the interval.
func (r *SlotRepair) Run(ctx context.Context) error {
	return repeat(ctx, r.Interval, slotInterval, r.once)
}

// once repairs, and wakes the runs that were given a slot by it. One that cannot be
// woken is left to the relay.
func (r *SlotRepair) once(ctx context.Context) {
	repaired, granted, err := r.Slots.RepairSlots(ctx, r.Now())
	if err != nil {
		if ctx.Err() == nil {
			r.Log.Warn("repair of slots interrupted", "error", err)
		}
		return
	}
	if repaired != (product.Repair{}) {
		r.Log.Warn("slots repaired", "leaked", repaired.Leaked, "stranded", repaired.Stranded,
			"counters", repaired.Counters, "granted", len(granted))
	}
	for _, run := range granted {
		if err := r.Waker.SlotFreed(ctx, run); err != nil && !fault.Is(err, fault.NotFound) {
			if ctx.Err() == nil {
				r.Log.Warn("slot left to the relay", "run_id", run, "error", err)
			}
			return
		}
	}
}
