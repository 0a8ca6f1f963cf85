package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	// ToolServerSettings are a server of tools as it is set.
	ToolServerSettings struct {
		URL            string          `json:"url" maxLength:"2048" doc:"An MCP endpoint of streamable HTTP: https://, and at a public address unless it is one of the operators'." example:"https://tools.example.com/mcp"`
		Credential     *toolCredential `json:"credential,omitempty" doc:"What the server wants of its callers. Agents never see it."`
		TimeoutSeconds int64           `json:"timeout_seconds,omitempty" minimum:"1" maximum:"600" doc:"What a call may take. Default: 60."`
		MaxBytes       int64           `json:"max_bytes,omitempty" minimum:"1024" maximum:"8388608" doc:"What a result may have. Default: 1 MiB."`
		ApproveTools   []string        `json:"approve_tools,omitempty" maxItems:"64" doc:"Tools that a person has to agree to, each call. One that ends in * means all that begin so." example:"[\"pay\",\"delete*\"]"`
		Disabled       bool            `json:"disabled,omitempty" doc:"The server has no tools, and keeps its name."`
	}
	toolCredential struct {
		Header string `json:"header" maxLength:"64" doc:"The header that carries it. A value without a space comes after Bearer in Authorization." example:"Authorization"`
		Secret string `json:"secret" maxLength:"64" doc:"The name of the secret with the value." example:"DESK_TOKEN"`
	}
	toolServerBody struct {
		Name string `json:"name" example:"desk"`
		ToolServerSettings
		UpdatedBy string    `json:"updated_by"`
		UpdatedAt time.Time `json:"updated_at"`
	}

	toolServerInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Name string `path:"server" maxLength:"40" example:"desk"`
	}
	setToolServerInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Name string `path:"server" maxLength:"40" example:"desk"`
		Body ToolServerSettings
	}
	platformToolServerInput struct {
		Name string `path:"server" maxLength:"40" example:"desk"`
	}
	setPlatformToolServerInput struct {
		Name string `path:"server" maxLength:"40" example:"desk"`
		Body ToolServerSettings
	}
	toolServerAnswer  struct{ Body toolServerBody }
	toolServersAnswer struct{ Body page[toolServerBody] }
)

const setsToolServer = "Its tools are SERVER/TOOL in manifests, plans and policies. What is absent is the default. " +
	"Runs that go on know it from their next call."

func (a *app) routeToolServers() {
	const path = "/v1/organizations/{org}/tool-servers"
	handle(a, route{
		id: "list-tool-servers", method: http.MethodGet, path: path, tag: tagOrganization, action: marketplace.ActPoliciesManage,
		summary: "List the servers of tools of an organization, on one page", problems: []string{"organization_not_found"},
	}, func(ctx context.Context, in *orgInput) (*toolServersAnswer, error) {
		org, err := a.organization(ctx, in.Org)
		if err != nil {
			return nil, err
		}
		return a.listToolServers(ctx, org.ID)
	})
	handle(a, route{
		id: "get-tool-server", method: http.MethodGet, path: path + "/{server}", tag: tagOrganization, action: marketplace.ActPoliciesManage,
		summary: "Get a server of tools", problems: []string{"organization_not_found", "tool_server_not_found"},
	}, func(ctx context.Context, in *toolServerInput) (*toolServerAnswer, error) {
		org, err := a.organization(ctx, in.Org)
		if err != nil {
			return nil, err
		}
		return a.getToolServer(ctx, org.ID, in.Name)
	})
	handle(a, route{
		id: "set-tool-server", method: http.MethodPut, path: path + "/{server}", tag: tagOrganization, action: marketplace.ActPoliciesManage,
		summary: "Set a server of tools for the runs of an organization",
		description: setsToolServer + " It comes before one of the operators' of the same name, also while it is disabled. " +
			"The credential is a secret of the organization.",
		problems: []string{"organization_not_found", "tool_server_invalid", "too_many"},
	}, func(ctx context.Context, in *setToolServerInput) (*toolServerAnswer, error) {
		org, err := a.organization(ctx, in.Org)
		if err != nil {
			return nil, err
		}
		return a.setToolServer(ctx, org.ID, in.Name, in.Body)
	})
	handle(a, route{
		id: "delete-tool-server", method: http.MethodDelete, path: path + "/{server}", tag: tagOrganization, action: marketplace.ActPoliciesManage,
		status: http.StatusNoContent, summary: "Remove a server of tools", problems: []string{"organization_not_found", "tool_server_not_found"},
	}, func(ctx context.Context, in *toolServerInput) (*emptyAnswer, error) {
		org, err := a.organization(ctx, in.Org)
		if err != nil {
			return nil, err
		}
		return nil, a.Control.DeleteToolServer(ctx, actor(ctx), org.ID, in.Name, a.Now())
	})
}

