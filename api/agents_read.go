package api

import (
	"context"
	"encoding/json"
	"net/http"

	"agentmarket/fault"
	"agentmarket/ids"
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
	Version   string `path:"version" doc:"A number, or latest." example:"latest"`
}

type validateRequest struct {
	Input   json.RawMessage `json:"input" doc:"Any JSON value." example:"{\"prompt\": \"hello world\"}"`
	Version string          `json:"version,omitempty" maxLength:"64" doc:"A number, or latest, which is the default." example:"latest"`
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
		scope: marketplace.ScopeAgentsWrite, status: http.StatusCreated, alsoStatus: http.StatusOK,
		summary: "Publish a version of an agent",
		description: "The publisher is your organization. A version never changes: publishing the same content again answers 200, " +
			"another content under a number that is taken answers 409.",
		problems: []string{"manifest_invalid", "manifest_too_large", "version_invalid", "version_taken",
			"agent_taken"},
	}, a.publish)
	handle(a, route{
		id: "list-agents", method: http.MethodGet, path: "/v1/agents", tag: tagAgents, scope: marketplace.ScopeAgentsRead,
		summary: "List the agents that your organization has, or had, a right to", problems: []string{"cursor_invalid"},
	}, a.listAgents)
	handle(a, route{
		id: "get-agent", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}", tag: tagAgents,
		scope: marketplace.ScopeAgentsRead, summary: "Get an agent", problems: []string{"agent_not_found"},
	}, a.getAgent)
	handle(a, route{
		id: "list-versions", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}/versions", tag: tagAgents,
		scope: marketplace.ScopeAgentsRead, summary: "List the versions of an agent, the last published first",
		problems: []string{"agent_not_found", "cursor_invalid"},
	}, a.listVersions)
	handle(a, route{
		id: "get-version", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}/versions/{version}", tag: tagAgents,
		scope: marketplace.ScopeAgentsRead, summary: "Get a version with its manifest",
		problems: []string{"agent_not_found", "version_not_found"},
	}, a.getVersion)
	handle(a, route{
		id: "validate-input", method: http.MethodPost, path: "/v1/agents/{publisher}/{name}/validate-input", tag: tagAgents,
		scope: marketplace.ScopeAgentsRead, summary: "Check an input without running the agent",
		problems: []string{"agent_not_found", "version_not_found", "input_invalid", "input_too_large"},
	}, a.validateInput)
}

func (a *app) listAgents(ctx context.Context, in *listAgentsInput) (*agentsAnswer, error) {
	before, err := decodeCursor[ids.Agent](ids.PrefixAgent, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Agents.AgentsFor(ctx, requestOf(ctx).caller.org, product.AgentQuery{
		Text: in.Query, Before: before, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	return &agentsAnswer{pageOf(found, in.Limit, func(g product.Agent) ids.Agent { return g.ID }, a.agentBody)}, nil
}

func (a *app) getAgent(ctx context.Context, in *agentInput) (*agentAnswer, error) {
	agent, entitlement, err := a.visibleAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	body := a.agentBody(agent)
	body.Entitlement = &entitlementBody{Allowed: true, Source: string(entitlement.Source), ExpiresAt: when(entitlement.ExpiresAt)}
	if err := entitlement.Check(a.Now()); err != nil {
		body.Entitlement.Allowed, body.Entitlement.Code = false, fault.From(err).Code
	}
	return &agentAnswer{body}, nil
}

func (a *app) listVersions(ctx context.Context, in *listVersionsInput) (*versionsAnswer, error) {
	before, err := decodeCursor[ids.Version](ids.PrefixVersion, in.Cursor)
	if err != nil {
		return nil, err
	}
	agent, _, err := a.visibleAgent(ctx, in.Publisher, in.Name)
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
	agent, _, err := a.visibleAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	version, err := a.version(ctx, agent, in.Version)
	if err != nil {
		return nil, err
	}
	return &oneVersion{wholeVersionBodyOf(agent, version)}, nil
}

func (a *app) validateInput(ctx context.Context, in *validateInput) (*validAnswer, error) {
	agent, _, err := a.visibleAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	version, err := a.version(ctx, agent, orLatest(in.Body.Version))
	if err != nil {
		return nil, err
	}
	if err := checkInput(version, in.Body.Input); err != nil {
		return nil, err
	}
	return &validAnswer{validBody{Valid: true, Version: version.Number}}, nil
}

func orLatest(version string) string {
	if version == "" {
		return product.Latest
	}
	return version
}

// checkInput checks an input against the schema of a version.
func checkInput(version product.Version, input []byte) error {
	if len(input) > product.MaxInputBytes {
		return fault.Newf(fault.TooLarge, "input_too_large", "the input has %d bytes, at most %d are allowed",
			len(input), product.MaxInputBytes)
	}
	schema, err := product.CompileSchema(version.Manifest.InputSchema)
	if err != nil {
		// It compiled when it was published.
		return fault.Wrap(fault.Internal, err, "compile schema of version "+string(version.ID))
	}
	return schema.Validate("/input", input)
}
