package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"agentmarket/activities"
	"agentmarket/ids"
	"agentmarket/workflows"
)

// reconciles returns an environment in which the parts find this.
func reconciles(runsErr error) (*testsuite.TestWorkflowEnvironment, *[]activities.ReconcileRunsInput) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	parts := &activities.Reconcile{}
	env.RegisterActivity(parts)
	asked := &[]activities.ReconcileRunsInput{}
	env.OnActivity(parts.ReconcileJobs, mock.Anything).Return(activities.Reconciled{Checked: 3, Found: 1, Mended: 1}, nil)
	env.OnActivity(parts.ReconcileRuns, mock.Anything, mock.Anything).Run(func(args mock.Arguments) {
		*asked = append(*asked, args.Get(1).(activities.ReconcileRunsInput))
	}).Return(activities.Reconciled{Next: "run_9"}, runsErr)
	env.OnActivity(parts.ReconcileSlots, mock.Anything).Return(activities.Reconciled{Found: 2}, nil)
	return env, asked
}

func TestReconcile(t *testing.T) {
	env, asked := reconciles(nil)
	env.SetLastCompletionResult(workflows.ReconcileResult{Runs: activities.Reconciled{Next: "run_5"}})
	env.ExecuteWorkflow(workflows.Reconcile)
	require.NoError(t, env.GetWorkflowError())
	var result workflows.ReconcileResult
	require.NoError(t, env.GetWorkflowResult(&result))
	require.Equal(t, workflows.ReconcileResult{
		Jobs: activities.Reconciled{Checked: 3, Found: 1, Mended: 1}, Runs: activities.Reconciled{Next: "run_9"}, Slots: activities.Reconciled{Found: 2},
	}, result)
	require.Equal(t, []activities.ReconcileRunsInput{{After: "run_5"}}, *asked, "it goes on where the last one ended")
}

// TestReconcileFails: a part that fails keeps neither the others from their work nor
// the next reconciliation from where it goes on.
func TestReconcileFails(t *testing.T) {
	env, asked := reconciles(fails("unavailable", "away"))
	env.ExecuteWorkflow(workflows.Reconcile)
	require.NoError(t, env.GetWorkflowError())
	var result workflows.ReconcileResult
	require.NoError(t, env.GetWorkflowResult(&result))
	require.Len(t, result.Errors, 1)
	require.Contains(t, result.Errors[0], "away")
	require.Equal(t, 1, result.Jobs.Mended)
	require.Equal(t, []activities.ReconcileRunsInput{{After: ids.Run("")}}, *asked)
	env.AssertExpectations(t)
}
