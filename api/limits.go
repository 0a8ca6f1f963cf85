package api

import (
	"context"
	"net/http"
	"slices"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	setLimitsInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Body LimitNumbers
	}
	setTeamLimitsInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Team string `path:"team" example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body LimitNumbers
	}
	setMemberLimitsInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		User string `path:"user" example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body LimitNumbers
	}
	setAgentLimitsInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      LimitNumbers
	}
	limitAnswer struct{ Body LimitBody }
)

// limitOwner is whose limits a call is about, and in whose audit log their changes
// are; empty: in the platform's.
type limitOwner struct {
	org   ids.Org
	scope product.Scope
}

// limitCalls are calls about the limits of one kind of scope.
type limitCalls struct {
	name     string // in the identifiers of the calls
	path     string
	tag      string
	action   marketplace.Action
	what     string
	problems []string // of finding the scope
}

func (c limitCalls) get() route {
	return route{id: "get-" + c.name, method: http.MethodGet, path: c.path, tag: c.tag, action: c.action,
		summary: "Get " + c.what + ", and what is used of them", problems: c.problems}
}

func (c limitCalls) set() route {
	return route{id: "set-" + c.name, method: http.MethodPut, path: c.path, tag: c.tag, action: c.action,
		summary: "Set " + c.what,
		description: "A number that is absent or 0 is no bound. Runs that go on stay, whatever the new bounds are; " +
			"runs in the queue that fit now begin.",
		problems: c.problems}
}

func (c limitCalls) remove() route {
	return route{id: "delete-" + c.name, method: http.MethodDelete, path: c.path, tag: c.tag, action: c.action,
		status: http.StatusNoContent, summary: "Remove " + c.what, problems: append([]string{"limit_not_found"}, c.problems...)}
}

func (a *app) routeLimits() {
	const of = "/v1/organizations/{org}"
	own := limitCalls{"limits", of + "/limits", tagOrganization, marketplace.ActPoliciesManage,
		"the limits that an organization sets itself", []string{"organization_not_found"}}
	handle(a, own.set(), a.setOwnLimits)
	handle(a, own.remove(), deleteLimit(a, a.ownLimits))

	team := limitCalls{"team-limits", of + "/teams/{team}/limits", tagOrganization, marketplace.ActPoliciesManage,
		"the limits of a team", []string{"organization_not_found", "team_not_found"}}
	handle(a, team.set(), a.setTeamLimits)
	handle(a, team.remove(), deleteLimit(a, a.teamLimits))

	member := limitCalls{"member-limits", of + "/members/{user}/limits", tagOrganization, marketplace.ActPoliciesManage,
		"the limits of a member", []string{"organization_not_found", "member_not_found"}}
	handle(a, member.set(), a.setMemberLimits)
	handle(a, member.remove(), deleteLimit(a, a.memberLimits))

	agent := limitCalls{"agent-limits", "/v1/agents/{publisher}/{name}/limits", tagPublishing, marketplace.ActAgentsPublish,
		"the limits of all runs of your agent, whoever starts them", []string{"agent_not_found"}}
	handle(a, agent.get(), getLimit(a, a.agentLimits))
	handle(a, agent.set(), a.setAgentLimits)
	handle(a, agent.remove(), deleteLimit(a, a.agentLimits))
}

func getLimit[I any](a *app, find func(context.Context, *I) (limitOwner, error)) func(context.Context, *I) (*limitAnswer, error) {
	return func(ctx context.Context, in *I) (*limitAnswer, error) {
		owner, err := find(ctx, in)
		if err != nil {
			return nil, err
		}
		return a.showLimit(ctx, owner)
	}
}

func (a *app) showLimit(ctx context.Context, owner limitOwner) (*limitAnswer, error) {
	limits, usages, err := a.Control.Limits(ctx, []product.Scope{owner.scope}, a.Now())
	if err != nil {
		return nil, err
	}
	return &limitAnswer{foundLimitsOf(limits, usages).body(owner.scope)}, nil
}

func (a *app) setLimit(ctx context.Context, owner limitOwner, numbers LimitNumbers) (*limitAnswer, error) {
	limit := numbers.limit(owner.scope)
	limit.UpdatedBy, limit.UpdatedAt = actor(ctx).ID, a.Now()
	granted, err := a.Control.SetLimit(ctx, actor(ctx), owner.org, limit)
	if err != nil {
		return nil, err
	}
	a.freed(ctx, granted)
	return a.showLimit(ctx, owner)
}

