package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// Sender sends a message to an endpoint once. Whatever the endpoint answers is no
// error; the message of an error is for its owner.
type Sender interface {
	Send(ctx context.Context, e product.Endpoint, d product.Delivery) (product.WebhookAnswer, error)
}

// Webhooks is what workflows ask of those who are told of runs.
type Webhooks struct {
	Endpoints  product.WebhookStore
	Deliveries product.DeliveryStore
	Sender     Sender
	Now        func() time.Time

	sending turns
}

// The pauses between the tries of a delivery: each is twice as long as the one
// before.
const (
	FirstDeliveryPause   = 5 * time.Second
	LongestDeliveryPause = 2 * time.Hour
)

// DeliveryRef names a delivery. Everything else is read from its record.
type DeliveryRef struct {
	DeliveryID ids.Delivery `json:"delivery_id"`
}

// DeliverResult is how a delivery ended.
type DeliverResult struct {
	Status product.DeliveryStatus `json:"status"`
	// Unrecorded says that the store could not take the end: the record of the try
	// is left to EndDelivery, for an accepted message must not be sent again.
	Unrecorded *EndDeliveryInput `json:"unrecorded,omitempty"`
}

// EndDeliveryInput is the end of a delivery, with the try that ended it; without a
// number: none did.
type EndDeliveryInput struct {
	DeliveryID ids.Delivery           `json:"delivery_id"`
	Status     product.DeliveryStatus `json:"status"`
	Number     int                    `json:"number,omitempty"`
	At         time.Time              `json:"at,omitzero"`
	Duration   time.Duration          `json:"duration,omitempty"`
	StatusCode int                    `json:"status_code,omitempty"`
}

// Deliver makes one try of a delivery and records it. A try that failed is an
// error that Temporal retries; so is one that was not made, because the
// organization has as many under way as it may. A delivery that has ended is not
// sent again, and one whose endpoint is gone or disabled ends.
//
// A worker that dies between the answer and its record leaves a message that was
// accepted and is sent once more, under the same webhook-id.
func (w *Webhooks) Deliver(ctx context.Context, in DeliveryRef) (DeliverResult, error) {
	d, err := w.Deliveries.Delivery(ctx, in.DeliveryID)
	if err != nil || d.Status != product.DeliveryPending {
		return DeliverResult{Status: d.Status}, toTemporal(err)
	}
	e, err := w.Endpoints.Endpoint(ctx, d.EndpointID)
	if fault.Is(err, fault.NotFound) || err == nil && e.Disabled {
		err = w.Deliveries.RecordTry(ctx, d.ID, product.DeliveryTry{At: w.Now()}, product.DeliveryFailed)
		return DeliverResult{Status: product.DeliveryFailed}, toTemporal(err)
	}
	if err != nil {
		return DeliverResult{}, toTemporal(err)
	}
	leave, ok := w.sending.take(d.OrgID)
	if !ok {
		return DeliverResult{}, notItsTurn(int(activity.GetInfo(ctx).Attempt))
	}
	defer leave()
	try, answer := w.try(ctx, e, d)
	status := product.DeliveryPending
	switch {
	case answer.Accepted():
		status = product.DeliveryDelivered
	case answer.Gone():
		gone, err := w.disable(ctx, e)
		if err != nil {
			return DeliverResult{}, toTemporal(err)
		}
		if gone {
			status = product.DeliveryFailed
		}
	}
	unrecorded := w.Deliveries.RecordTry(ctx, d.ID, try, status)
	result := DeliverResult{Status: status}
	switch {
	case status == product.DeliveryPending:
		if unrecorded != nil { // the next one will be recorded
			activity.GetLogger(ctx).Warn("a try of a delivery is not on record", "delivery_id", string(d.ID), "error", unrecorded)
		}
		return DeliverResult{}, notDelivered(try, answer)
	case unrecorded != nil: // it is sent: the workflow has it recorded
		result.Unrecorded = &EndDeliveryInput{
			DeliveryID: d.ID, Status: status, Number: try.Number, At: try.At, Duration: try.Duration, StatusCode: try.StatusCode,
		}
	}
	return result, nil
}

// try sends the message once.
func (w *Webhooks) try(ctx context.Context, e product.Endpoint, d product.Delivery) (product.DeliveryTry, product.WebhookAnswer) {
	try := product.DeliveryTry{Number: d.NextTry(), At: w.Now()}
	answer, err := w.Sender.Send(ctx, e, d)
	try.Duration, try.StatusCode = w.Now().Sub(try.At), answer.StatusCode
	switch {
	case err != nil:
		try.Error = fault.From(err).Message
	case !answer.Accepted():
		try.Error = fmt.Sprintf("the endpoint answered %d", answer.StatusCode)
	}
	return try, answer
}

// errMoved stops the disabling of an endpoint.
var errMoved = errors.New("the endpoint has another address now")

// disable ends all messages to an endpoint that says that it is gone. One whose
// owner has changed the address meanwhile stays: false.
func (w *Webhooks) disable(ctx context.Context, asked product.Endpoint) (bool, error) {
	_, err := w.Endpoints.UpdateEndpoint(ctx, audit.System("webhooks"), asked.OrgID, asked.ID, func(e *product.Endpoint) error {
		if e.URL != asked.URL {
			return errMoved
		}
		e.Disabled, e.UpdatedAt = true, w.Now()
		return nil
	})
	switch {
	case errors.Is(err, errMoved):
		return false, nil
	case fault.Is(err, fault.NotFound): // deleted meanwhile
		return true, nil
	}
	return err == nil, err
}

// notDelivered makes Temporal try again: after the usual pause, or after the one
// that the endpoint asks for, if that is longer. It is no fault of the platform.
// The pause is named, for Temporal counts those that waited for their turn, too.
func notDelivered(t product.DeliveryTry, answer product.WebhookAnswer) error {
	usual := FirstDeliveryPause << min(t.Number-1, 20)
	return temporal.NewApplicationErrorWithOptions(t.Error, "not_delivered", temporal.ApplicationErrorOptions{
		Category:       temporal.ApplicationErrorCategoryBenign,
		NextRetryDelay: min(max(usual, answer.RetryAfter), LongestDeliveryPause),
	})
}

// EndDelivery records the end of a delivery that no try has recorded. The first
// end stands.
func (w *Webhooks) EndDelivery(ctx context.Context, in EndDeliveryInput) error {
	try := product.DeliveryTry{Number: in.Number, At: in.At, Duration: in.Duration, StatusCode: in.StatusCode}
	if try.At.IsZero() {
		try.At = w.Now()
	}
	return toTemporal(w.Deliveries.RecordTry(ctx, in.DeliveryID, try, in.Status))
}
