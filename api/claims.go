package api

import (
	"context"
	"fmt"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// claim finds an agent and what the caller's organization may do with it. One
// that is not visible to it does not exist.
func (a *app) claim(ctx context.Context, publisher, name string) (product.Agent, marketplace.Claim, error) {
	absent := fault.Newf(fault.NotFound, "agent_not_found", "there is no agent %s/%s", publisher, name)
	agent, err := a.Agents.AgentByName(ctx, publisher, name)
	if fault.Is(err, fault.NotFound) {
		return product.Agent{}, marketplace.Claim{}, absent
	}
	if err != nil {
		return product.Agent{}, marketplace.Claim{}, err
	}
	claim, err := a.Marketplace.Claim(ctx, a.claimQuery(ctx, agent))
	if fault.Is(err, fault.NotFound) || err == nil && !claim.Visible(a.Now()) {
		err = absent
	}
	return agent, claim, err
}

func (a *app) claimQuery(ctx context.Context, agent product.Agent) marketplace.ClaimQuery {
	who := requestOf(ctx).caller
	return marketplace.ClaimQuery{OrgID: who.OrgID, UserID: who.UserID, AgentID: agent.ID, At: a.Now()}
}

// ownAgent finds an agent that the caller's organization publishes. Those of
// others do not exist for changes, whether or not they can be seen.
func (a *app) ownAgent(ctx context.Context, publisher, name string) (product.Agent, error) {
	agent, err := a.Agents.AgentByName(ctx, publisher, name)
	if fault.Is(err, fault.NotFound) || err == nil && agent.OrgID != requestOf(ctx).caller.OrgID {
		return product.Agent{}, fault.Newf(fault.NotFound, "agent_not_found", "your organization publishes no agent %s/%s", publisher, name)
	}
	return agent, err
}

// version finds a version of an agent: a number, a channel or latest. Without one
// it is what the caller's organization has installed: the pinned version, or the
// newest of its channel that it has consented to; the publisher itself gets the
// latest.
func (a *app) version(ctx context.Context, agent product.Agent, claim marketplace.Claim, wanted string) (product.Version, error) {
	switch {
	case wanted != "":
		return a.namedVersion(ctx, agent, wanted)
	case claim.OrgID == claim.Publisher:
		return a.namedVersion(ctx, agent, product.Latest)
	case claim.Installation != nil:
		return a.installed(ctx, agent, *claim.Installation)
	default:
		return a.namedVersion(ctx, agent, product.ChannelStable)
	}
}

func (a *app) namedVersion(ctx context.Context, agent product.Agent, name string) (product.Version, error) {
	version, err := a.Channels.Resolve(ctx, agent.ID, name)
	if fault.Is(err, fault.NotFound) {
		err = fault.Newf(fault.NotFound, "version_not_found", "%s has no version %s", agent.FullName(), name)
	}
	return version, err
}

// installed is what an installation runs, and moves it on where its channel has
// a version that the consent covers.
func (a *app) installed(ctx context.Context, agent product.Agent, i marketplace.Installation) (product.Version, error) {
	if i.Pinned() {
		return a.Agents.Version(ctx, i.VersionID)
	}
	head, err := a.namedVersion(ctx, agent, i.Channel)
	if err != nil {
		return product.Version{}, err
	}
	now := a.Now()
	before := i.Version
	update, moved := i.Next(head, now)
	switch {
	case update != nil && i.VersionID != "": // it waits for a consent
		return a.Agents.Version(ctx, i.VersionID)
	case !moved: // also where there is nothing to stay on
		return head, nil
	}
	_, err = a.Marketplace.UpdateInstallation(ctx, actor(ctx), i.OrgID, i.AgentID, now, func(stored *marketplace.Installation) error {
		stored.Next(head, now)
		return nil
	})
	if err != nil {
		return product.Version{}, fmt.Errorf("update %s from %s: %w", agent.FullName(), before, err)
	}
	return head, nil
}

// denied words a denial with the way to the missing right. Other errors stay as
// they are.
func (a *app) denied(ctx context.Context, agent product.Agent, err error) error {
	if kind := fault.KindOf(err); kind != fault.Forbidden && kind != fault.PaymentRequired {
		return err
	}
	p := problemFrom(err)
	switch p.Code {
	case marketplace.CodePaymentRequired, marketplace.CodeTrialExhausted, marketplace.CodeSubscriptionEnded:
		p.Next = "/v1/orders"
	case marketplace.CodeConsentRequired:
		p.Next = agentPath(agent.Publisher, agent.Name) + "/installation/consent"
	case marketplace.CodeInsufficientFunds, marketplace.CodeSpendLimitReached:
		org, orgErr := a.Marketplace.Organization(ctx, requestOf(ctx).caller.OrgID)
		if orgErr != nil {
			return orgErr
		}
		p.Next = "/v1/organizations/" + org.Name + "/top-ups"
		if p.Code == marketplace.CodeSpendLimitReached {
			p.Next = "/v1/organizations/" + org.Name + "/spend-limits"
		}
	default:
		p.Next = agentPath(agent.Publisher, agent.Name)
		if a.WebURL != "" {
			p.Next = a.WebURL + "/agents/" + agent.FullName()
		}
	}
	return p
}

// denials are the codes of starts that are not allowed.
func denials() []string {
	return []string{
		marketplace.CodePaymentRequired, marketplace.CodeTrialExhausted, marketplace.CodeSubscriptionEnded,
		marketplace.CodeIncludedExhausted, marketplace.CodeInsufficientFunds, marketplace.CodeBudgetTooLow,
		marketplace.CodeSpendLimitReached, marketplace.CodeNotEntitled, marketplace.CodeEntitlementExpired,
		marketplace.CodeEntitlementRevoked, marketplace.CodeVersionNotCovered, marketplace.CodeConsentRequired,
		marketplace.CodeRunLimitReached, marketplace.CodeConcurrencyReached, marketplace.CodeListingSuspended,
	}
}