func deleteLimit[I any](a *app, find func(context.Context, *I) (limitOwner, error)) func(context.Context, *I) (*emptyAnswer, error) {
	return func(ctx context.Context, in *I) (*emptyAnswer, error) {
		owner, err := find(ctx, in)
		if err != nil {
			return nil, err
		}
		granted, err := a.Control.DeleteLimit(ctx, actor(ctx), owner.org, owner.scope, a.Now())
		if err == nil {
			a.freed(ctx, granted)
		}
		return nil, err
	}
}

// freed tells the engine which runs were given a slot, within a short budget and
// whether or not the client is still there. What it cannot say, the relay says.
func (a *app) freed(ctx context.Context, runs []ids.Run) {
	engine, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineBudget)
	defer cancel()
	for _, run := range runs {
		if err := a.Engine.SlotFreed(engine, run); err != nil && !isNotFound(err) {
			a.Log.WarnContext(ctx, "slots left to the relay", "run_id", run, "error", err, "request_id", requestOf(ctx).id)
			return
		}
	}
}

func (a *app) ownLimits(ctx context.Context, in *orgInput) (limitOwner, error) {
	org, err := a.organization(ctx, in.Org)
	return limitOwner{org.ID, product.Scope{Kind: product.ScopeOrganization, ID: string(org.ID)}}, err
}

func (a *app) setOwnLimits(ctx context.Context, in *setLimitsInput) (*limitAnswer, error) {
	owner, err := a.ownLimits(ctx, &orgInput{in.Org})
	if err != nil {
		return nil, err
	}
	return a.setLimit(ctx, owner, in.Body)
}

// teamLimits finds a limit that an organization has set for a team of its own,
// which may be gone.
func (a *app) teamLimits(ctx context.Context, in *teamInput) (limitOwner, error) {
	org, err := a.organization(ctx, in.Org)
	if err == nil {
		err = known(ids.PrefixTeam, in.Team, "team")
	}
	if err != nil {
		return limitOwner{}, err
	}
	owner := ofTeam(org.ID, ids.Team(in.Team))
	own, err := a.Control.LimitsOf(ctx, org.ID)
	if err != nil {
		return limitOwner{}, err
	}
	if !slices.ContainsFunc(own, func(l product.Limit) bool { return l.Scope == owner.scope }) {
		return limitOwner{}, fault.Newf(fault.NotFound, "limit_not_found", "there is no limit of the team %s", in.Team)
	}
	return owner, nil
}

func ofTeam(org ids.Org, team ids.Team) limitOwner {
	return limitOwner{org, product.Scope{Kind: product.ScopeTeam, ID: string(team)}}
}

func (a *app) setTeamLimits(ctx context.Context, in *setTeamLimitsInput) (*limitAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	team, err := a.team(ctx, org.ID, in.Team)
	if err != nil {
		return nil, err
	}
	return a.setLimit(ctx, ofTeam(org.ID, team.ID), in.Body)
}

// memberLimits does not ask whether the person is still a member.
func (a *app) memberLimits(ctx context.Context, in *memberInput) (limitOwner, error) {
	org, err := a.organization(ctx, in.Org)
	if err == nil {
		err = known(ids.PrefixUser, in.User, "member")
	}
	return limitOwner{org.ID, product.UserScope(org.ID, in.User)}, err
}

func (a *app) setMemberLimits(ctx context.Context, in *setMemberLimitsInput) (*limitAnswer, error) {
	owner, err := a.memberLimits(ctx, &memberInput{in.Org, in.User})
	if err == nil {
		err = a.isMember(ctx, owner.org, in.User)
	}
	if err != nil {
		return nil, err
	}
	return a.setLimit(ctx, owner, in.Body)
}

func (a *app) agentLimits(ctx context.Context, in *agentInput) (limitOwner, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	return limitOwner{agent.OrgID, product.Scope{Kind: product.ScopeAgent, ID: string(agent.ID)}}, err
}

func (a *app) setAgentLimits(ctx context.Context, in *setAgentLimitsInput) (*limitAnswer, error) {
	owner, err := a.agentLimits(ctx, &agentInput{in.Publisher, in.Name})
	if err != nil {
		return nil, err
	}
	return a.setLimit(ctx, owner, in.Body)
}
