package workflows_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"

	"agentmarket/workflows"
)

// TestReplay replays recorded histories: a change of the workflow that running
// ones could not follow fails here. The histories are recorded by
// `make histories`, from the released commit. A change of behaviour goes behind
// workflow.GetVersion and adds a history; it does not replace one.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 15, "in each set four of runs, and one of each other workflow")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			replayer := worker.NewWorkflowReplayer()
			replayer.RegisterWorkflow(workflows.AgentRun)
			replayer.RegisterWorkflow(workflows.Rollout)
			replayer.RegisterWorkflow(workflows.ScheduledStart)
			replayer.RegisterWorkflow(workflows.DeliverWebhook)
			replayer.RegisterWorkflow(workflows.Reconcile)
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
}
