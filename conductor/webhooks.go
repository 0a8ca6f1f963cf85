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

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
	"agentmarket/workflows"
)

// StartDelivery starts the workflow of a delivery. Starting it again changes
// nothing; one that has ended is fault.NotFound. A Temporal that cannot answer is
// fault.Unavailable.
func (c *Conductor) StartDelivery(ctx context.Context, d product.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := c.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       string(d.ID),
		TaskQueue:                workflows.QueueProduct,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		// Else the client would not say that it has ended.
		WorkflowExecutionErrorWhenAlreadyStarted: true,

		StaticSummary:         string(d.Event) + " to " + string(d.EndpointID),
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.OrgIDKey.ValueSet(string(d.OrgID))),
	}, workflows.DeliverWebhook, workflows.DeliverWebhookInput{DeliveryID: d.ID})
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return fault.Wrap(fault.NotFound, err, "start workflow of "+string(d.ID))
	}
	return unavailable(err, "start workflow of "+string(d.ID))
}

// WebhookOutbox is the outbox of deliveries. One whose workflow was started is due
// once more when it should have ended long ago: nobody else would miss it.
func WebhookOutbox(c *Conductor, deliveries product.DeliveryStore, log *slog.Logger) Outbox {
	return func(ctx context.Context, now time.Time) (bool, error) {
		due, err := deliveries.DueDeliveries(ctx, now, relayLease, relayBatch)
		if err != nil {
			return false, err
		}
		return each(ctx, log, due, func(d product.Delivery) (kind, id string) { return "delivery", string(d.ID) },
			func(ctx context.Context, d product.Delivery) error {
				err := c.StartDelivery(ctx, d)
				switch {
				case fault.Is(err, fault.NotFound):
					return lost(ctx, deliveries, d.ID, now)
				case err != nil:
					return err
				}
				return deliveries.DeliveryDispatched(ctx, d.ID, d.MissedAt(now))
			})
	}
}

// lost records the failure of a delivery whose workflow has ended. Where the
// workflow has recorded the end itself, as it does unless an operator terminates it,
// this changes nothing.
func lost(ctx context.Context, deliveries product.DeliveryStore, id ids.Delivery, now time.Time) error {
	d, err := deliveries.Delivery(ctx, id)
	if err != nil {
		return err
	}
	try := product.DeliveryTry{
		Number: d.NextTry(), At: now, Error: "the delivery was ended before its time by an operator of the platform",
	}
	return deliveries.RecordTry(ctx, id, try, product.DeliveryFailed)
}
