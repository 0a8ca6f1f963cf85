package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"agentmarket/activities"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
	"agentmarket/workflows"
)

// setupParent is a run that started others, which go on when it is settled.
func setupParent(t *testing.T, err error) (*bundle, *[]ids.Run) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	b := &bundle{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), children: true}
	b.prepare()
	b.granted()
	canceled := &[]ids.Run{}
	b.OnActivity(layer2.CancelChildren, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.CancelChildrenInput) error {
			require.Len(t, b.settled, 1, "the run has ended by then")
			*canceled = append(*canceled, in.RunID)
			return err
		})
	return b, canceled
}

func TestChildrenAreCanceledAtEveryEnd(t *testing.T) {
	t.Run("success", func(t *testing.T) {
		b, canceled := setupParent(t, nil)
		b.succeeds()
		result, err := b.run(t)
		require.NoError(t, err)
		require.Equal(t, product.StatusSucceeded, result.Status)
		require.Equal(t, []ids.Run{b.in.RunID}, *canceled)
	})
	t.Run("a platform fault", func(t *testing.T) {
		b, canceled := setupParent(t, nil)
		b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonNodeLost}, nil)
		b.collects(activities.Verdict{Reason: product.Reason(infra.ReasonNodeLost), Retry: true})
		_, err := b.run(t)
		require.Error(t, err)
		require.Equal(t, []ids.Run{b.in.RunID}, *canceled, "once, and not for every attempt")
	})
	t.Run("a cancel", func(t *testing.T) {
		b, canceled := setupParent(t, nil)
		b.waits()
		b.RegisterDelayedCallback(func() { b.SignalWorkflow(workflows.SignalCancel, workflows.CancelSignal{}) }, 10*time.Second)
		_, err := b.run(t)
		var end *temporal.CanceledError
		require.ErrorAs(t, err, &end)
		require.Equal(t, []ids.Run{b.in.RunID}, *canceled)
	})
}

func TestChildrenThatCannotBeCanceledDoNotChangeTheEnd(t *testing.T) {
	b, canceled := setupParent(t, fails("invalid", "no"))
	b.succeeds()
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
	require.Len(t, *canceled, 1)
}

func TestRunWithoutChildrenCancelsNone(t *testing.T) {
	b := setup(t)
	b.granted()
	b.succeeds()
	_, err := b.run(t)
	require.NoError(t, err)
	b.AssertNotCalled(t, "CancelChildren", mock.Anything, mock.Anything)
}
