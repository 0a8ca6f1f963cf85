package api

import (
	"context"
	"encoding/json"
	"net/http"

	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type listAgentsInput struct {
	Query  string `query:"q" maxLength:"200" doc:"Part of the name or of the summary, in any case."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"200"`
}

type agentInput struct {
	Publisher string `path:"publisher" doc:"The organization that publishes the agent." example:"acme"`
	Name      string `path:"name" example:"greeter"`
}

type listVersionsInput struct {
	Publisher string `path:"publisher"`
	Name      string `path:"name"`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor    string `query:"cursor" maxLength:"200"`
}

type versionInput struct {
	Publisher string `path:"publisher"`
	Name      string `path:"name"`
	Version   string `path:"version" maxLength:"64" doc:"A number, a channel, or latest." example:"latest"`
}

type validateRequest struct {
	Input   json.RawMessage `json:"input" doc:"Any JSON value." example:"{\"prompt\": \"hello world\"}"`
	Version string          `json:"version,omitempty" maxLength:"64" doc:"A number, a channel, or latest. Default: as for a run." example:"latest"`
}

type validateInput struct {
	Publisher string `path:"publisher"`
	Name      string `path:"name"`
	Body      validateRequest
}

type validBody struct {
	Valid   bool   `json:"valid"`
	Version string `json:"version" doc:"The version whose schema was asked."`
}

type (
	agentAnswer    struct{ Body agentBody }
	agentsAnswer   struct{ Body page[agentBody] }
	versionsAnswer struct{ Body page[versionBody] }
	validAnswer    struct{ Body validBody }
	oneVersion     struct{ Body versionBody }
)

func (a *app) routeAgents() {
	handle(a, route{
		id: "publish-version", method: http.MethodPost, path: "/v1/agents", tag: tagAgents,
		action: marketplace.ActAgentsPublish, status: http.StatusCreated, alsoStatus: http.StatusOK,
		summary: "Publish a version of an agent",
		description: "The publisher is your organization. A version never changes: publishing the same content again answers 200, " +
			"and points the channels at it; another content under a number that is taken answers 409.",
		problems: []string{"manifest_invalid", "manifest_too_large", "version_invalid", "version_taken",
			"agent_taken", "rollout_active"},
	}, a.publish)
	handle(a, route{
		id: "list-agents", method: http.MethodGet, path: "/v1/agents", tag: tagAgents, action: marketplace.ActAgentsRead,
		summary:     "List the agents that your organization has, or had, a right to",
		description: "Finds again what your organization publishes, has ordered or was granted. What it could order is in the catalog.", problems: []string{"cursor_invalid"},
	}, a.listAgents)
	handle(a, route{
		id: "get-agent", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}", tag: tagAgents,
		action: marketplace.ActAgentsRead, summary: "Get an agent",
		description: "Answers with everything that decides about using it: the listing, the price and those that are announced, what it asks for, " +
			"what your organization may do, which version it runs, and the update that waits.",
		problems: []string{"agent_not_found"},
	}, a.getAgent)
	handle(a, route{
		id: "list-versions", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}/versions", tag: tagAgents,
		action: marketplace.ActAgentsRead, summary: "List the versions of an agent, the last published first",
		description: "Shows what can be run and pinned.",
		problems:    []string{"agent_not_found", "cursor_invalid"},
	}, a.listVersions)
	handle(a, route{
		id: "get-version", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}/versions/{version}", tag: tagAgents,
		action: marketplace.ActAgentsRead, summary: "Get a version with its manifest",
		description: "Shows what a version takes and answers, what it asks of its buyer, and what is new in it.",
		problems:    []string{"agent_not_found", "version_not_found"},
	}, a.getVersion)
	handle(a, route{
		id: "validate-input", method: http.MethodPost, path: "/v1/agents/{publisher}/{name}/validate-input", tag: tagAgents,
		action: marketplace.ActAgentsRead, summary: "Check an input without running the agent",
		description: "Tells a caller every wrong place of an input, and costs nothing.",
		problems:    []string{"agent_not_found", "version_not_found", "input_invalid", "input_too_large"},
	}, a.validateInput)
	a.routeChanges()
}

func (a *app) listAgents(ctx context.Context, in *listAgentsInput) (*agentsAnswer, error) {
	before, err := decodeCursor[ids.Agent](ids.PrefixAgent, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Agents.AgentsFor(ctx, requestOf(ctx).caller.OrgID, product.AgentQuery{
		Text: in.Query, Before: before, Limit: in.Limit + 1, At: a.Now(),
	})
	if err != nil {
		return nil, err
	}
	return &agentsAnswer{pageOf(found, in.Limit, func(g product.Agent) ids.Agent { return g.ID }, a.agentBody)}, nil
}

func (a *app) listVersions(ctx context.Context, in *listVersionsInput) (*versionsAnswer, error) {
	before, err := decodeCursor[ids.Version](ids.PrefixVersion, in.Cursor)
	if err != nil {
		return nil, err
	}
	agent, _, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	found, err := a.Agents.Versions(ctx, agent.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &versionsAnswer{pageOf(found, in.Limit, func(v product.Version) ids.Version { return v.ID },
		func(v product.Version) versionBody { return versionBodyOf(agent, v) })}, nil
}

func (a *app) getVersion(ctx context.Context, in *versionInput) (*oneVersion, error) {
	agent, _, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	version, err := a.namedVersion(ctx, agent, in.Version)
	if err != nil {
		return nil, err
	}
	return &oneVersion{wholeVersionBodyOf(agent, version)}, nil
}

func (a *app) validateInput(ctx context.Context, in *validateInput) (*validAnswer, error) {
	agent, claim, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	version, err := a.version(ctx, agent, claim, in.Body.Version)
	if err != nil {
		return nil, err
	}
	if err := launch.CheckInput(version, in.Body.Input); err != nil {
		return nil, err
	}
	return &validAnswer{validBody{Valid: true, Version: version.Number}}, nil
}
