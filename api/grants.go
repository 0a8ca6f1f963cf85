package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// grantBody is what a publisher granted.
type grantBody struct {
	ID           string     `json:"id" example:"gra_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Organization string     `json:"organization" doc:"Whom it is given to." example:"globex"`
	TeamID       string     `json:"team_id,omitempty" doc:"Only for this team."`
	UserID       string     `json:"user_id,omitempty" doc:"Only for this person."`
	Access       string     `json:"access" doc:"view: see it, and buy it at its price; run: see it, and run it without paying."`
	CreatedBy    string     `json:"created_by"`
	CreatedAt    time.Time  `json:"created_at"`
	ExpiresAt    *time.Time `json:"expires_at,omitempty"`
	RevokedAt    *time.Time `json:"revoked_at,omitempty"`
}

func grantBodyOf(g marketplace.Grant) grantBody {
	return grantBody{
		ID: string(g.ID), Organization: g.Organization, TeamID: string(g.TeamID), UserID: string(g.UserID), Access: string(g.Access),
		CreatedBy: g.CreatedBy, CreatedAt: g.CreatedAt.UTC(), ExpiresAt: when(g.ExpiresAt), RevokedAt: when(g.RevokedAt),
	}
}

type (
	grantRequest struct {
		Organization string     `json:"organization" minLength:"1" maxLength:"40" doc:"The name of an organization." example:"globex"`
		Team         string     `json:"team,omitempty" minLength:"1" maxLength:"40" doc:"The name of one of its teams. Default: all of it." example:"research"`
		User         string     `json:"user,omitempty" minLength:"1" maxLength:"30" doc:"One of its members. Default: all of them." example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Access       string     `json:"access" enum:"view,run" doc:"view: see it, and buy it at its price; run: see it, and run it without paying."`
		ExpiresAt    *time.Time `json:"expires_at,omitempty" doc:"Default: it does not expire." example:"2027-01-01T00:00:00Z"`
	}
	createGrantInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      grantRequest
	}
	listGrantsInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor    string `query:"cursor" maxLength:"200"`
	}
	grantInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		ID        string `path:"id" example:"gra_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	grantAnswer struct {
		Location string `header:"Location" doc:"The grants."`
		Body     grantBody
	}
	grantsAnswer struct{ Body page[grantBody] }
)

func (a *app) routeGrants() {
	const path = "/v1/agents/{publisher}/{name}/grants"
	handle(a, route{
		id: "create-grant", method: http.MethodPost, path: path, tag: tagPublishing, action: marketplace.ActListingsManage,
		status: http.StatusCreated, summary: "Grant an organization, a team or a person access to an agent",
		description: "Shows a private agent to whom it is granted, or, with access run, lets them run any agent without paying.",
		problems:    []string{"agent_not_found", "organization_not_found", "team_not_found", "member_not_found", "grant_exists"},
	}, a.createGrant)
	handle(a, route{
		id: "list-grants", method: http.MethodGet, path: path, tag: tagPublishing, action: marketplace.ActAgentsRead,
		summary:     "List what was granted on your agent",
		description: "Shows the publisher who has access beyond the catalog, those whose access was revoked included.",
		problems:    []string{"agent_not_found", "cursor_invalid"},
	}, a.listGrants)
	handle(a, route{
		id: "revoke-grant", method: http.MethodDelete, path: path + "/{id}", tag: tagPublishing, action: marketplace.ActListingsManage,
		status: http.StatusNoContent, summary: "Revoke a grant",
		description: "Ends the access, and the right to run that came with it, at once. A second call changes nothing.",
		problems:    []string{"agent_not_found", "grant_not_found"},
	}, a.revokeGrant)
}

func (a *app) createGrant(ctx context.Context, in *createGrantInput) (*grantAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	now := a.Now()
	g := marketplace.Grant{
		ID: ids.New[ids.Grant](ids.PrefixGrant), AgentID: agent.ID, Access: marketplace.Access(in.Body.Access),
		CreatedBy: actor(ctx).ID, CreatedAt: now,
	}
	if at := in.Body.ExpiresAt; at != nil {
		if !at.After(now) {
			return nil, requestInvalid(fault.Field{Pointer: "/expires_at", Message: "must be in the future"})
		}
		g.ExpiresAt = *at
	}
	if err := a.grantTo(ctx, &g, in.Body); err != nil {
		return nil, err
	}
	if err := a.Marketplace.CreateGrant(ctx, actor(ctx), g); err != nil {
		return nil, err
	}
	return &grantAnswer{Location: agentPath(in.Publisher, in.Name) + "/grants", Body: grantBodyOf(g)}, nil
}

// grantTo finds whom something is granted to. Its name, and those of its teams,
// are known to who does business with it; its people are not.
func (a *app) grantTo(ctx context.Context, g *marketplace.Grant, to grantRequest) error {
	org, err := a.Marketplace.OrganizationByName(ctx, to.Organization)
	if err != nil {
		return err
	}
	g.OrgID, g.Organization = org.ID, org.Name
	if to.Team != "" {
		teams, err := a.Marketplace.Teams(ctx, org.ID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(teams, func(t marketplace.Team) bool { return t.Name == to.Team })
		if i < 0 {
			return fault.Newf(fault.NotFound, "team_not_found", "%s has no team %s", org.Name, to.Team)
		}
		g.TeamID = teams[i].ID
	}
	if to.User != "" {
		if err := known(ids.PrefixUser, to.User, "member"); err != nil {
			return err
		}
		g.UserID = ids.User(to.User)
	}
	return nil
}

func (a *app) listGrants(ctx context.Context, in *listGrantsInput) (*grantsAnswer, error) {
	before, err := decodeCursor[ids.Grant](ids.PrefixGrant, in.Cursor)
	if err != nil {
		return nil, err
	}
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Grants(ctx, agent.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &grantsAnswer{pageOf(found, in.Limit, func(g marketplace.Grant) ids.Grant { return g.ID }, grantBodyOf)}, nil
}

func (a *app) revokeGrant(ctx context.Context, in *grantInput) (*emptyAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	if err := known(ids.PrefixGrant, in.ID, "grant"); err != nil {
		return nil, err
	}
	return nil, a.Marketplace.RevokeGrant(ctx, actor(ctx), agent.ID, ids.Grant(in.ID), a.Now())
}
