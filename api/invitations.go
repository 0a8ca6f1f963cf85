package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// invitationBody is an offer to join an organization, without its secret.
type invitationBody struct {
	ID         string     `json:"id" example:"inv_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Email      string     `json:"email" example:"ada@example.com"`
	Role       string     `json:"role" example:"member"`
	Status     string     `json:"status" doc:"pending, accepted, revoked or expired." example:"pending"`
	CreatedBy  string     `json:"created_by" doc:"A person or an API key."`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	AcceptedAt *time.Time `json:"accepted_at,omitempty"`
	URLs       selfURL    `json:"urls"`
}

// newInvitationBody is an invitation with its token.
type newInvitationBody struct {
	Invitation invitationBody `json:"invitation"`
	Token      string         `json:"token" doc:"For POST /v1/invitations/accept. Shown once: pass it on to the invited person." example:"ami_01jd3m0f9zq4x8v5c7n2b6k1ta_…"`
}

func (a *app) invitationBody(org marketplace.Organization, i marketplace.Invitation) invitationBody {
	status := "pending"
	switch {
	case !i.AcceptedAt.IsZero():
		status = "accepted"
	case !i.RevokedAt.IsZero():
		status = "revoked"
	case !a.Now().Before(i.ExpiresAt):
		status = "expired"
	}
	return invitationBody{
		ID: string(i.ID), Email: i.Email, Role: string(i.Role), Status: status, CreatedBy: i.CreatedBy,
		CreatedAt: i.CreatedAt.UTC(), ExpiresAt: i.ExpiresAt.UTC(), AcceptedAt: when(i.AcceptedAt),
		URLs: selfURL{organizationPath(org.Name) + "/invitations/" + string(i.ID)},
	}
}

type (
	inviteRequest struct {
		Email string `json:"email" minLength:"3" maxLength:"254" example:"ada@example.com"`
		Role  string `json:"role" enum:"owner,admin,publisher,member,auditor"`
	}
	inviteInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Body inviteRequest
	}
	invitationInput struct {
		Org string `path:"org" maxLength:"40" example:"acme"`
		ID  string `path:"id" example:"inv_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	newInvitationAnswer struct {
		Location string `header:"Location" doc:"The invitation."`
		Body     newInvitationBody
	}
	invitationAnswer  struct{ Body invitationBody }
	invitationsAnswer struct{ Body page[invitationBody] }
)

func (a *app) routeInvitations() {
	handle(a, route{
		id: "invite", method: http.MethodPost, path: "/v1/organizations/{org}/invitations", tag: tagOrganization,
		action: marketplace.ActMembersManage, status: http.StatusCreated, summary: "Invite a person",
		description: "The platform sends no mail: pass the token on. It can be used once, within seven days.",
		problems:    []string{"organization_not_found", "rights_exceeded", "member_exists"},
	}, a.invite)
	handle(a, route{
		id: "list-invitations", method: http.MethodGet, path: "/v1/organizations/{org}/invitations", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "List the invitations of an organization",
		problems: []string{"organization_not_found", "cursor_invalid"},
	}, a.listInvitations)
	handle(a, route{
		id: "get-invitation", method: http.MethodGet, path: "/v1/organizations/{org}/invitations/{id}", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "Get an invitation",
		problems: []string{"organization_not_found", "invitation_not_found"},
	}, a.getInvitation)
	handle(a, route{
		id: "revoke-invitation", method: http.MethodDelete, path: "/v1/organizations/{org}/invitations/{id}", tag: tagOrganization,
		action: marketplace.ActMembersManage, status: http.StatusNoContent, summary: "Take an invitation back",
		problems: []string{"organization_not_found", "invitation_not_found", "rights_exceeded"},
	}, a.revokeInvitation)
	handle(a, route{
		id: "accept-invitation", method: http.MethodPost, path: "/v1/invitations/accept", tag: tagOrganization,
		access: public, status: http.StatusCreated, summary: "Accept an invitation",
		description: "Needs no API key: the token says who is asked to join what. " +
			"It makes the person a member and answers with a personal API key, which is shown this once.",
		problems: []string{"invitation_not_found", "member_exists", "too_many", "unavailable"},
	}, a.acceptInvitation)
}

func (a *app) invite(ctx context.Context, in *inviteInput) (*newInvitationAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	role, now := marketplace.Role(in.Body.Role), a.Now()
	if err := mayGive(ctx, role, "/role"); err != nil {
		return nil, err
	}
	invitation, token, err := marketplace.NewInvitation(org.ID, in.Body.Email, role, actor(ctx).ID, now)
	if err != nil {
		return nil, err
	}
	_, err = a.Marketplace.MemberByEmail(ctx, org.ID, invitation.Email)
	if err == nil {
		return nil, fault.New(fault.Conflict, "member_exists", "the person is a member of the organization already")
	}
	if !isNotFound(err) {
		return nil, err
	}
	if err := a.Marketplace.CreateInvitation(ctx, actor(ctx), invitation); err != nil {
		return nil, err
	}
	answer := &newInvitationAnswer{Body: newInvitationBody{a.invitationBody(org, invitation), token.Reveal()}}
	answer.Location = answer.Body.Invitation.URLs.Self
	return answer, nil
}

