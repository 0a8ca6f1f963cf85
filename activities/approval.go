package activities

import (
	"cmp"
	"context"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// AwaitApprovalInput names a run that a person has to approve.
type AwaitApprovalInput struct {
	RunID ids.Run `json:"run_id"`
}

// ApprovalState is where the approval of a run stands.
type ApprovalState struct {
	// Decision is empty while nobody has decided.
	Decision product.Decision `json:"decision,omitempty"`
	Note     string           `json:"note,omitempty"` // of who decided
	Deadline time.Time        `json:"deadline,omitzero"`
	// Expired: the deadline has passed without a decision.
	Expired bool `json:"expired,omitempty"`
	// CancelRequested: somebody canceled the run before it was decided.
	CancelRequested bool `json:"cancel_requested,omitempty"`
}

// AwaitApproval makes a run wait for a person, as its plan says, and returns what
// became of it. It is asked again whenever something may have happened.
func (p *Product) AwaitApproval(ctx context.Context, in AwaitApprovalInput) (ApprovalState, error) {
	now := p.Now()
	run, err := p.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		switch {
		case r.Status.Terminal():
			return nil, fault.Newf(fault.Conflict, "run_ended", "the run has already ended: %s", r.Status)
		case r.Cancel != nil:
			return nil, nil
		}
		event := r.AwaitApproval(now)
		if r.Approval == nil {
			return nil, fault.Newf(fault.Conflict, "run_state", "a run that is %s cannot wait for an approval", r.Status)
		}
		return []*product.Event{event}, nil
	})
	if err != nil {
		return ApprovalState{}, toTemporal(err)
	}
	if run.Cancel != nil {
		return ApprovalState{CancelRequested: true}, nil
	}
	a := run.Approval
	return ApprovalState{
		Decision: a.Decision, Note: a.Note, Deadline: a.Deadline,
		Expired: a.Decision == "" && !now.Before(a.Deadline),
	}, nil
}

// RecordDecisionInput is a decision that reached the workflow without the API.
type RecordDecisionInput struct {
	RunID   ids.Run `json:"run_id"`
	Approve bool    `json:"approve"`
	By      string  `json:"by,omitempty"`
	Note    string  `json:"note,omitempty"`
}

// maxDecidedBy bounds the name of who decided, in bytes.
const maxDecidedBy = 200

// RecordDecision shows a decision on the run. A run that is decided keeps its first
// decision, and one whose deadline has passed is decided by nobody: AwaitApproval
// says what holds.
func (p *Product) RecordDecision(ctx context.Context, in RecordDecisionInput) error {
	now := p.Now()
	decision := product.DecisionDenied
	if in.Approve {
		decision = product.DecisionApproved
	}
	by, note := bounded(cmp.Or(in.By, "unknown"), maxDecidedBy), bounded(in.Note, product.MaxApprovalNote)
	_, err := p.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		if r.Approval != nil && !now.Before(r.Approval.Deadline) {
			return nil, nil
		}
		event, err := r.Decide(decision, by, note, false, now)
		if fault.Is(err, fault.Conflict) {
			return nil, nil
		}
		return []*product.Event{event}, err
	})
	return toTemporal(err)
}
