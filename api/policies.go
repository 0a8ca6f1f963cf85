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
	setPolicyInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Body PolicyRules
	}
	setTeamPolicyInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Team string `path:"team" example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body PolicyRules
	}
	agentPolicyInput struct {
		Org       string `path:"org" maxLength:"40" example:"acme"`
		Publisher string `path:"publisher" maxLength:"40" example:"globex"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
	}
	setAgentPolicyInput struct {
		Org       string `path:"org" maxLength:"40" example:"acme"`
		Publisher string `path:"publisher" maxLength:"40" example:"globex"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      PolicyRules
	}
	policyAnswer   struct{ Body policyBody }
	policiesAnswer struct{ Body page[policyBody] }
)

// policyOwner is whose policy a call is about.
type policyOwner struct {
	scope product.PolicyScope
	agent string // publisher/name, of the scope agent
}

const narrows = "Narrows what may run. Of the platform's, the organization's, the team's and the agent's policy the strictest wins, " +
	"for each rule by itself; it decides about runs that start from now on. "

func (a *app) routePolicies() {
	const (
		organization = "/v1/organizations/{org}/policy"
		team         = "/v1/organizations/{org}/teams/{team}/policy"
		agent        = "/v1/organizations/{org}/agents/{publisher}/{name}/policy"
	)
	read := func(id, path, summary string) route {
		return route{id: id, method: http.MethodGet, path: path, tag: tagOrganization, action: marketplace.ActOrganizationRead,
			summary: summary, problems: []string{"organization_not_found", "policy_not_found"}}
	}
	set := func(id, path, summary string, problems ...string) route {
		return route{id: id, method: http.MethodPut, path: path, tag: tagOrganization, action: marketplace.ActPoliciesManage,
			summary: summary, description: narrows + "What is absent says nothing.",
			problems: append(problems, "organization_not_found", "policy_invalid")}
	}
	remove := func(id, path, summary string) route {
		return route{id: id, method: http.MethodDelete, path: path, tag: tagOrganization, action: marketplace.ActPoliciesManage,
			status: http.StatusNoContent, summary: summary, problems: []string{"organization_not_found", "policy_not_found"}}
	}
	handle(a, route{
		id: "list-policies", method: http.MethodGet, path: "/v1/organizations/{org}/policies", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "List the policies of an organization, of its teams and for agents, on one page",
		problems: []string{"organization_not_found"},
	}, a.listPolicies)

	handle(a, read("get-policy", organization, "Get the policy of an organization"), getPolicy(a, a.policyOfOrganization))
	handle(a, set("set-policy", organization, "Set the policy of an organization"), a.setOrganizationPolicy)
	handle(a, remove("delete-policy", organization, "Remove the policy of an organization"), deletePolicy(a, a.policyOfOrganization))

	handle(a, read("get-team-policy", team, "Get the policy of a team"), getPolicy(a, a.policyOfTeam))
	handle(a, set("set-team-policy", team, "Set the policy of a team", "team_not_found"), a.setTeamPolicy)
	handle(a, remove("delete-team-policy", team, "Remove the policy of a team"), deletePolicy(a, a.policyOfTeam))

	handle(a, read("get-agent-policy", agent, "Get the policy of an organization for an agent"), getPolicy(a, a.policyForAgent))
	handle(a, set("set-agent-policy", agent, "Set the policy of an organization for an agent that it uses", "agent_not_found"), a.setAgentPolicy)
	handle(a, remove("delete-agent-policy", agent, "Remove the policy of an organization for an agent"), deletePolicy(a, a.policyForAgent))
}

func (a *app) policyOfOrganization(ctx context.Context, in *orgInput) (policyOwner, error) {
	org, err := a.organization(ctx, in.Org)
	return policyOwner{scope: product.PolicyScope{Kind: product.ScopeOrganization, OrgID: org.ID}}, err
}

// policyOfTeam does not ask whether there is the team: without it there is no
// policy.
func (a *app) policyOfTeam(ctx context.Context, in *teamInput) (policyOwner, error) {
	org, err := a.organization(ctx, in.Org)
	if err == nil {
		err = known(ids.PrefixTeam, in.Team, "policy")
	}
	return policyOfTeam(org.ID, ids.Team(in.Team)), err
}

func policyOfTeam(org ids.Org, team ids.Team) policyOwner {
	return policyOwner{scope: product.PolicyScope{Kind: product.ScopeTeam, OrgID: org, ID: string(team)}}
}

// policyForAgent says of an agent that does not exist what it says of one without a
// policy: whether there is one that nobody can see is not told.
func (a *app) policyForAgent(ctx context.Context, in *agentPolicyInput) (policyOwner, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return policyOwner{}, err
	}
	agent, err := a.Agents.AgentByName(ctx, in.Publisher, in.Name)
	if isNotFound(err) {
		return policyOwner{}, fault.New(fault.NotFound, "policy_not_found", "there is no policy of the agent")
	}
	return policyForAgent(org.ID, agent), err
}

func policyForAgent(org ids.Org, agent product.Agent) policyOwner {
	return policyOwner{product.PolicyScope{Kind: product.ScopeAgent, OrgID: org, ID: string(agent.ID)}, agent.FullName()}
}

func getPolicy[I any](a *app, find func(context.Context, *I) (policyOwner, error)) func(context.Context, *I) (*policyAnswer, error) {
	return func(ctx context.Context, in *I) (*policyAnswer, error) {
		owner, err := find(ctx, in)
		if err != nil {
			return nil, err
		}
		policy, err := a.Control.Policy(ctx, owner.scope)
		if err != nil {
			return nil, err
		}
		return &policyAnswer{policyBodyOf(policy, owner.agent)}, nil
	}
}

func deletePolicy[I any](a *app, find func(context.Context, *I) (policyOwner, error)) func(context.Context, *I) (*emptyAnswer, error) {
	return func(ctx context.Context, in *I) (*emptyAnswer, error) {
		owner, err := find(ctx, in)
		if err != nil {
			return nil, err
		}
		return nil, a.Control.DeletePolicy(ctx, actor(ctx), owner.scope, a.Now())
	}
}

func (a *app) setPolicy(ctx context.Context, owner policyOwner, rules PolicyRules) (*policyAnswer, error) {
	policy, err := a.policy(owner.scope, rules)
	if err != nil {
		return nil, err
	}
	policy.UpdatedBy, policy.UpdatedAt = actor(ctx).ID, a.Now()
	if err := policy.Check(); err != nil {
		return nil, err
	}
	if err := a.Control.SetPolicy(ctx, actor(ctx), policy); err != nil {
		return nil, err
	}
	return &policyAnswer{policyBodyOf(policy, owner.agent)}, nil
}

func (a *app) setOrganizationPolicy(ctx context.Context, in *setPolicyInput) (*policyAnswer, error) {
	owner, err := a.policyOfOrganization(ctx, &orgInput{in.Org})
	if err != nil {
		return nil, err
	}
	return a.setPolicy(ctx, owner, in.Body)
}

func (a *app) setTeamPolicy(ctx context.Context, in *setTeamPolicyInput) (*policyAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	team, err := a.team(ctx, org.ID, in.Team)
	if err != nil {
		return nil, err
	}
	return a.setPolicy(ctx, policyOfTeam(org.ID, team.ID), in.Body)
}

// setAgentPolicy is for agents that the organization can see.
func (a *app) setAgentPolicy(ctx context.Context, in *setAgentPolicyInput) (*policyAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	agent, _, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	return a.setPolicy(ctx, policyForAgent(org.ID, agent), in.Body)
}

func (a *app) listPolicies(ctx context.Context, in *orgInput) (*policiesAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Control.Policies(ctx, org.ID)
	if err != nil {
		return nil, err
	}
	var named []ids.Agent
	for _, p := range found {
		if p.Scope.Kind == product.ScopeAgent {
			named = append(named, ids.Agent(p.Scope.ID))
		}
	}
	agents, err := a.Names.AgentsByID(ctx, named)
	if err != nil {
		return nil, err
	}
	items := make([]policyBody, len(found))
	for i, p := range found {
		name := ""
		if agent, ok := agents[ids.Agent(p.Scope.ID)]; ok {
			name = agent.FullName()
		}
		items[i] = policyBodyOf(p, name)
	}
	return &policiesAnswer{page[policyBody]{Items: items}}, nil
}
