package activities

import (
	"context"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// Canceler tells the workflow of a run that it is to be canceled. One that has not
// begun or has ended is fault.NotFound. See conductor.Conductor.
type Canceler interface {
	CancelRun(ctx context.Context, run product.Run) error
}

// CancelChildrenInput names a run that has ended.
type CancelChildrenInput struct {
	RunID ids.Run `json:"run_id"`
}

// CancelChildren requests to cancel the runs that a run started and that go on:
// nobody waits for them any more. Each of them does the same when it ends. The
// record is the authority; a workflow that cannot be told now is told by the
// relay.
func (p *Product) CancelChildren(ctx context.Context, in CancelChildrenInput) error {
	children, err := p.childrenOf(ctx, in.RunID)
	if err != nil {
		return toTemporal(err)
	}
	for _, child := range children {
		if err := p.cancelChild(ctx, in.RunID, child.ID); err != nil {
			return toTemporal(err)
		}
	}
	return nil
}

func (p *Product) cancelChild(ctx context.Context, parent, child ids.Run) error {
	run, err := p.Runs.UpdateRun(ctx, child, func(r *product.Run) ([]*product.Event, error) {
		event, err := r.RequestCancel(product.Cancel{
			RequestedBy: "parent run " + string(parent), Reason: "the run that started it has ended",
		}, p.Now())
		if fault.Is(err, fault.Conflict) {
			return nil, nil // it has ended meanwhile
		}
		return []*product.Event{event}, err
	})
	if err != nil || run.Status.Terminal() {
		return err
	}
	if err = p.Canceler.CancelRun(ctx, run); err == nil {
		err = p.Runs.Dispatched(ctx, run)
	}
	if err != nil {
		warn(ctx, "child not told of its cancel, left to the relay", "child_id", string(child), "error", err)
	}
	return nil
}

// hasChildren reports whether a run that has ended started runs that go on. When
// that cannot be found out it may have: CancelChildren looks for as long as it
// takes.
func (p *Product) hasChildren(ctx context.Context, run product.Run) bool {
	if len(run.Attempts) == 0 { // it never began, and could start none
		return false
	}
	children, err := p.childrenOf(ctx, run.ID)
	return err != nil || len(children) > 0
}

// childrenOf lists the runs that a run started and that go on.
func (p *Product) childrenOf(ctx context.Context, parent ids.Run) ([]product.Run, error) {
	var going []product.Run
	var after ids.Run
	for {
		page, err := p.Bodies.Children(ctx, parent, after, product.MaxTreeRuns)
		if err != nil {
			return nil, err
		}
		for _, child := range page {
			if !child.Status.Terminal() {
				going = append(going, child)
			}
		}
		if len(page) < product.MaxTreeRuns {
			return going, nil
		}
		after = page[len(page)-1].ID
	}
}
