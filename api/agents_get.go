package api

import (
	"context"
	"slices"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

func (a *app) getAgent(ctx context.Context, in *agentInput) (*agentAnswer, error) {
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	body := a.agentBody(agent)
	if err := a.describeOffer(ctx, agent, claim, &body); err != nil {
		return nil, err
	}
	if err := a.describeUse(ctx, agent, claim, &body); err != nil {
		return nil, err
	}
	return &agentAnswer{body}, nil
}

// describeOffer adds the listing and what the agent costs.
func (a *app) describeOffer(ctx context.Context, agent product.Agent, claim marketplace.Claim, body *agentBody) error {
	listing, err := a.listingFor(ctx, agent, claim)
	if err != nil {
		return err
	}
	if listing != nil {
		body.Listing = new(a.listingWhole(*listing, nil))
	}
	if claim.Price != nil {
		body.Price = new(priceBodyOf(*claim.Price))
	}
	prices, err := a.Marketplace.Prices(ctx, agent.ID)
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(prices) { // they come latest first
		if p.EffectiveFrom.After(a.Now()) {
			body.Announced = append(body.Announced, priceBodyOf(p))
		}
	}
	return nil
}

// describeUse adds what the caller's organization would run, what it may do and
// which update waits.
func (a *app) describeUse(ctx context.Context, agent product.Agent, claim marketplace.Claim, body *agentBody) error {
	var version product.Version
	var err error
	switch i := claim.Installation; {
	case claim.OrgID == claim.Publisher || i == nil:
		version, err = a.version(ctx, agent, claim, "")
	default:
		version, body.Update, err = a.installs(ctx, agent, *i)
		body.Installation = new(installationBodyOf(agent.FullName(), *i, body.Update))
	}
	subject := marketplace.Subject{}
	switch {
	case err == nil:
		subject = marketplace.SubjectOf(version, product.Request{}, a.Limits, a.Policy)
		body.Version, body.Permissions = version.Number, permissionsBodyOf(subject.Permissions)
	case !isNotFound(err): // what is missing is a preview, or a channel that is gone
		return err
	}
	body.Entitlement = a.entitlementBody(ctx, agent, claim, subject)
	return nil
}

func (a *app) entitlementBody(ctx context.Context, agent product.Agent, claim marketplace.Claim, s marketplace.Subject) *entitlementBody {
	decision, err := claim.Decide(s, a.Now())
	if err == nil {
		e := decision.Entitlement
		return &entitlementBody{Allowed: true, Source: string(e.Source), ExpiresAt: when(e.ExpiresAt)}
	}
	body := &entitlementBody{Code: fault.From(err).Code, Detail: fault.From(err).Message}
	body.Next = problemFrom(a.denied(ctx, agent, err)).Next
	if len(claim.Entitlements) > 0 {
		e := claim.Entitlements[0]
		body.Source, body.ExpiresAt = string(e.Source), when(e.ExpiresAt)
	}
	return body
}
