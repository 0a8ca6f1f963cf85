package conductor

import (
	"context"
	"log/slog"
	"time"

	"agentmarket/fault"
	"agentmarket/product"
)

// Relay tells Temporal what the API stored but could not say: runs to start and
// runs to cancel. In the normal case the API has said it within the grace that
// the store gives, and the relay finds nothing: one indexed query over no rows.
type Relay struct {
	Conductor *Conductor
	Runs      product.RunStore
	Log       *slog.Logger
	Now       func() time.Time
	// Interval is the pause between two looks. Default: 1 second.
	Interval time.Duration
}

const (
	relayBatch = 100
	// relayLease is how long a claimed run is left to its claimer. It also
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
		if err := r.once(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("relay interrupted", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (r *Relay) once(ctx context.Context) error {
	due, err := r.Runs.ClaimDispatch(ctx, r.Now(), relayLease, relayBatch)
	if err != nil {
		return err
	}
	for _, run := range due {
		err := Dispatch(ctx, r.Conductor, r.Runs, run)
		if fault.Is(err, fault.Invalid) { // this run only: it must not stop those behind it
			r.Log.Error("run refused by Temporal", "run_id", run.ID, "error", err)
			continue
		}
		if err != nil {
			return err // Temporal or the store is away: the lease brings the rest back
		}
		r.Log.Info("run relayed", "run_id", run.ID)
	}
	return nil
}

// Engine is what dispatching needs of a conductor.
type Engine interface {
	StartRun(ctx context.Context, run product.Run) error
	CancelRun(ctx context.Context, run product.Run) error
}

// Dispatch says everything to the engine that is stored of a run: that it is to
// start, and that it is to be canceled. Saying it again is harmless.
func Dispatch(ctx context.Context, engine Engine, runs product.RunStore, run product.Run) error {
	if err := engine.StartRun(ctx, run); err != nil {
		return err
	}
	if run.Cancel != nil {
		if err := engine.CancelRun(ctx, run); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return runs.Dispatched(ctx, run)
}
