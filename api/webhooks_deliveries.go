package api

import (
	"context"
	"net/http"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	listDeliveriesInput struct {
		Org    string `path:"org" maxLength:"40" example:"acme"`
		ID     string `path:"id" example:"whk_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor string `query:"cursor" maxLength:"200"`
	}
	deliveryInput struct {
		Org      string `path:"org" maxLength:"40" example:"acme"`
		ID       string `path:"id" example:"whk_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Delivery string `path:"delivery" example:"msg_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	deliveryAnswer    struct{ Body deliveryBody }
	newDeliveryAnswer struct {
		Location string `header:"Location" doc:"The delivery."`
		Body     deliveryBody
	}
	deliveriesAnswer struct{ Body page[deliveryBody] }
)

func (a *app) routeDeliveries() {
	handle(a, route{
		id: "test-webhook", method: http.MethodPost, path: webhooksPath + "/{id}/test", tag: tagOrganization,
		action: marketplace.ActWebhooksManage, status: http.StatusAccepted, summary: "Send a message of the type webhook.test",
		description: "It is signed, sent and tried again like any other.",
		problems:    []string{"organization_not_found", "webhook_not_found", "webhook_disabled", "too_many_deliveries"},
	}, a.testWebhook)
	handle(a, route{
		id: "list-deliveries", method: http.MethodGet, path: webhooksPath + "/{id}/deliveries", tag: tagOrganization,
		action: marketplace.ActWebhooksManage, summary: "List the messages to a webhook",
		problems: []string{"organization_not_found", "webhook_not_found", "cursor_invalid"},
	}, a.listDeliveries)
	handle(a, route{
		id: "get-delivery", method: http.MethodGet, path: webhooksPath + "/{id}/deliveries/{delivery}", tag: tagOrganization,
		action: marketplace.ActWebhooksManage, summary: "Get a message to a webhook, with its tries",
		problems: []string{"organization_not_found", "webhook_not_found", "delivery_not_found"},
	}, a.getDelivery)
	handle(a, route{
		id: "redeliver", method: http.MethodPost, path: webhooksPath + "/{id}/deliveries/{delivery}/redeliver", tag: tagOrganization,
		action: marketplace.ActWebhooksManage, status: http.StatusAccepted, summary: "Send a message once more",
		description: "Makes a delivery of its own, with the same body under a new webhook-id, so that a receiver that leaves out what it knows takes it.",
		problems:    []string{"organization_not_found", "webhook_not_found", "delivery_not_found", "webhook_disabled", "too_many_deliveries"},
	}, a.redeliver)
}

func (a *app) testWebhook(ctx context.Context, in *webhookInput) (*newDeliveryAnswer, error) {
	org, e, err := a.webhook(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	now := a.Now()
	return a.send(ctx, org, e, product.NewDelivery(e, "", product.WebhookTest, product.TestPayload(e.ID, now), now))
}

// send stores a delivery. The relay starts it.
func (a *app) send(ctx context.Context, org marketplace.Organization, e product.Endpoint, d product.Delivery) (*newDeliveryAnswer, error) {
	if e.Disabled {
		return nil, fault.New(fault.Conflict, "webhook_disabled", "the webhook is disabled")
	}
	if err := a.Control.CreateDelivery(ctx, d); err != nil {
		return nil, err
	}
	answer := &newDeliveryAnswer{Body: deliveryBodyOf(org, d)}
	answer.Location = answer.Body.URLs.Self
	return answer, nil
}

func (a *app) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*deliveriesAnswer, error) {
	before, err := decodeCursor[ids.Delivery](ids.PrefixDelivery, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, e, err := a.webhook(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := a.Control.Deliveries(ctx, e.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &deliveriesAnswer{pageOf(found, in.Limit, func(d product.Delivery) ids.Delivery { return d.ID },
		func(d product.Delivery) deliveryBody { return deliverySummaryOf(org, d) })}, nil
}

// delivery finds a message to an endpoint of an organization of the caller's.
func (a *app) delivery(ctx context.Context, in *deliveryInput) (marketplace.Organization, product.Endpoint, product.Delivery, error) {
	org, e, err := a.webhook(ctx, in.Org, in.ID)
	if err == nil {
		err = known(ids.PrefixDelivery, in.Delivery, "delivery")
	}
	if err != nil {
		return org, e, product.Delivery{}, err
	}
	d, err := a.Control.Delivery(ctx, ids.Delivery(in.Delivery))
	if err == nil && (d.EndpointID != e.ID || d.OrgID != org.ID) {
		err = fault.Newf(fault.NotFound, "delivery_not_found", "there is no delivery %s", in.Delivery)
	}
	return org, e, d, err
}

func (a *app) getDelivery(ctx context.Context, in *deliveryInput) (*deliveryAnswer, error) {
	org, _, d, err := a.delivery(ctx, in)
	if err != nil {
		return nil, err
	}
	return &deliveryAnswer{deliveryBodyOf(org, d)}, nil
}

func (a *app) redeliver(ctx context.Context, in *deliveryInput) (*newDeliveryAnswer, error) {
	org, e, d, err := a.delivery(ctx, in)
	if err != nil {
		return nil, err
	}
	return a.send(ctx, org, e, product.NewDelivery(e, d.RunID, d.Event, d.Payload, a.Now()))
}
