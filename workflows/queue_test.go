package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/temporal"

	"agentmarket/activities"
	"agentmarket/infra"
	"agentmarket/product"
	"agentmarket/workflows"
)

// slots answers AcquireSlot one by one, the last answer for ever, and returns when
// it was asked, counted from the start of the run.
func (b *bundle) slots(answers ...activities.Slot) *[]time.Duration {
	b.admitted()
	b.OnActivity(layer3.CreateJob, mock.Anything, mock.Anything).Return(nil).Maybe()
	began, asked := b.Now(), &[]time.Duration{}
	b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(
		func(context.Context, activities.AttemptRef) (activities.Slot, error) {
			*asked = append(*asked, b.Now().Sub(began).Truncate(time.Second))
			return answers[min(len(*asked), len(answers))-1], nil
		})
	return asked
}

// succeeds makes every attempt end well.
func (b *bundle) succeeds() {
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.collects(activities.Verdict{Reason: product.ReasonOK})
}

// details are what operators see of the run now.
func (b *bundle) details(t *testing.T) string {
	t.Helper()
	value, err := b.QueryWorkflow("__temporal_workflow_metadata")
	require.NoError(t, err)
	var metadata sdkpb.WorkflowMetadata
	require.NoError(t, value.Get(&metadata))
	return metadata.GetCurrentDetails()
}

func (b *bundle) frees() { b.SignalWorkflow(workflows.SignalSlotFreed, nil) }

func TestQueuedRunStartsWhenItsSlotIsFreed(t *testing.T) {
	b := setup(t)
	asked := b.slots(activities.Slot{
		Queued: true, Position: 2, Reason: "the limit of the team: 3 runs at once", QueueDeadline: b.Now().Add(time.Hour),
	}, activities.Slot{Granted: true})
	b.succeeds()
	var seen string
	b.RegisterDelayedCallback(func() { seen = b.details(t) }, 30*time.Second)
	b.RegisterDelayedCallback(b.frees, 40*time.Second)
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
	require.Equal(t, []time.Duration{0, 40 * time.Second}, *asked, "asked when told, and not in between")
	require.Contains(t, seen, "queued: position 2, waiting for the limit of the team: 3 runs at once")
}

// TestQueuedRunIsToldTooEarly: the record decides, and what was said while it was
// asked is not lost.
func TestQueuedRunIsToldTooEarly(t *testing.T) {
	b := setup(t)
	queued := activities.Slot{Queued: true, Position: 1, Reason: "x", QueueDeadline: b.Now().Add(time.Hour)}
	asked := b.slots(queued, queued, activities.Slot{Granted: true})
	b.succeeds()
	b.RegisterDelayedCallback(func() { b.frees(); b.frees() }, 10*time.Second)
	b.RegisterDelayedCallback(b.frees, 20*time.Second)
	_, err := b.run(t)
	require.NoError(t, err)
	require.Len(t, *asked, 3, "signals that come together are one")
	b.settledAs(t, product.ReasonOK)
}

// TestQueuedRunThatNobodyTells finds its slot by itself.
func TestQueuedRunThatNobodyTells(t *testing.T) {
	b := setup(t)
	asked := b.slots(activities.Slot{Queued: true, Position: 1, Reason: "x"}, activities.Slot{Granted: true}) // without a deadline
	b.succeeds()
	_, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, []time.Duration{0, 10 * time.Minute}, *asked)
}

func TestQueuedRunExpiresAtItsDeadline(t *testing.T) {
	b := setup(t)
	asked := b.slots(activities.Slot{Queued: true, Position: 1, Reason: "x", QueueDeadline: b.Now().Add(3 * time.Minute)},
		activities.Slot{Expired: true})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusExpired, result.Status)
	require.Equal(t, []time.Duration{0, 3*time.Minute + 2*time.Second}, *asked)
	b.settledAs(t, product.ReasonQueueTimeout)
	b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
}

func TestCancelWhileQueuedMakesNothing(t *testing.T) {
	for name, cancel := range map[string]func(*bundle){
		"by signal":        func(b *bundle) { b.SignalWorkflow(workflows.SignalCancel, workflows.CancelSignal{Reason: "enough"}) },
		"by the button":    func(b *bundle) { b.CancelWorkflow() },
		"with a free slot": func(b *bundle) { b.frees(); b.SignalWorkflow(workflows.SignalCancel, workflows.CancelSignal{}) },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.slots(activities.Slot{Queued: true, Position: 1, Reason: "x", QueueDeadline: b.Now().Add(time.Hour)})
			b.RegisterDelayedCallback(func() { cancel(b) }, 10*time.Second)
			_, err := b.run(t)
			var canceled *temporal.CanceledError
			require.ErrorAs(t, err, &canceled)
			require.False(t, b.settledAs(t, product.ReasonCanceled).Gone.GoneAt.IsZero())
			b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
			require.Empty(t, b.deleted)
		})
	}
}

func TestLimitReachedIsRejected(t *testing.T) {
	b := setup(t)
	b.slots(activities.Slot{DeniedKind: "forbidden", DeniedCode: product.CodeLimitReached, DeniedMessage: "5 runs a day"})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusRejected, result.Status)
	require.Equal(t, "5 runs a day", b.settledAs(t, product.ReasonLimitReached).Message)
}

func TestPolicyThatWasTightenedRejects(t *testing.T) {
	b := setup(t)
	b.slots(
		activities.Slot{Queued: true, Position: 1, Reason: "x", QueueDeadline: b.Now().Add(time.Hour)},
		activities.Slot{DeniedKind: "forbidden", DeniedCode: "policy_denied", DeniedMessage: "not this agent"},
	)
	b.RegisterDelayedCallback(b.frees, 10*time.Second)
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusRejected, result.Status)
	require.Equal(t, "not this agent", b.settledAs(t, product.ReasonPolicyDenied).Message)
	b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
}
