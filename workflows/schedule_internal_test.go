package workflows

import (
	"testing"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"

	"agentmarket/activities"
)

// A run is started once, and outlives what started it.
func TestChildOptions(t *testing.T) {
	o := childOptions(activities.StartedRun{RunID: "run_1", OrgID: "org_1", AgentID: "agt_1", Agent: "acme/hello", Version: "1.0.0"})
	require.Equal(t, "run_1", o.WorkflowID)
	require.Equal(t, enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, o.WorkflowIDReusePolicy)
	require.Equal(t, enums.PARENT_CLOSE_POLICY_ABANDON, o.ParentClosePolicy)
	require.Equal(t, QueueProduct, o.TaskQueue)
	require.Equal(t, "acme/hello 1.0.0", o.StaticSummary)
	require.Contains(t, o.StaticDetails, "run_1")
	require.Equal(t, 3, o.TypedSearchAttributes.Size(), "as every run")
	require.Zero(t, o.WorkflowExecutionTimeout, "cleaning up must have its time")
}
