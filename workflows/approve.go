package workflows

import (
	"cmp"
	"encoding/json"
	"time"

	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/product"
)

// DecideSignal is the payload of the signal "decide". Without Approve it says that
// a decision was recorded, which is how the API sends it. With it the signal is
// the decision itself: {"approve":true,"by":"…","note":"…"} is what a person sends
// with the CLI or the Web UI.
type DecideSignal struct {
	Approve *bool  `json:"approve,omitempty"`
	By      string `json:"by,omitempty"`
	Note    string `json:"note,omitempty"`
}

// UnmarshalJSON reads all or nothing. What a person mistyped must not leave half a
// decision behind: {"approve":"yes"} would be a denial.
func (s *DecideSignal) UnmarshalJSON(data []byte) error {
	type plain DecideSignal
	var whole plain
	if err := json.Unmarshal(data, &whole); err != nil {
		return err
	}
	*s = DecideSignal(whole)
	return nil
}

// approve waits until a person has approved the run, if its plan says so. done
// says that the run ends here. The record holds the decision; signal and timer
// only say when to look.
func (r *agentRun) approve(ctx workflow.Context) (ending, bool, error) {
	if r.plan.Approval == "" {
		return ending{}, false, nil
	}
	var layer2 *activities.Product
	decisions := workflow.GetSignalChannel(ctx, SignalDecide)
	for shown := false; ; {
		var state activities.ApprovalState
		err := record(ctx, layer2.AwaitApproval, activities.AwaitApprovalInput{RunID: r.in.RunID}, &state)
		switch {
		case err != nil:
			return ending{}, false, err
		case state.CancelRequested:
			return ending{}, false, r.stopWaiting()
		case state.Decision == product.DecisionApproved:
			r.describe(ctx, "approved")
			return ending{}, false, nil
		case state.Decision != "":
			return ending{product.ReasonApprovalDenied, cmp.Or(state.Note, "the run was not approved")}, true, nil
		case state.Expired:
			return ending{product.ReasonApprovalTimeout, "nobody approved the run in time"}, true, nil
		}
		if !shown {
			shown = true
			r.show(ctx, product.StatusWaitingApproval, "waiting for an approval until %s: %s",
				state.Deadline.UTC().Format(time.RFC3339), r.plan.Approval)
		}
		if err := r.awaitDecision(ctx, decisions, state.Deadline); err != nil {
			return ending{}, false, err
		}
	}
}

// awaitDecision waits until the decision is worth a look, and records the one that
// a signal carries.
func (r *agentRun) awaitDecision(ctx workflow.Context, decisions workflow.ReceiveChannel, deadline time.Time) error {
	var layer2 *activities.Product
	var s DecideSignal
	if err := awaitSignal(ctx, decisions, &s, until(ctx, deadline), "wait for an approval"); err != nil || s.Approve == nil {
		return err
	}
	return record(ctx, layer2.RecordDecision, activities.RecordDecisionInput{
		RunID: r.in.RunID, Approve: *s.Approve, By: s.By, Note: s.Note,
	}, nil)
}
