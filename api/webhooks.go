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
	createWebhookRequest struct {
		URL         string   `json:"url" minLength:"1" maxLength:"2000" doc:"https, at a public address; without credentials and without a fragment." example:"https://hooks.example.com/agentmarket"`
		Secret      string   `json:"secret,omitempty" minLength:"1" maxLength:"100" doc:"Your own: whsec_ and 24 to 64 bytes in base64. Default: one is made." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
		Events      []string `json:"events,omitempty" maxItems:"10" uniqueItems:"true" enum:"run.ended,run.waiting_approval" doc:"What it is told of. Default: everything." example:"[\"run.ended\"]"`
		Description string   `json:"description,omitempty" maxLength:"200" doc:"For people, on one line." example:"to the chat of the team"`
	}
	changeWebhookRequest struct {
		URL         *string  `json:"url,omitempty" minLength:"1" maxLength:"2000" doc:"As at the creation."`
		Events      []string `json:"events,omitempty" maxItems:"10" uniqueItems:"true" enum:"run.ended,run.waiting_approval" doc:"An empty list: everything."`
		Description *string  `json:"description,omitempty" maxLength:"200"`
		Disabled    *bool    `json:"disabled,omitempty" doc:"true: it is told nothing, and what is open to it fails."`
	}
	rotateSecretRequest struct {
		Secret string `json:"secret,omitempty" minLength:"1" maxLength:"100" doc:"Your own. Default: one is made."`
	}
	createWebhookInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Body createWebhookRequest
	}
	webhookInput struct {
		Org string `path:"org" maxLength:"40" example:"acme"`
		ID  string `path:"id" example:"whk_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	changeWebhookInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		ID   string `path:"id" example:"whk_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body changeWebhookRequest
	}
	rotateSecretInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		ID   string `path:"id" example:"whk_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body *rotateSecretRequest
	}
	newWebhookAnswer struct {
		Location string `header:"Location" doc:"The webhook."`
		Body     newWebhookBody
	}
	webhookAnswer  struct{ Body webhookBody }
	webhooksAnswer struct{ Body page[webhookBody] }
)

const webhooksPath = "/v1/organizations/{org}/webhooks"

func (a *app) routeWebhooks() {
	handle(a, route{
		id: "create-webhook", method: http.MethodPost, path: webhooksPath, tag: tagOrganization, action: marketplace.ActWebhooksManage,
		status: http.StatusCreated, summary: "Name an address that is told of the organization's runs",
		description: "Messages follow the Standard Webhooks specification. They are signed with the secret of the answer, which is shown once.",
		problems:    []string{"organization_not_found", "too_many_endpoints"},
	}, a.createWebhook)
	handle(a, route{
		id: "list-webhooks", method: http.MethodGet, path: webhooksPath, tag: tagOrganization, action: marketplace.ActWebhooksManage,
		summary:  "List the webhooks of an organization, without those of single runs, on one page",
		problems: []string{"organization_not_found"},
	}, a.listWebhooks)
	handle(a, route{
		id: "get-webhook", method: http.MethodGet, path: webhooksPath + "/{id}", tag: tagOrganization, action: marketplace.ActWebhooksManage,
		summary: "Get a webhook, without its secret", problems: []string{"organization_not_found", "webhook_not_found"},
	}, a.getWebhook)
	handle(a, route{
		id: "change-webhook", method: http.MethodPatch, path: webhooksPath + "/{id}", tag: tagOrganization, action: marketplace.ActWebhooksManage,
		summary: "Change a webhook", description: "What is left out stays. What is open to it is sent to the new address.",
		problems: []string{"organization_not_found", "webhook_not_found"},
	}, a.changeWebhook)
	handle(a, route{
		id: "delete-webhook", method: http.MethodDelete, path: webhooksPath + "/{id}", tag: tagOrganization, action: marketplace.ActWebhooksManage,
		status: http.StatusNoContent, summary: "Remove a webhook", description: "What is open to it fails.",
		problems: []string{"organization_not_found", "webhook_not_found"},
	}, a.deleteWebhook)
	handle(a, route{
		id: "rotate-webhook-secret", method: http.MethodPost, path: webhooksPath + "/{id}/rotate-secret", tag: tagOrganization,
		action: marketplace.ActWebhooksManage, optionalBody: true, summary: "Renew the secret of a webhook",
		description: "The next try is signed with the new one, that of an open delivery too. The answer shows it once.",
		problems:    []string{"organization_not_found", "webhook_not_found"},
	}, a.rotateWebhookSecret)
	a.routeDeliveries()
}

func (a *app) createWebhook(ctx context.Context, in *createWebhookInput) (*newWebhookAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(in.Body.Description); err != nil {
		return nil, err
	}
	e, err := product.NewEndpoint(org.ID, in.Body.URL, in.Body.Secret, a.WebhookInsecure, a.Now())
	if err != nil {
		return nil, err
	}
	e.Events, e.Description = eventsOf(in.Body.Events), in.Body.Description
	if err := a.Control.CreateEndpoint(ctx, actor(ctx), e); err != nil {
		return nil, err
	}
	return newWebhook(org, e), nil
}

func newWebhook(org marketplace.Organization, e product.Endpoint) *newWebhookAnswer {
	answer := &newWebhookAnswer{Body: newWebhookBody{webhookBodyOf(org, e), e.Secret.Reveal()}}
	answer.Location = answer.Body.Webhook.URLs.Self
	return answer
}

func eventsOf(texts []string) []product.WebhookEvent {
	var events []product.WebhookEvent
	for _, text := range texts {
		events = append(events, product.WebhookEvent(text))
	}
	return events
}

func checkDescription(text string) error {
	if text == "" {
		return nil
	}
	return marketplace.CheckText(text, "/description", 200)
}

func (a *app) listWebhooks(ctx context.Context, in *orgInput) (*webhooksAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Control.Endpoints(ctx, org.ID)
	if err != nil {
		return nil, err
	}
	items := make([]webhookBody, len(found))
	for i, e := range found {
		items[i] = webhookBodyOf(org, e)
	}
	return &webhooksAnswer{page[webhookBody]{Items: items}}, nil
}

// webhook finds an endpoint of an organization of the caller's.
func (a *app) webhook(ctx context.Context, name, id string) (marketplace.Organization, product.Endpoint, error) {
	org, err := a.organization(ctx, name)
	if err == nil {
		err = known(ids.PrefixEndpoint, id, "webhook")
	}
	if err != nil {
		return marketplace.Organization{}, product.Endpoint{}, err
	}
	e, err := a.Control.Endpoint(ctx, ids.Endpoint(id))
	if err == nil && e.OrgID != org.ID {
		err = fault.Newf(fault.NotFound, "webhook_not_found", "there is no webhook %s", id)
	}
	if err != nil {
		return marketplace.Organization{}, product.Endpoint{}, err
	}
	return org, e, nil
}

func (a *app) getWebhook(ctx context.Context, in *webhookInput) (*webhookAnswer, error) {
	org, e, err := a.webhook(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	return &webhookAnswer{webhookBodyOf(org, e)}, nil
}

func (a *app) changeWebhook(ctx context.Context, in *changeWebhookInput) (*webhookAnswer, error) {
	org, e, err := a.webhook(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	b := in.Body
	if b.URL != nil {
		err = product.CheckWebhookURL(*b.URL, a.WebhookInsecure)
	}
	if err == nil && b.Description != nil {
		err = checkDescription(*b.Description)
	}
	if err != nil {
		return nil, err
	}
	now := a.Now()
	e, err = a.Control.UpdateEndpoint(ctx, actor(ctx), org.ID, e.ID, func(e *product.Endpoint) error {
		if b.URL != nil {
			e.URL = *b.URL
		}
		if b.Events != nil {
			e.Events = eventsOf(b.Events)
		}
		if b.Description != nil {
			e.Description = *b.Description
		}
		if b.Disabled != nil {
			e.Disabled = *b.Disabled
		}
		e.UpdatedAt = now
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &webhookAnswer{webhookBodyOf(org, e)}, nil
}

func (a *app) deleteWebhook(ctx context.Context, in *webhookInput) (*emptyAnswer, error) {
	org, e, err := a.webhook(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.Control.DeleteEndpoint(ctx, actor(ctx), org.ID, e.ID, a.Now())
}

func (a *app) rotateWebhookSecret(ctx context.Context, in *rotateSecretInput) (*newWebhookAnswer, error) {
	org, e, err := a.webhook(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	secret := product.NewWebhookSecret()
	if in.Body != nil && in.Body.Secret != "" {
		if err := product.CheckWebhookSecret(in.Body.Secret); err != nil {
			return nil, err
		}
		secret = product.WebhookSecret(in.Body.Secret)
	}
	now := a.Now()
	e, err = a.Control.UpdateEndpoint(ctx, actor(ctx), org.ID, e.ID, func(e *product.Endpoint) error {
		e.Secret, e.UpdatedAt = secret, now
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newWebhook(org, e), nil
}