func (a *app) routePlatformToolServers() {
	const path = "/v1/platform/tool-servers"
	handle(a, route{
		id: "list-platform-tool-servers", method: http.MethodGet, path: path, tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		summary: "List the servers of tools of the platform, on one page",
	}, func(ctx context.Context, _ *struct{}) (*toolServersAnswer, error) { return a.listToolServers(ctx, "") })
	handle(a, route{
		id: "get-platform-tool-server", method: http.MethodGet, path: path + "/{server}", tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		summary: "Get a server of tools of the platform", problems: []string{"tool_server_not_found"},
	}, func(ctx context.Context, in *platformToolServerInput) (*toolServerAnswer, error) {
		return a.getToolServer(ctx, "", in.Name)
	})
	handle(a, route{
		id: "set-platform-tool-server", method: http.MethodPut, path: path + "/{server}", tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		summary:     "Set a server of tools for the runs of everybody",
		description: setsToolServer + " It may be anywhere, also without TLS and at a private address. The credential is a secret of the platform.",
		problems:    []string{"tool_server_invalid", "too_many"},
	}, func(ctx context.Context, in *setPlatformToolServerInput) (*toolServerAnswer, error) {
		return a.setToolServer(ctx, "", in.Name, in.Body)
	})
	handle(a, route{
		id: "delete-platform-tool-server", method: http.MethodDelete, path: path + "/{server}", tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		status: http.StatusNoContent, summary: "Remove a server of tools of the platform", problems: []string{"tool_server_not_found"},
	}, func(ctx context.Context, in *platformToolServerInput) (*emptyAnswer, error) {
		return nil, a.Control.DeleteToolServer(ctx, actor(ctx), "", in.Name, a.Now())
	})
}

func (a *app) listToolServers(ctx context.Context, org ids.Org) (*toolServersAnswer, error) {
	found, err := a.Control.ToolServers(ctx, org)
	if err != nil {
		return nil, err
	}
	items := make([]toolServerBody, len(found))
	for i, s := range found {
		items[i] = toolServerBodyOf(s)
	}
	return &toolServersAnswer{page[toolServerBody]{Items: items}}, nil
}

func (a *app) getToolServer(ctx context.Context, org ids.Org, name string) (*toolServerAnswer, error) {
	found, err := a.Control.ToolServers(ctx, org)
	if err != nil {
		return nil, err
	}
	for _, s := range found {
		if s.Name == name {
			return &toolServerAnswer{toolServerBodyOf(s)}, nil
		}
	}
	return nil, fault.Newf(fault.NotFound, "tool_server_not_found", "there is no server of tools %s", name)
}

func (a *app) setToolServer(ctx context.Context, org ids.Org, name string, set ToolServerSettings) (*toolServerAnswer, error) {
	s := product.ToolServer{
		OrgID: org, Name: name, URL: set.URL, Timeout: cmp.Or(time.Duration(set.TimeoutSeconds)*time.Second, product.DefaultToolTimeout),
		MaxBytes: cmp.Or(set.MaxBytes, product.DefaultToolBytes), ApproveTools: set.ApproveTools, Disabled: set.Disabled,
		UpdatedBy: actor(ctx).ID, UpdatedAt: a.Now(),
	}
	if c := set.Credential; c != nil {
		s.Header, s.Secret = c.Header, c.Secret
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := a.Control.SetToolServer(ctx, actor(ctx), s); err != nil {
		return nil, err
	}
	return &toolServerAnswer{toolServerBodyOf(s)}, nil
}

func toolServerBodyOf(s product.ToolServer) toolServerBody {
	body := toolServerBody{
		Name: s.Name, ToolServerSettings: ToolServerSettings{
			URL: s.URL, TimeoutSeconds: int64(s.Timeout / time.Second), MaxBytes: s.MaxBytes, ApproveTools: s.ApproveTools, Disabled: s.Disabled,
		}, UpdatedBy: s.UpdatedBy, UpdatedAt: s.UpdatedAt.UTC(),
	}
	if s.Header != "" {
		body.Credential = &toolCredential{s.Header, s.Secret}
	}
	return body
}
