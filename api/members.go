package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

// memberBody is a person in an organization.
type memberBody struct {
	UserID   string    `json:"user_id" example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Email    string    `json:"email" example:"ada@example.com"`
	Name     string    `json:"name" example:"Ada Lovelace"`
	Role     string    `json:"role" doc:"owner, admin, publisher, member or auditor." example:"member"`
	Teams    []string  `json:"teams" doc:"Identifiers."`
	JoinedAt time.Time `json:"joined_at"`
	URLs     selfURL   `json:"urls"`
}

func memberBodyOf(org marketplace.Organization, m marketplace.Member) memberBody {
	return memberBody{
		UserID: string(m.User.ID), Email: m.User.Email, Name: m.User.Name, Role: string(m.Role), Teams: textsOf(m.Teams),
		JoinedAt: m.JoinedAt.UTC(), URLs: selfURL{organizationPath(org.Name) + "/members/" + string(m.User.ID)},
	}
}

type (
	memberInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		User string `path:"user" doc:"The person." example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	setRoleRequest struct {
		Role string `json:"role" enum:"owner,admin,publisher,member,auditor"`
	}
	setRoleInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		User string `path:"user" doc:"The person." example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body setRoleRequest
	}
	memberAnswer  struct{ Body memberBody }
	membersAnswer struct{ Body page[memberBody] }
)

func (a *app) routeMembers() {
	handle(a, route{
		id: "list-members", method: http.MethodGet, path: "/v1/organizations/{org}/members", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "List the members of an organization",
		problems: []string{"organization_not_found", "cursor_invalid"},
	}, a.listMembers)
	handle(a, route{
		id: "get-member", method: http.MethodGet, path: "/v1/organizations/{org}/members/{user}", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "Get a member", problems: []string{"organization_not_found", "member_not_found"},
	}, a.getMember)
	handle(a, route{
		id: "set-role", method: http.MethodPatch, path: "/v1/organizations/{org}/members/{user}", tag: tagOrganization,
		action: marketplace.ActMembersManage, summary: "Change the role of a member",
		description: "Owners are made and changed by owners only. The last owner stays one. The member's personal keys follow at once.",
		problems:    []string{"organization_not_found", "member_not_found", "rights_exceeded", "last_owner"},
	}, a.setRole)
	handle(a, route{
		id: "remove-member", method: http.MethodDelete, path: "/v1/organizations/{org}/members/{user}", tag: tagOrganization,
		action: marketplace.ActMembersManage, status: http.StatusNoContent, summary: "Remove a member",
		description: "Ends the membership with its teams and its personal keys, at once. The last owner stays.",
		problems:    []string{"organization_not_found", "member_not_found", "rights_exceeded", "last_owner"},
	}, a.removeMember)
	a.routeInvitations()
	a.routeTeams()
}

// member finds a member of an organization of the caller's.
func (a *app) member(ctx context.Context, name, user string) (marketplace.Organization, marketplace.Member, error) {
	org, err := a.organization(ctx, name)
	if err == nil {
		err = known(ids.PrefixUser, user, "member")
	}
	if err != nil {
		return marketplace.Organization{}, marketplace.Member{}, err
	}
	member, err := a.Marketplace.Member(ctx, org.ID, ids.User(user))
	return org, member, err
}

func (a *app) listMembers(ctx context.Context, in *orgListInput) (*membersAnswer, error) {
	before, err := decodeCursor[ids.User](ids.PrefixUser, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Members(ctx, org.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &membersAnswer{pageOf(found, in.Limit, func(m marketplace.Member) ids.User { return m.User.ID },
		func(m marketplace.Member) memberBody { return memberBodyOf(org, m) })}, nil
}

func (a *app) getMember(ctx context.Context, in *memberInput) (*memberAnswer, error) {
	org, member, err := a.member(ctx, in.Org, in.User)
	if err != nil {
		return nil, err
	}
	return &memberAnswer{memberBodyOf(org, member)}, nil
}

func (a *app) setRole(ctx context.Context, in *setRoleInput) (*memberAnswer, error) {
	org, member, err := a.member(ctx, in.Org, in.User)
	if err != nil {
		return nil, err
	}
	role := marketplace.Role(in.Body.Role)
	if err := mayGive(ctx, member.Role, ""); err != nil {
		return nil, err
	}
	if err := mayGive(ctx, role, "/role"); err != nil {
		return nil, err
	}
	member, err = a.Marketplace.SetRole(ctx, actor(ctx), org.ID, member.User.ID, role, a.Now())
	if err != nil {
		return nil, err
	}
	return &memberAnswer{memberBodyOf(org, member)}, nil
}

func (a *app) removeMember(ctx context.Context, in *memberInput) (*emptyAnswer, error) {
	org, member, err := a.member(ctx, in.Org, in.User)
	if err != nil {
		return nil, err
	}
	if err := mayGive(ctx, member.Role, ""); err != nil {
		return nil, err
	}
	return nil, a.Marketplace.RemoveMember(ctx, actor(ctx), org.ID, member.User.ID, a.Now())
}
