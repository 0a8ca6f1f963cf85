package api

import (
	"context"

	"agentmarket/marketplace"
	"agentmarket/product"
)

type setPlatformLimitsInput struct {
	Body LimitNumbers
}

func (a *app) routePlatformLimits() {
	platform := limitCalls{"platform-limits", "/v1/platform/limits", tagPlatform, marketplace.ActPlatformPolicies,
		"the limits of all runs of the platform", nil}
	handle(a, platform.get(), getLimit(a, platformLimits))
	handle(a, platform.set(), a.setPlatformLimits)
	handle(a, platform.remove(), deleteLimit(a, platformLimits))

	quota := limitCalls{"quota", "/v1/platform/organizations/{org}/limits", tagPlatform, marketplace.ActPlatformPolicies,
		"the limits that the platform sets an organization", []string{"organization_not_found"}}
	handle(a, quota.get(), getLimit(a, a.quota))
	handle(a, quota.set(), a.setQuota)
	handle(a, quota.remove(), deleteLimit(a, a.quota))

	publisher := limitCalls{"publisher-limits", "/v1/platform/publishers/{org}/limits", tagPlatform, marketplace.ActPlatformPolicies,
		"the limits of all runs of the agents of a publisher", []string{"organization_not_found"}}
	handle(a, publisher.get(), getLimit(a, a.publisherLimits))
	handle(a, publisher.set(), a.setPublisherLimits)
	handle(a, publisher.remove(), deleteLimit(a, a.publisherLimits))
}

func platformLimits(context.Context, *struct{}) (limitOwner, error) {
	return limitOwner{scope: product.PlatformScope()}, nil
}

func (a *app) setPlatformLimits(ctx context.Context, in *setPlatformLimitsInput) (*limitAnswer, error) {
	return a.setLimit(ctx, limitOwner{scope: product.PlatformScope()}, in.Body)
}

// quota is in the audit log of the organization, which it concerns.
func (a *app) quota(ctx context.Context, in *orgInput) (limitOwner, error) {
	org, err := a.organization(ctx, in.Org)
	return limitOwner{org.ID, product.Scope{Kind: product.ScopeQuota, ID: string(org.ID)}}, err
}

func (a *app) setQuota(ctx context.Context, in *setLimitsInput) (*limitAnswer, error) {
	owner, err := a.quota(ctx, &orgInput{in.Org})
	if err != nil {
		return nil, err
	}
	return a.setLimit(ctx, owner, in.Body)
}

func (a *app) publisherLimits(ctx context.Context, in *orgInput) (limitOwner, error) {
	org, err := a.organization(ctx, in.Org)
	return limitOwner{org.ID, product.Scope{Kind: product.ScopePublisher, ID: string(org.ID)}}, err
}

func (a *app) setPublisherLimits(ctx context.Context, in *setLimitsInput) (*limitAnswer, error) {
	owner, err := a.publisherLimits(ctx, &orgInput{in.Org})
	if err != nil {
		return nil, err
	}
	return a.setLimit(ctx, owner, in.Body)
}