func (a *app) listInvitations(ctx context.Context, in *orgListInput) (*invitationsAnswer, error) {
	before, err := decodeCursor[ids.Invitation](ids.PrefixInvitation, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Invitations(ctx, org.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &invitationsAnswer{pageOf(found, in.Limit, func(i marketplace.Invitation) ids.Invitation { return i.ID },
		func(i marketplace.Invitation) invitationBody { return a.invitationBody(org, i) })}, nil
}

// invitation finds an invitation of an organization of the caller's.
func (a *app) invitation(ctx context.Context, name, id string) (marketplace.Organization, marketplace.Invitation, error) {
	org, err := a.organization(ctx, name)
	if err == nil {
		err = known(ids.PrefixInvitation, id, "invitation")
	}
	if err != nil {
		return marketplace.Organization{}, marketplace.Invitation{}, err
	}
	i, err := a.Marketplace.Invitation(ctx, ids.Invitation(id))
	if err == nil && i.OrgID != org.ID {
		err = fault.Newf(fault.NotFound, "invitation_not_found", "there is no invitation %s", id)
	}
	return org, i, err
}

func (a *app) getInvitation(ctx context.Context, in *invitationInput) (*invitationAnswer, error) {
	org, i, err := a.invitation(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	return &invitationAnswer{a.invitationBody(org, i)}, nil
}

func (a *app) revokeInvitation(ctx context.Context, in *invitationInput) (*emptyAnswer, error) {
	org, i, err := a.invitation(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	if err := mayGive(ctx, i.Role, ""); err != nil {
		return nil, err
	}
	return nil, a.Marketplace.RevokeInvitation(ctx, actor(ctx), org.ID, i.ID, a.Now())
}

type (
	acceptRequest struct {
		Token string `json:"token" minLength:"1" maxLength:"200" doc:"The token of the invitation." example:"ami_01jd3m0f9zq4x8v5c7n2b6k1ta_…"`
		Name  string `json:"name" minLength:"1" maxLength:"100" doc:"Your name, for people. One that is known already stays." example:"Ada Lovelace"`
	}
	acceptInput struct {
		Body acceptRequest
	}
	acceptedBody struct {
		Organization organizationBody `json:"organization"`
		Member       memberBody       `json:"member"`
		APIKey       keyBody          `json:"api_key"`
		Token        string           `json:"token" doc:"The API key itself. Shown once: nobody can read it again." example:"amk_0123456789ab_…"`
	}
	acceptedAnswer struct {
		Location string `header:"Location" doc:"The member."`
		Body     acceptedBody
	}
)

// acceptInvitation makes a member of whoever has the token. Every token that
// cannot be used gets the same answer.
func (a *app) acceptInvitation(ctx context.Context, in *acceptInput) (*acceptedAnswer, error) {
	absent := fault.New(fault.NotFound, "invitation_not_found", "there is no such invitation; it may have been used, taken back or expired")
	id, secret, ok := marketplace.ParseInvitationToken(in.Body.Token)
	if !ok {
		return nil, absent
	}
	now := a.Now()
	check := func(i marketplace.Invitation) error { return i.Check(secret, now) }
	invitation, err := a.Marketplace.Invitation(ctx, id)
	if isNotFound(err) {
		return nil, absent
	}
	if err == nil {
		err = check(invitation)
	}
	if err != nil {
		return nil, err
	}
	user, err := marketplace.NewUser(invitation.Email, in.Body.Name, now)
	if err != nil {
		return nil, err
	}
	// Before the token is used up: the answer must not fail afterwards.
	org, err := a.Marketplace.Organization(ctx, invitation.OrgID)
	if err != nil {
		return nil, err
	}
	key, token := marketplace.NewAPIKey(invitation.OrgID, personalKeyName, invitation.Role, marketplace.AllScopes(), now)
	key.UserID = user.ID
	member, key, err := a.Marketplace.AcceptInvitation(ctx, requestOf(ctx).id, id, check, user, key, now)
	if err != nil {
		return nil, err
	}
	answer := &acceptedAnswer{Body: acceptedBody{
		Organization: organizationBodyOf(org), Member: memberBodyOf(org, member), APIKey: a.keyBody(org, key), Token: token.Reveal(),
	}}
	answer.Location = answer.Body.Member.URLs.Self
	return answer, nil
}
