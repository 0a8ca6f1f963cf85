package conductor

import (
	"context"
	"errors"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/workflows"
)

// ClosedAt says when the workflow of a run was closed; zero: it is open. A workflow
// that does not exist is fault.NotFound.
func (c *Conductor) ClosedAt(ctx context.Context, run ids.Run) (time.Time, error) {
	described, err := c.client.DescribeWorkflowExecution(ctx, workflowID(run), "")
	if err != nil {
		return time.Time{}, unavailable(err, "describe workflow of "+string(run))
	}
	info := described.GetWorkflowExecutionInfo()
	if info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return time.Time{}, nil
	}
	return info.GetCloseTime().AsTime(), nil
}

// scheduleReconcile is the Temporal Schedule of the reconciliation, and its workflow.
const scheduleReconcile = "reconcile"

// EnsureReconcile makes Temporal reconcile at each interval. It is idempotent, and may
// be called by every worker. An operator may pause the schedule: it stays so.
func (c *Conductor) EnsureReconcile(ctx context.Context, every time.Duration) error {
	const doing = "tell Temporal to reconcile"
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	action := &client.ScheduleWorkflowAction{
		ID: scheduleReconcile, Workflow: workflows.Reconcile, TaskQueue: workflows.QueueProduct,
		// One that hangs must not keep the next ones from starting.
		WorkflowRunTimeout: 10 * time.Minute, StaticSummary: "reconcile record, engine and cluster",
	}
	_, err := c.client.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: scheduleReconcile, Spec: spec, Action: action, CatchupWindow: every,
		Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP,
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return unavailable(err, doing)
	}
	handle := c.client.ScheduleClient().GetHandle(ctx, scheduleReconcile)
	err = unavailable(handle.Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(have client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			schedule := have.Description.Schedule
			schedule.Spec, schedule.Action = &spec, action
			if schedule.Policy != nil {
				schedule.Policy.CatchupWindow = every
			}
			return &client.ScheduleUpdate{Schedule: &schedule}, nil
		},
	}), doing)
	if fault.Is(err, fault.NotFound) { // somebody has deleted it in this moment
		return fault.Wrap(fault.Unavailable, err, doing)
	}
	return err
}
