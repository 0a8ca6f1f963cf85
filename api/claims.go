package api

import (
	"context"

	"agentmarket/fault"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// caller is who starts a run by a request.
func caller(ctx context.Context) launch.Caller {
	who := requestOf(ctx).caller
	return launch.Caller{OrgID: who.OrgID, KeyID: who.KeyID, UserID: who.UserID, Teams: who.Teams, Actor: actor(ctx)}
}

// claim finds an agent and what the caller's organization may do with it. One
// that is not visible to it does not exist.
func (a *app) claim(ctx context.Context, publisher, name string) (product.Agent, marketplace.Claim, error) {
	return a.launcher.Claim(ctx, caller(ctx), publisher, name)
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

// version finds what a start would run, see [launch.Launcher.Version].
func (a *app) version(ctx context.Context, agent product.Agent, claim marketplace.Claim, wanted string) (product.Version, error) {
	chosen, err := a.launcher.Version(ctx, agent, claim, wanted)
	return chosen.Version, err
}

// namedVersion finds a version by number, by what a channel points at, or by
// latest.
func (a *app) namedVersion(ctx context.Context, agent product.Agent, name string) (product.Version, error) {
	return a.launcher.Named(ctx, agent, name)
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
	case marketplace.CodeInsufficientFunds, marketplace.CodeSpendLimitReached, string(product.ReasonPolicyDenied), product.CodeLimitReached:
		org, orgErr := a.Marketplace.Organization(ctx, requestOf(ctx).caller.OrgID)
		if orgErr != nil {
			return orgErr
		}
		p.Next = organizationPath(org.Name) + boundsOf[p.Code]
	default:
		p.Next = agentPath(agent.Publisher, agent.Name)
		if a.WebURL != "" {
			p.Next = a.WebURL + "/agents/" + agent.FullName()
		}
	}
	return p
}

// boundsOf is where an organization sees what denies a start by a bound of its
// own, by code.
var boundsOf = map[string]string{
	marketplace.CodeInsufficientFunds:  "/top-ups",
	marketplace.CodeSpendLimitReached:  "/spend-limits",
	string(product.ReasonPolicyDenied): "/policy",
	product.CodeLimitReached:           "/limits",
}

// denials are the codes of starts that are not allowed.
func denials() []string {
	return []string{
		marketplace.CodePaymentRequired, marketplace.CodeTrialExhausted, marketplace.CodeSubscriptionEnded,
		marketplace.CodeIncludedExhausted, marketplace.CodeInsufficientFunds, marketplace.CodeBudgetTooLow,
		marketplace.CodeSpendLimitReached, marketplace.CodeNotEntitled, marketplace.CodeEntitlementExpired,
		marketplace.CodeEntitlementRevoked, marketplace.CodeVersionNotCovered, marketplace.CodeConsentRequired,
		marketplace.CodeRunLimitReached, marketplace.CodeConcurrencyReached, marketplace.CodeListingSuspended,
		string(product.ReasonPolicyDenied), product.CodeLimitReached,
	}
}
