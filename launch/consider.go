package launch

import (
	"context"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// considered is what is known of a start when nothing has been stored yet.
type considered struct {
	agent    product.Agent
	claim    marketplace.Claim
	version  product.Version
	subject  marketplace.Subject
	spending marketplace.Spending
	run      product.Run               // as it would be stored
	move     *marketplace.Installation // how the installation would be stored; nil: as it is
	plan     *product.Plan
	denial   error
	waits    []product.Wait
}

// consider asks both layers about a start. Errors are of requests that cannot be
// judged; a denial is in the result, with what was found before it.
func (l *Launcher) consider(ctx context.Context, s Start) (considered, error) {
	team, err := s.team()
	if err != nil {
		return considered{}, err
	}
	var c considered
	if c.agent, c.claim, err = l.Claim(ctx, s.Caller, s.Publisher, s.Name); err != nil {
		return considered{}, err
	}
	c.subject = marketplace.Subject{MaxCost: s.Request.MaxCost}
	chosen, err := l.Version(ctx, c.agent, c.claim, s.Version)
	if isNotFound(err) { // a preview: the right comes first
		if _, denial := c.claim.Decide(c.subject, l.Now()); denial != nil {
			c.denial = denial
			return c, nil //nolint:nilerr // a denial is an answer
		}
	}
	if err != nil {
		return considered{}, err
	}
	c.version, c.move = chosen.Version, chosen.move
	s.Request.Version, s.Request.VersionRule = s.Version, chosen.Rule
	c.subject = marketplace.SubjectOf(c.version, s.Request, l.Limits, l.Policy)
	if s.Origin, err = l.origin(ctx, s); err != nil {
		return considered{}, err
	}
	now := l.Now()
	c.run = s.run(c.agent, c.version, team, now)
	err = l.judge(ctx, &c, now)
	return c, err
}

// judge finds the denial of a start, its plan, and what it would wait for.
func (l *Launcher) judge(ctx context.Context, c *considered, now time.Time) error {
	var err error
	if c.spending, err = l.Spending(ctx, c.claim, c.subject, c.run.UserID); err != nil {
		return err
	}
	hold, err := c.claim.Admit(c.run, c.subject, c.spending, l.Policy, now)
	if err != nil {
		c.denial = err
		return nil //nolint:nilerr // a denial is an answer
	}
	plan, err := l.resolve(ctx, c, hold, now)
	if fault.Is(err, fault.Forbidden) || fault.Is(err, fault.Invalid) {
		c.denial = err
		return nil
	}
	if err != nil {
		return err
	}
	c.plan = &plan
	c.run.QueueDeadline = now.Add(plan.Deadlines.Queue)
	return l.bound(ctx, c, now)
}

// resolve makes the plan as the workflow will: of the right that was found, and
// the policies of now.
func (l *Launcher) resolve(ctx context.Context, c *considered, hold marketplace.Hold, now time.Time) (product.Plan, error) {
	policies, err := l.Control.PoliciesFor(ctx, c.run.OrgID, c.run.TeamID, c.agent.ID)
	if err != nil {
		return product.Plan{}, err
	}
	var missing []string
	if wanted := c.version.Manifest.Secrets; len(wanted) > 0 {
		have, err := l.Market.Secrets(ctx, c.run.OrgID)
		if err != nil {
			return product.Plan{}, err
		}
		missing = marketplace.MissingSecrets(have, wanted)
	}
	return product.Resolve(product.Question{
		Agent: c.agent, Version: c.version, Request: c.run.Request, Right: right(hold), MissingSecrets: missing,
		Policies: policies, Limits: l.Limits, Now: now,
	})
}

// right is what layer 1 grants a run by what it would hold for it.
func right(h marketplace.Hold) product.Right {
	return product.Right{Entitlement: h.EntitlementID, Price: h.Price.ID, Budget: h.Amount, Affordable: h.Affordable}
}

// bound compares the plan with the limits of the run: it may never fit, or have
// to wait.
func (l *Launcher) bound(ctx context.Context, c *considered, now time.Time) error {
	limits, usages, err := l.Control.Limits(ctx, c.run.Scopes(c.claim.Publisher), now)
	if err != nil {
		return err
	}
	for _, limit := range limits {
		usage := product.Usage{Scope: limit.Scope}
		if i := slices.IndexFunc(usages, func(u product.Usage) bool { return u.Scope == limit.Scope }); i >= 0 {
			usage = usages[i]
		}
		if err := limit.Never(usage, c.plan.Resources); err != nil {
			c.denial = err
			return nil //nolint:nilerr // a denial is an answer
		}
		if bound := limit.Blocks(usage, c.plan.Resources); bound != "" {
			c.waits = append(c.waits, product.Wait{
				Scope: limit.Scope, Bound: bound, Limit: limit.Of(bound), Position: int(usage.Waiting) + 1, Since: now,
			})
		}
	}
	return nil
}

// Spending reads the spend limits where money may be spent: on the price, or on models.
func (l *Launcher) Spending(ctx context.Context, claim marketplace.Claim, s marketplace.Subject, user ids.User) (marketplace.Spending, error) {
	if s.Models.IsZero() && (claim.OrgID == claim.Publisher || claim.Price == nil && len(claim.Entitlements) == 0) {
		return marketplace.Spending{}, nil
	}
	return l.Market.Spending(ctx, claim.OrgID, user, marketplace.MonthOf(l.Now()))
}

// Claim finds an agent and what the caller's organization may do with it. One
// that is not visible to it does not exist.
func (l *Launcher) Claim(ctx context.Context, who Caller, publisher, name string) (product.Agent, marketplace.Claim, error) {
	absent := fault.Newf(fault.NotFound, "agent_not_found", "there is no agent %s/%s", publisher, name)
	agent, err := l.Agents.AgentByName(ctx, publisher, name)
	if isNotFound(err) {
		return product.Agent{}, marketplace.Claim{}, absent
	}
	if err != nil {
		return product.Agent{}, marketplace.Claim{}, err
	}
	now := l.Now()
	claim, err := l.Market.Claim(ctx, marketplace.ClaimQuery{OrgID: who.OrgID, UserID: who.UserID, AgentID: agent.ID, At: now})
	if isNotFound(err) || err == nil && !claim.Visible(now) {
		err = absent
	}
	return agent, claim, err
}

func isNotFound(err error) bool { return fault.Is(err, fault.NotFound) }
