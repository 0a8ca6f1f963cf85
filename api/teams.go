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

// teamBody is a group of members.
type teamBody struct {
	ID        string    `json:"id" example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Name      string    `json:"name" example:"research"`
	Members   []string  `json:"members" doc:"Identifiers of people."`
	CreatedAt time.Time `json:"created_at"`
	URLs      selfURL   `json:"urls"`
}

func teamBodyOf(org marketplace.Organization, t marketplace.Team) teamBody {
	return teamBody{
		ID: string(t.ID), Name: t.Name, Members: textsOf(t.Members), CreatedAt: t.CreatedAt.UTC(),
		URLs: selfURL{organizationPath(org.Name) + "/teams/" + string(t.ID)},
	}
}

type (
	createTeamRequest struct {
		Name string `json:"name" pattern:"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" doc:"Unique within the organization: 1 to 40 lower-case letters, digits and inner hyphens." example:"research"`
	}
	createTeamInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Body createTeamRequest
	}
	teamInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Team string `path:"team" example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	teamMemberInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Team string `path:"team" example:"team_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		User string `path:"user" example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	newTeamAnswer struct {
		Location string `header:"Location" doc:"The team."`
		Body     teamBody
	}
	teamAnswer  struct{ Body teamBody }
	teamsAnswer struct{ Body page[teamBody] }
)

func (a *app) routeTeams() {
	handle(a, route{
		id: "create-team", method: http.MethodPost, path: "/v1/organizations/{org}/teams", tag: tagOrganization,
		action: marketplace.ActMembersManage, status: http.StatusCreated, summary: "Make a team",
		description: "Agents can be granted to a team, and purchases limited to it.",
		problems:    []string{"organization_not_found", "team_taken", "too_many"},
	}, a.createTeam)
	handle(a, route{
		id: "list-teams", method: http.MethodGet, path: "/v1/organizations/{org}/teams", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "List the teams of an organization by name, on one page",
		problems: []string{"organization_not_found"},
	}, a.listTeams)
	handle(a, route{
		id: "get-team", method: http.MethodGet, path: "/v1/organizations/{org}/teams/{team}", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "Get a team", problems: []string{"organization_not_found", "team_not_found"},
	}, a.getTeam)
	handle(a, route{
		id: "delete-team", method: http.MethodDelete, path: "/v1/organizations/{org}/teams/{team}", tag: tagOrganization,
		action: marketplace.ActMembersManage, status: http.StatusNoContent, summary: "Remove a team and what was granted to it",
		problems: []string{"organization_not_found", "team_not_found"},
	}, a.deleteTeam)
	handle(a, route{
		id: "add-to-team", method: http.MethodPut, path: "/v1/organizations/{org}/teams/{team}/members/{user}", tag: tagOrganization,
		action: marketplace.ActMembersManage, summary: "Take a member into a team",
		problems: []string{"organization_not_found", "team_not_found", "member_not_found", "too_many"},
	}, a.addToTeam)
	handle(a, route{
		id: "remove-from-team", method: http.MethodDelete, path: "/v1/organizations/{org}/teams/{team}/members/{user}", tag: tagOrganization,
		action: marketplace.ActMembersManage, status: http.StatusNoContent, summary: "Take a member out of a team",
		problems: []string{"organization_not_found", "team_not_found", "member_not_found"},
	}, a.removeFromTeam)
}

func (a *app) createTeam(ctx context.Context, in *createTeamInput) (*newTeamAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	team, err := marketplace.NewTeam(org.ID, in.Body.Name, a.Now())
	if err != nil {
		return nil, err
	}
	if err := a.Marketplace.CreateTeam(ctx, actor(ctx), team); err != nil {
		return nil, err
	}
	answer := &newTeamAnswer{Body: teamBodyOf(org, team)}
	answer.Location = answer.Body.URLs.Self
	return answer, nil
}

func (a *app) listTeams(ctx context.Context, in *orgInput) (*teamsAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	teams, err := a.Marketplace.Teams(ctx, org.ID)
	if err != nil {
		return nil, err
	}
	items := make([]teamBody, len(teams))
	for i, t := range teams {
		items[i] = teamBodyOf(org, t)
	}
	return &teamsAnswer{page[teamBody]{Items: items}}, nil
}

func (a *app) getTeam(ctx context.Context, in *teamInput) (*teamAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	team, err := a.team(ctx, org.ID, in.Team)
	if err != nil {
		return nil, err
	}
	return &teamAnswer{teamBodyOf(org, team)}, nil
}

// team finds a team of an organization.
func (a *app) team(ctx context.Context, org ids.Org, id string) (marketplace.Team, error) {
	teams, err := a.Marketplace.Teams(ctx, org)
	if err != nil {
		return marketplace.Team{}, err
	}
	i := slices.IndexFunc(teams, func(t marketplace.Team) bool { return string(t.ID) == id })
	if i < 0 {
		return marketplace.Team{}, fault.Newf(fault.NotFound, "team_not_found", "there is no team %s", id)
	}
	return teams[i], nil
}

func (a *app) deleteTeam(ctx context.Context, in *teamInput) (*emptyAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err == nil {
		err = known(ids.PrefixTeam, in.Team, "team")
	}
	if err != nil {
		return nil, err
	}
	return nil, a.Marketplace.DeleteTeam(ctx, actor(ctx), org.ID, ids.Team(in.Team), a.Now())
}

func (a *app) addToTeam(ctx context.Context, in *teamMemberInput) (*teamAnswer, error) {
	org, team, err := a.setTeamMember(ctx, in.Org, in.Team, in.User, true)
	if err != nil {
		return nil, err
	}
	return &teamAnswer{teamBodyOf(org, team)}, nil
}

func (a *app) removeFromTeam(ctx context.Context, in *teamMemberInput) (*emptyAnswer, error) {
	_, _, err := a.setTeamMember(ctx, in.Org, in.Team, in.User, false)
	return nil, err
}

func (a *app) setTeamMember(ctx context.Context, name, team, user string, in bool) (marketplace.Organization, marketplace.Team, error) {
	org, err := a.organization(ctx, name)
	if err == nil {
		err = known(ids.PrefixTeam, team, "team")
	}
	if err == nil {
		err = known(ids.PrefixUser, user, "member")
	}
	if err != nil {
		return marketplace.Organization{}, marketplace.Team{}, err
	}
	t, err := a.Marketplace.SetTeamMember(ctx, actor(ctx), org.ID, ids.Team(team), ids.User(user), in, a.Now())
	return org, t, err
}
