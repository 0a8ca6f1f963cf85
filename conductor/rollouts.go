package conductor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"agentmarket/product"
	"agentmarket/workflows"
)

// StartRollout starts the workflow of a rollout. Starting it again changes
// nothing, unless an operator has ended it before its rollout was over.
func (c *Conductor) StartRollout(ctx context.Context, r product.Rollout) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := c.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       string(r.ID),
		TaskQueue:                workflows.QueueProduct,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "rollout of " + r.To + " on " + r.Channel,
		StaticDetails: "Rollout `" + string(r.ID) + "` of agent `" + string(r.AgentID) + "` from version " + r.From +
			" to " + r.To + " on the channel " + r.Channel + ".",
	}, workflows.Rollout, workflows.RolloutInput{RolloutID: r.ID})
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) { // it has come to its end
		return nil
	}
	return unavailable(err, "start workflow of "+string(r.ID))
}

// RolloutChanged tells the workflow of a rollout that its record was changed. A
// workflow that does not exist (yet) or has ended is fault.NotFound.
func (c *Conductor) RolloutChanged(ctx context.Context, r product.Rollout) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := c.client.SignalWorkflow(ctx, string(r.ID), "", workflows.SignalRolloutChanged, nil)
	return unavailable(err, "signal "+workflows.SignalRolloutChanged+" to "+string(r.ID))
}

// RolloutOutbox is the outbox of rollouts. Who changes one leaves it to the relay:
// nobody waits for it.
func RolloutOutbox(c *Conductor, rollouts product.RolloutStore, log *slog.Logger) Outbox {
	return func(ctx context.Context, now time.Time) (bool, error) {
		due, err := rollouts.DueRollouts(ctx, now, relayLease, relayBatch)
		if err != nil {
			return false, err
		}
		return each(ctx, log, due, func(r product.Rollout) (kind, id string) { return "rollout", string(r.ID) },
			func(ctx context.Context, r product.Rollout) error { return sayRollout(ctx, c, rollouts, r) })
	}
}

// sayRollout says what is stored of a rollout: that its workflow is to start, and
// to look at what was changed since.
func sayRollout(ctx context.Context, c *Conductor, rollouts product.RolloutStore, r product.Rollout) error {
	if r.Status.Active() {
		if err := c.StartRollout(ctx, r); err != nil {
			return err
		}
	}
	if r.Revision > 0 {
		if err := ignoreNotFound(c.RolloutChanged(ctx, r)); err != nil {
			return err
		}
	}
	return rollouts.RolloutDispatched(ctx, r)
}
