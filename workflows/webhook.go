package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/product"
)

// QueueWebhooks is for what talks to the endpoints of customers: however slowly
// they answer, runs do not wait for them.
const QueueWebhooks = "webhooks"

var (
	// deliverOptions: an endpoint has a day to come back. A try that failed is told
	// by an error that names the pause; the policy is for what the platform could not
	// do. The time bounds the tries, not their number: waiting for a turn is counted, too.
	deliverOptions = workflow.ActivityOptions{
		TaskQueue: QueueWebhooks, StartToCloseTimeout: time.Minute, ScheduleToCloseTimeout: product.DeliveryTime,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: activities.FirstDeliveryPause, BackoffCoefficient: 2, MaximumInterval: 5 * time.Minute,
			MaximumAttempts: 100_000, // more than fit into the time
		},
		Summary: "deliver",
	}
	// endDeliveryOptions: the end must be on record, however long the store is away.
	endDeliveryOptions = workflow.ActivityOptions{
		TaskQueue: QueueProduct, StartToCloseTimeout: 15 * time.Second, RetryPolicy: backoff,
	}
)

// DeliverWebhookInput names the delivery. Everything else is read from its record.
type DeliverWebhookInput = activities.DeliveryRef

// DeliverWebhookResult is what became of the delivery.
type DeliverWebhookResult struct {
	Status product.DeliveryStatus `json:"status"`
}

// DeliverWebhook is the workflow of one message to an endpoint: it is sent until it
// is accepted, until the endpoint is gone, or until its time is up. All of these
// complete the workflow, for none is a business of operators.
func DeliverWebhook(ctx workflow.Context, in DeliverWebhookInput) (DeliverWebhookResult, error) {
	var edge *activities.Webhooks
	var sent activities.DeliverResult
	deliver := workflow.WithActivityOptions(ctx, deliverOptions)
	err := workflow.ExecuteActivity(deliver, edge.Deliver, in).Get(deliver, &sent)
	if err == nil && sent.Unrecorded == nil {
		return DeliverWebhookResult{sent.Status}, nil
	}
	end := activities.EndDeliveryInput{DeliveryID: in.DeliveryID, Status: product.DeliveryFailed}
	if err != nil {
		workflow.GetLogger(ctx).Info("delivery given up", "delivery_id", string(in.DeliveryID), "error", err)
	} else {
		end = *sent.Unrecorded
	}
	kept, _ := workflow.NewDisconnectedContext(ctx) // one that an operator canceled has failed
	kept = workflow.WithActivityOptions(kept, endDeliveryOptions)
	if err := workflow.ExecuteActivity(kept, edge.EndDelivery, end).Get(kept, nil); err != nil {
		return DeliverWebhookResult{}, err
	}
	return DeliverWebhookResult{end.Status}, nil
}
