package api

import (
	"context"
	"time"

	"agentmarket/fault"
	"agentmarket/launch"
	"agentmarket/product"
)

// engineBudget is how long a request waits for the engine to hear of it.
const engineBudget = 2 * time.Second

// start stores a run and tells the engine. From the moment that the run is stored
// nothing that happens to this request or to the engine stops it. The second
// result is false for a run that the same request made before.
func (a *app) start(ctx context.Context, s launch.Start) (product.Run, bool, error) {
	run, created, err := a.launcher.Start(ctx, s)
	if err != nil {
		return product.Run{}, false, a.denied(ctx, product.Agent{Publisher: s.Publisher, Name: s.Name}, err)
	}
	if run.Status == product.StatusQueued {
		a.dispatch(ctx, run)
	}
	return run, created, nil
}

// dispatch tells the engine what is stored of a run, within a short budget and
// whether or not the client is still there. What it cannot say stays due in the
// store, and the relay says it.
func (a *app) dispatch(ctx context.Context, run product.Run) {
	detached := context.WithoutCancel(ctx)
	engine, cancel := context.WithTimeout(detached, engineBudget)
	defer cancel()
	err := a.Engine.StartRun(engine, run)
	if err == nil && run.Approval != nil && run.Approval.Decision != "" {
		if err = a.Engine.Decided(engine, run); fault.Is(err, fault.NotFound) {
			err = nil // it has ended
		}
	}
	if err == nil && run.Cancel != nil {
		if err = a.Engine.CancelRun(engine, run); fault.Is(err, fault.NotFound) {
			err = nil // it has ended
		}
	}
	if err == nil {
		store, cancel := context.WithTimeout(detached, engineBudget)
		defer cancel()
		err = a.Runs.Dispatched(store, run)
	}
	if err != nil {
		a.Log.WarnContext(ctx, "run left to the relay", "run_id", run.ID, "error", err,
			"request_id", requestOf(ctx).id)
	}
}

// awaitEnd waits for the end of a run and returns its record as it is then, or
// as it was when the time was up. An engine that does not answer, or has not
// heard of the run yet, is asked again.
func (a *app) awaitEnd(ctx context.Context, run product.Run, wait time.Duration) product.Run {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := shortPause; !run.Status.Terminal(); pause = longer(pause) {
		err := a.Engine.WaitRun(waiting, run.ID)
		// The last look is worth it when the time is up, too.
		if seen, lookErr := a.Runs.Run(ctx, run.ID); lookErr == nil {
			run = seen
		}
		if run.Status.Terminal() || waiting.Err() != nil {
			break
		}
		if err != nil {
			a.Log.DebugContext(ctx, "wait for the end of a run interrupted", "run_id", run.ID, "error", err)
		}
		if sleep(waiting, pause) != nil {
			break
		}
	}
	return run
}
