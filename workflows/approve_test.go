package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"agentmarket/activities"
	"agentmarket/product"
	"agentmarket/workflows"
)

// approval is the record of a run that waits for a person.
type approval struct {
	state    activities.ApprovalState
	asked    int
	recorded []activities.RecordDecisionInput
}

// needsApproval is a run that somebody has to approve within an hour.
func needsApproval(t *testing.T) (*bundle, *approval) {
	t.Helper()
	b := setup(t)
	a := &approval{state: activities.ApprovalState{Deadline: b.Now().Add(time.Hour)}}
	b.OnActivity(layer1.CheckEntitlement, mock.Anything, mock.Anything).Return(activities.CheckEntitlementResult{EntitlementID: "ent_x"}, nil)
	b.OnActivity(layer2.ResolvePlan, mock.Anything, mock.Anything).Return(activities.PlanSummary{
		Version: "1.0.0", StartTimeout: time.Minute, RunTimeout: time.Hour, MaxAttempts: 3, Approval: "it writes to production",
	}, nil)
	b.OnActivity(layer2.AwaitApproval, mock.Anything, activities.AwaitApprovalInput{RunID: b.in.RunID}).Return(
		func(context.Context, activities.AwaitApprovalInput) (activities.ApprovalState, error) {
			a.asked++
			state := a.state
			state.Expired = state.Decision == "" && !b.Now().Before(state.Deadline)
			return state, nil
		})
	b.OnActivity(layer2.RecordDecision, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.RecordDecisionInput) error {
			a.recorded = append(a.recorded, in)
			a.state.Note, a.state.Decision = in.Note, product.DecisionDenied
			if in.Approve {
				a.state.Decision = product.DecisionApproved
			}
			return nil
		}).Maybe()
	b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(activities.Slot{Granted: true}, nil).Maybe()
	b.OnActivity(layer3.CreateJob, mock.Anything, mock.Anything).Return(nil).Maybe()
	return b, a
}

// later does something ten minutes after the start.
func (b *bundle) later(do func()) { b.RegisterDelayedCallback(do, 10*time.Minute) }

func (b *bundle) nothingWasMade(t *testing.T) {
	t.Helper()
	b.AssertNotCalled(t, "AcquireSlot", mock.Anything, mock.Anything)
	b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
	require.Empty(t, b.deleted)
}

func TestApprovedRunGoesOn(t *testing.T) {
	b, a := needsApproval(t)
	shown := b.shows(t)
	b.succeeds()
	b.RegisterDelayedCallback(func() {
		require.Contains(t, b.details(t), "waiting for an approval until")
		require.Contains(t, b.details(t), "it writes to production")
		b.nothingWasMade(t)
	}, time.Minute)
	b.later(func() { // as the API does: the record first
		a.state.Decision = product.DecisionApproved
		b.SignalWorkflow(workflows.SignalDecide, workflows.DecideSignal{})
	})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
	require.Equal(t, []string{"waiting_approval", "starting", "succeeded"}, *shown)
	require.Equal(t, 2, a.asked, "when it began to wait, and when it was told")
	require.Empty(t, a.recorded)
}

func TestApprovalThatWasDecidedBefore(t *testing.T) {
	b, a := needsApproval(t)
	shown := b.shows(t)
	b.succeeds()
	a.state.Decision = product.DecisionApproved
	_, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, []string{"succeeded"}, *shown)
}

func TestDeniedApprovalRejects(t *testing.T) {
	for note, message := range map[string]string{"not today": "not today", "": "the run was not approved"} {
		b, a := needsApproval(t)
		b.later(func() {
			a.state.Decision, a.state.Note = product.DecisionDenied, note
			b.SignalWorkflow(workflows.SignalDecide, workflows.DecideSignal{})
		})
		result, err := b.run(t)
		require.NoError(t, err)
		require.Equal(t, product.StatusRejected, result.Status)
		require.Equal(t, message, b.settledAs(t, product.ReasonApprovalDenied).Message)
		b.nothingWasMade(t)
	}
}

func TestApprovalTimesOut(t *testing.T) {
	b, a := needsApproval(t)
	began := b.Now()
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusExpired, result.Status)
	require.Equal(t, product.CauseCaller, result.Cause)
	b.settledAs(t, product.ReasonApprovalTimeout)
	b.nothingWasMade(t)
	require.Equal(t, 2, a.asked)
	require.InDelta(t, time.Hour.Seconds(), b.Now().Sub(began).Seconds(), 5)
}

// TestApprovalWithoutASignal: what the record says holds, even if nobody told the
// workflow of it.
func TestApprovalWithoutASignal(t *testing.T) {
	b, a := needsApproval(t)
	b.succeeds()
	b.later(func() { a.state.Decision = product.DecisionApproved })
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
}

// TestApprovalByPayload is how an operator decides without the API.
func TestApprovalByPayload(t *testing.T) {
	for _, tt := range []struct {
		name   string
		signal any
		want   activities.RecordDecisionInput
		reason product.Reason
	}{
		{"approve", workflows.DecideSignal{Approve: new(true), By: "ann", Note: "fine"},
			activities.RecordDecisionInput{Approve: true, By: "ann", Note: "fine"}, product.ReasonOK},
		{"deny", map[string]any{"approve": false}, activities.RecordDecisionInput{}, product.ReasonApprovalDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, a := needsApproval(t)
			b.succeeds()
			b.later(func() { b.SignalWorkflow(workflows.SignalDecide, tt.signal) })
			_, err := b.run(t)
			require.NoError(t, err)
			tt.want.RunID = b.in.RunID
			require.Equal(t, []activities.RecordDecisionInput{tt.want}, a.recorded)
			b.settledAs(t, tt.reason)
		})
	}
}

// TestSignalsThatDecideNothing: a person may type anything into a signal.
func TestSignalsThatDecideNothing(t *testing.T) {
	for name, signal := range map[string]any{
		"nothing": nil, "no decision": map[string]any{"by": "ann"}, "not a decision": map[string]any{"approve": "yes"}, "not an object": "yes", "a number": 1,
	} {
		t.Run(name, func(t *testing.T) {
			b, a := needsApproval(t)
			b.later(func() { b.SignalWorkflow(workflows.SignalDecide, signal) })
			b.RegisterDelayedCallback(func() {
				b.SignalWorkflow(workflows.SignalDecide, workflows.DecideSignal{Approve: new(false), Note: "enough"})
			}, 20*time.Minute)
			_, err := b.run(t)
			require.NoError(t, err)
			require.Len(t, a.recorded, 1)
			require.Equal(t, "enough", b.settledAs(t, product.ReasonApprovalDenied).Message)
		})
	}
}

func TestCancelWhileWaitingForAnApproval(t *testing.T) {
	for name, cancel := range map[string]func(*bundle, *approval){
		"by signal": func(b *bundle, _ *approval) {
			b.SignalWorkflow(workflows.SignalCancel, workflows.CancelSignal{Reason: "enough"})
		},
		"by the button": func(b *bundle, _ *approval) { b.CancelWorkflow() },
		"found in the record": func(b *bundle, a *approval) {
			a.state.CancelRequested = true
			b.SignalWorkflow(workflows.SignalDecide, workflows.DecideSignal{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, a := needsApproval(t)
			b.later(func() { cancel(b, a) })
			_, err := b.run(t)
			var canceled *temporal.CanceledError
			require.ErrorAs(t, err, &canceled)
			require.False(t, b.settledAs(t, product.ReasonCanceled).Gone.GoneAt.IsZero())
			b.nothingWasMade(t)
		})
	}
}
