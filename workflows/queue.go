package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/product"
)

// acquire asks for the slot of an attempt until the run has it or must not have
// it. A run that is over a limit waits in the queue meanwhile. The record says
// whose turn it is; the signal "slot-freed" only says when to look.
func (r *agentRun) acquire(ctx workflow.Context, ref activities.AttemptRef) (activities.Slot, error) {
	var layer2 *activities.Product
	freed := workflow.GetSignalChannel(ctx, SignalSlotFreed)
	for {
		for freed.Len() > 0 { // what was said so far is found in the record
			freed.ReceiveAsync(nil)
		}
		var slot activities.Slot
		if err := record(ctx, layer2.AcquireSlot, ref, &slot); err != nil || !slot.Queued {
			return slot, err
		}
		r.show(ctx, product.StatusQueued, "queued: position %d, waiting for %s", slot.Position, slot.Reason)
		most := queueFallback
		if !slot.QueueDeadline.IsZero() {
			most = min(most, until(ctx, slot.QueueDeadline))
		}
		if err := awaitSignal(ctx, freed, nil, most, "wait for a slot"); err != nil {
			return slot, err
		}
	}
}

// awaitSignal waits for a signal and reads it into payload (nil: drops it), or
// until the time is up. It occupies nothing meanwhile. The error is that of a
// canceled context.
func awaitSignal(ctx workflow.Context, signals workflow.ReceiveChannel, payload any, most time.Duration, summary string) error {
	waiting, giveUp := workflow.WithCancel(ctx)
	defer giveUp()
	timer := workflow.NewTimerWithOptions(waiting, most, workflow.TimerOptions{Summary: summary})
	var err error
	selector := workflow.NewSelector(ctx)
	selector.AddReceive(signals, func(c workflow.ReceiveChannel, _ bool) {
		c.ReceiveAsync(payload) // one that cannot be read is dropped; Receive would wait for the next
	})
	selector.AddFuture(timer, func(f workflow.Future) {
		err = f.Get(ctx, nil)
	})
	selector.Select(ctx)
	return err
}

// until is how long to wait for a time at which the record says something else.
func until(ctx workflow.Context, at time.Time) time.Duration {
	return max(0, at.Sub(workflow.Now(ctx))) + clockMargin
}
