package conductor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"agentmarket/product"
	"agentmarket/workflows"
)

// StartDelivery starts the workflow of a delivery. Starting it again changes
// nothing. A Temporal that cannot answer is fault.Unavailable.
func (c *Conductor) StartDelivery(ctx context.Context, d product.Delivery) error {
	_, err := c.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       string(d.ID),
		TaskQueue:                workflows.QueueProduct,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            string(d.Event) + " to " + string(d.EndpointID),
		TypedSearchAttributes:    temporal.NewSearchAttributes(workflows.OrgIDKey.ValueSet(string(d.OrgID))),
	}, workflows.DeliverWebhook, workflows.DeliverWebhookInput{DeliveryID: d.ID})
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) { // it has run and ended: it was started
		return nil
	}
	return unavailable(err, "start workflow of "+string(d.ID))
}

// WebhookOutbox is the outbox of deliveries.
func WebhookOutbox(c *Conductor, deliveries product.DeliveryStore, log *slog.Logger) Outbox {
	return func(ctx context.Context, now time.Time) (bool, error) {
		due, err := deliveries.DueDeliveries(ctx, now, relayLease, relayBatch)
		if err != nil {
			return false, err
		}
		return each(ctx, log, due, func(d product.Delivery) (kind, id string) { return "delivery", string(d.ID) },
			func(d product.Delivery) error {
				if err := c.StartDelivery(ctx, d); err != nil {
					return err
				}
				return deliveries.DeliveryDispatched(ctx, d.ID)
			})
	}
}
