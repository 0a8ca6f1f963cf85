package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// putListing creates or edits a listing. What is not stored in the one
// transaction of the listing is mended by a repeat of the same request.
func (a *app) putListing(ctx context.Context, in *putListingInput) (*putListingAnswer, error) {
	org, err := a.Marketplace.Organization(ctx, requestOf(ctx).caller.OrgID)
	if err == nil && org.Name != in.Publisher {
		err = fault.Newf(fault.NotFound, "agent_not_found", "your organization publishes no agent %s/%s", in.Publisher, in.Name)
	}
	if err != nil {
		return nil, err
	}
	now, visibility := a.Now(), marketplace.Visibility(in.Body.Visibility)
	draft, err := marketplace.NewListing("", org, in.Name, in.Body.content(), visibility, now)
	if err != nil {
		return nil, err
	}
	agent, err := a.ensureAgent(ctx, org, in.Name, now)
	if err != nil {
		return nil, err
	}
	draft.AgentID = agent.ID
	answer := &putListingAnswer{Status: http.StatusCreated, Location: agentPath(org.Name, in.Name) + "/listing"}
	var listing marketplace.Listing
	err = a.Marketplace.CreateListing(ctx, actor(ctx), draft)
	switch {
	case err == nil:
		listing, err = a.Marketplace.Listing(ctx, agent.ID)
	case fault.Is(err, fault.Conflict): // it is there
		answer.Status = http.StatusOK
		listing, err = a.changeListing(ctx, agent.ID, "listing.edit", nil, func(l *marketplace.Listing) error {
			return l.Edit(draft.Content, visibility, a.Policy.ReviewListings, now)
		})
	}
	if err != nil {
		return nil, err
	}
	answer.Body, err = a.ownListing(ctx, agent, listing)
	return answer, err
}

// ensureAgent returns an agent of the caller's organization, with the right of
// its publisher. One that does not exist yet is made, without a version.
func (a *app) ensureAgent(ctx context.Context, org marketplace.Organization, name string, now time.Time) (product.Agent, error) {
	agent, err := a.Names.EnsureAgent(ctx, actor(ctx), product.Agent{
		ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: name, CreatedAt: now, UpdatedAt: now,
	})
	if err != nil {
		return product.Agent{}, err
	}
	own := marketplace.NewEntitlement(org.ID, agent.ID, marketplace.SourceOwnership, now)
	return agent, a.Marketplace.Entitle(ctx, actor(ctx), own)
}
