package api

import (
	"context"
	"net/http"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

type (
	createOrganizationRequest struct {
		Name string `json:"name" pattern:"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" doc:"Unique: 1 to 40 lower-case letters, digits and inner hyphens. The publisher part of its agents' names." example:"acme"`
	}
	createOrganizationInput struct {
		Body createOrganizationRequest
	}
	newOrganizationBody struct {
		Organization organizationBody `json:"organization"`
		APIKey       keyBody          `json:"api_key"`
		Token        string           `json:"token" doc:"The first API key of the organization, its owner's. Shown once: nobody can read it again." example:"amk_0123456789ab_…"`
	}
	newOrganizationAnswer struct {
		Location string `header:"Location" doc:"The organization."`
		Body     newOrganizationBody
	}
	organizationsAnswer struct{ Body page[organizationBody] }
)

func (a *app) routePlatformOrganizations() {
	handle(a, route{
		id: "list-organizations", method: http.MethodGet, path: "/v1/platform/organizations", tag: tagPlatform,
		action: marketplace.ActPlatformRead, summary: "List all organizations", problems: []string{"cursor_invalid"},
	}, a.listOrganizations)
	handle(a, route{
		id: "create-organization", method: http.MethodPost, path: "/v1/platform/organizations", tag: tagPlatform,
		action: marketplace.ActPlatformOrgs, status: http.StatusCreated, summary: "Make an organization",
		description: "Answers with its first API key, in the role owner, which is shown this once. With it the first people are invited.",
		problems:    []string{"organization_taken"},
	}, a.createOrganization)
}

func (a *app) listOrganizations(ctx context.Context, in *listInput) (*organizationsAnswer, error) {
	before, err := decodeCursor[ids.Org](ids.PrefixOrg, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Organizations(ctx, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &organizationsAnswer{pageOf(found, in.Limit, func(o marketplace.Organization) ids.Org { return o.ID }, organizationBodyOf)}, nil
}

// createOrganization makes an organization and its first key. Where only the
// first of the two is stored, an operator makes a key on the platform's computer.
func (a *app) createOrganization(ctx context.Context, in *createOrganizationInput) (*newOrganizationAnswer, error) {
	now := a.Now()
	org, err := marketplace.NewOrganization(in.Body.Name, now)
	if err != nil {
		return nil, err
	}
	if err := a.Marketplace.CreateOrganization(ctx, actor(ctx), org); err != nil {
		return nil, err
	}
	key, token := marketplace.NewAPIKey(org.ID, "first key", marketplace.RoleOwner, marketplace.AllScopes(), now)
	if err := a.Marketplace.CreateAPIKey(ctx, actor(ctx), key); err != nil {
		return nil, err
	}
	return &newOrganizationAnswer{
		Location: organizationPath(org.Name),
		Body:     newOrganizationBody{organizationBodyOf(org), a.keyBody(org, key), token.Reveal()},
	}, nil
}
