package conductor

import (
	"context"
	"errors"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"agentmarket/activities"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
	"agentmarket/workflows"
)

// callTimeout bounds each call that says something of a record, so that a Temporal
// that hangs is one that is away. What was not said stays due.
const callTimeout = 2 * time.Second

// Conductor speaks to one Temporal namespace.
type Conductor struct {
	client    client.Client
	namespace string
}

// New returns a conductor for a connected client.
func New(c client.Client, namespace string) *Conductor {
	return &Conductor{client: c, namespace: namespace}
}

// workflowID is the identifier of a run's workflow: the run's own.
func workflowID(run ids.Run) string { return string(run) }

// StartRun starts the workflow of a run. Starting it again changes nothing. A
// Temporal that cannot answer is fault.Unavailable.
func (c *Conductor) StartRun(ctx context.Context, run product.Run) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := workflows.AgentRunInput{RunID: run.ID, OrgID: run.OrgID, AgentID: run.AgentID, Agent: run.Agent}
	summary, details, attributes := workflows.ShowRun(in, run.Version)
	_, err := c.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       workflowID(run.ID),
		TaskQueue:                workflows.QueueProduct,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            summary,
		StaticDetails:            details,
		TypedSearchAttributes:    attributes,
	}, workflows.AgentRun, in)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) { // it has run and ended: it was started
		return nil
	}
	return unavailable(err, "start workflow of "+string(run.ID))
}

// CancelRun tells the workflow of a run to cancel. A workflow that does not
// exist (yet) or has ended is fault.NotFound.
func (c *Conductor) CancelRun(ctx context.Context, run product.Run) error {
	if run.Cancel == nil {
		return fault.New(fault.Conflict, "", "the run carries no request to cancel")
	}
	signal := workflows.CancelSignal{
		RequestedBy: run.Cancel.RequestedBy, Reason: run.Cancel.Reason, Force: run.Cancel.Force,
	}
	if g := run.Cancel.Grace; g != nil {
		signal.GraceSeconds = new(int(*g / time.Second))
	}
	return c.signal(ctx, run.ID, workflows.SignalCancel, signal)
}

// Decided tells the workflow of a run that its approval was decided. What the
// decision is, the record says. A workflow that does not exist (yet) or has ended
// is fault.NotFound.
func (c *Conductor) Decided(ctx context.Context, run product.Run) error {
	return c.signal(ctx, run.ID, workflows.SignalDecide, workflows.DecideSignal{})
}

// SlotFreed tells the workflow of a run in the queue that it was given a slot. A
// workflow that has ended is fault.NotFound.
func (c *Conductor) SlotFreed(ctx context.Context, run ids.Run) error {
	return c.signal(ctx, run, workflows.SignalSlotFreed, nil)
}

// WaitRun waits until the workflow of a run has ended, or the context has. It
// says nothing of how: the record does.
func (c *Conductor) WaitRun(ctx context.Context, run ids.Run) error {
	err := c.client.GetWorkflow(ctx, workflowID(run), "").Get(ctx, nil)
	var failed *temporal.WorkflowExecutionError
	if errors.As(err, &failed) { // ended, just not as completed
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return unavailable(err, "wait for workflow of "+string(run))
}

// RunStarted tells the workflow that an attempt's process runs.
func (c *Conductor) RunStarted(ctx context.Context, ref infra.Ref, at time.Time) error {
	return c.signal(ctx, ref.Run, workflows.SignalStarted, workflows.StartedSignal{Attempt: ref.Attempt, StartedAt: at})
}

// JobEnded completes the activity that waits for the end of an attempt. Where
// nobody waits (any more, or yet) the error is fault.NotFound: the waiting
// activity looks for itself when it starts.
func (c *Conductor) JobEnded(ctx context.Context, ref infra.Ref, outcome infra.Outcome) error {
	return c.complete(ctx, ref.Run, workflows.AwaitJobID(ref.Attempt), activities.JobOutcomeFrom(outcome))
}

// PodGone completes the activity that waits until an attempt is gone.
func (c *Conductor) PodGone(ctx context.Context, ref infra.Ref, last infra.Pod, at time.Time) error {
	return c.complete(ctx, ref.Run, workflows.AwaitGoneID(ref.Attempt), activities.GoneReceiptFrom(ref, last, at))
}

// Ping checks that Temporal answers, for readiness.
func (c *Conductor) Ping(ctx context.Context) error {
	_, err := c.client.CheckHealth(ctx, &client.CheckHealthRequest{})
	return unavailable(err, "reach Temporal")
}

func (c *Conductor) signal(ctx context.Context, run ids.Run, name string, payload any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := c.client.SignalWorkflow(ctx, workflowID(run), "", name, payload)
	return unavailable(err, "signal "+name+" to "+string(run))
}

// complete completes by identifiers, not by task token: a retry of the activity
// makes its token void, and a watcher of another process has none.
func (c *Conductor) complete(ctx context.Context, run ids.Run, activityID string, result any) error {
	err := c.client.CompleteActivityByID(ctx, c.namespace, workflowID(run), "", activityID, result, nil)
	return unavailable(err, "complete "+activityID+" of "+string(run))
}

// unavailable turns an error of the Temporal client into a fault: NotFound and
// Invalid where Temporal says so for good, else Unavailable.
func unavailable(err error, doing string) error {
	if err == nil {
		return nil
	}
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return fault.Wrap(fault.NotFound, err, doing)
	}
	var refused *serviceerror.InvalidArgument
	if errors.As(err, &refused) {
		return fault.Wrap(fault.Invalid, err, doing)
	}
	return fault.Wrap(fault.Unavailable, err, doing)
}
