package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/ids"
)

// ScheduledStartInput names the schedule. What it starts is read from its record.
type ScheduledStartInput struct {
	ScheduleID ids.Schedule `json:"schedule_id"`
}

// ScheduledStartResult is what a start came to: the run, or why there is none.
type ScheduledStartResult struct {
	RunID   ids.Run `json:"run_id,omitempty"`
	Skipped bool    `json:"skipped,omitempty"`
	Code    string  `json:"code,omitempty"`
	Reason  string  `json:"reason,omitempty"`
}

// scheduledStartTime is set by Temporal on what its schedules start: the time that
// was meant, whenever it really is.
var scheduledStartTime = temporal.NewSearchAttributeKeyTime("TemporalScheduledStartTime")

// ScheduledStart is one start of a schedule. It makes the run and goes on for as
// long as that does, so that Temporal's overlap policies are about runs. The run
// is a workflow of its own: it outlives this one, whatever happens to it. How the
// run ended, its record says. A cancel cancels the run, and shows as canceled.
func ScheduledStart(ctx workflow.Context, in ScheduledStartInput) (ScheduledStartResult, error) {
	if ctx.Err() != nil {
		return ScheduledStartResult{}, ctx.Err()
	}
	// A cancel must not come between the run and the ones who know of it: every
	// step is carried out, and then the run is canceled.
	kept, _ := workflow.NewDisconnectedContext(ctx)
	var run activities.StartedRun
	var schedules *activities.Schedules
	start := workflow.WithActivityOptions(kept, patientOptions)
	err := workflow.ExecuteActivity(start, schedules.StartScheduledRun, activities.StartScheduledRunInput{
		ScheduleID: in.ScheduleID, ScheduledAt: scheduledAt(ctx),
	}).Get(start, &run)
	if err != nil {
		return ScheduledStartResult{}, err
	}
	result := ScheduledStartResult{RunID: run.RunID, Skipped: run.Skipped, Code: run.Code, Reason: run.Reason}
	if run.Skipped || run.Ended {
		return result, nil
	}
	ended, err := begin(kept, run)
	if err == nil {
		err = awaitRun(ctx, ended, in.ScheduleID, run.RunID)
	}
	if err == nil {
		err = ctx.Err()
	}
	return result, err
}

// scheduledAt is the time that a start is for.
func scheduledAt(ctx workflow.Context) time.Time {
	if at, ok := workflow.GetTypedSearchAttributes(ctx).GetTime(scheduledStartTime); ok {
		return at.UTC()
	}
	return workflow.GetInfo(ctx).WorkflowStartTime.UTC()
}

// begin starts the workflow of the run, and returns what is ready when the run has
// ended. Where somebody else was faster (the relay, for the record is its own
// outbox; or an earlier start of the same time) the record is asked for the end.
func begin(ctx workflow.Context, run activities.StartedRun) (workflow.Future, error) {
	var schedules *activities.Schedules
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, childOptions(run)), AgentRun, AgentRunInput{
		RunID: run.RunID, OrgID: run.OrgID, AgentID: run.AgentID, Agent: run.Agent,
	})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	switch {
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		await := workflow.WithActivityOptions(ctx, awaitRunOptions)
		return workflow.ExecuteActivity(await, schedules.AwaitRunEnd, activities.ScheduledRun{RunID: run.RunID}), nil
	case err != nil:
		return nil, err
	}
	// Spares the relay a look. Nobody waits for it.
	mark := workflow.WithActivityOptions(ctx, patientOptions)
	workflow.ExecuteActivity(mark, schedules.MarkDispatched, activities.ScheduledRun{RunID: run.RunID})
	return child, nil
}

// Two values of package enums of Temporal's API, which is the wire and not for
// workflows: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, PARENT_CLOSE_POLICY_ABANDON.
const (
	rejectDuplicate = 3
	abandon         = 2
)

// childOptions are those of conductor.StartRun, for a run that goes on when this
// workflow does not.
func childOptions(run activities.StartedRun) workflow.ChildWorkflowOptions {
	summary, details, attributes := ShowRun(AgentRunInput{
		RunID: run.RunID, OrgID: run.OrgID, AgentID: run.AgentID, Agent: run.Agent,
	}, run.Version)
	return workflow.ChildWorkflowOptions{
		WorkflowID: string(run.RunID), TaskQueue: QueueProduct,
		WorkflowIDReusePolicy: rejectDuplicate, ParentClosePolicy: abandon,
		StaticSummary: summary, StaticDetails: details, TypedSearchAttributes: attributes,
	}
}

// awaitRun waits for the end of the run, and passes a cancel on to it.
func awaitRun(ctx workflow.Context, ended workflow.Future, schedule ids.Schedule, run ids.Run) error {
	kept, _ := workflow.NewDisconnectedContext(ctx)
	canceled := false
	selector := workflow.NewSelector(kept)
	selector.AddFuture(ended, func(workflow.Future) {})
	selector.AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) { canceled = true })
	selector.Select(kept)
	if canceled {
		signal := CancelSignal{
			RequestedBy: string(schedule), Reason: "the start by the schedule was canceled: the next one is due, or an operator asked for it",
		}
		if err := workflow.SignalExternalWorkflow(kept, string(run), "", SignalCancel, signal).Get(kept, nil); err != nil {
			workflow.GetLogger(ctx).Info("cancel not passed on, the run has ended", "error", err)
		}
	}
	// However the run ended, it did.
	var failed *temporal.ChildWorkflowExecutionError
	if err := ended.Get(kept, nil); err != nil && !errors.As(err, &failed) {
		return err
	}
	return nil
}
