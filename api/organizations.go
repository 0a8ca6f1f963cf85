package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/marketplace"
)

// organizationBody is an organization as the API shows it.
type organizationBody struct {
	ID        string    `json:"id" example:"org_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Name      string    `json:"name" doc:"The publisher part of its agents' names." example:"acme"`
	CreatedAt time.Time `json:"created_at"`
	URLs      selfURL   `json:"urls"`
}

func organizationPath(name string) string { return "/v1/organizations/" + name }

func organizationBodyOf(o marketplace.Organization) organizationBody {
	return organizationBody{
		ID: string(o.ID), Name: o.Name, CreatedAt: o.CreatedAt.UTC(), URLs: selfURL{organizationPath(o.Name)},
	}
}

// callerBody is who makes a request, and what that may do.
type callerBody struct {
	Organization organizationBody `json:"organization"`
	Role         string           `json:"role" example:"publisher"`
	Scopes       []string         `json:"scopes" doc:"The calls that the role's rights are narrowed to." example:"[\"agents:read\", \"runs:write\"]"`
	Member       *memberBody      `json:"member,omitempty" doc:"Who you are; absent for a program."`
	APIKey       *keyBody         `json:"api_key,omitempty" doc:"The key of the request; absent with a token of an identity provider."`
}

type (
	callerAnswer       struct{ Body callerBody }
	organizationAnswer struct{ Body organizationBody }
)

func (a *app) routeOrganizations() {
	handle(a, route{
		id: "get-me", method: http.MethodGet, path: "/v1/me", tag: tagOrganization, action: marketplace.ActOrganizationRead,
		summary: "Get who you are: organization, role, scopes, and the person or the key",
	}, a.getMe)
	handle(a, route{
		id: "get-organization", method: http.MethodGet, path: "/v1/organizations/{org}", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "Get an organization", problems: []string{"organization_not_found"},
	}, a.getOrganization)
	a.routeAudit()
}

func (a *app) getMe(ctx context.Context, _ *struct{}) (*callerAnswer, error) {
	who := requestOf(ctx).caller
	org, err := a.Marketplace.Organization(ctx, who.OrgID)
	if err != nil {
		return nil, err
	}
	body := callerBody{Organization: organizationBodyOf(org), Role: string(who.Role), Scopes: textsOf(who.Scopes)}
	if who.UserID != "" {
		member, err := a.Marketplace.Member(ctx, who.OrgID, who.UserID)
		if err != nil {
			return nil, err
		}
		body.Member = new(memberBodyOf(org, member))
	}
	if who.KeyID != "" {
		key, err := a.Marketplace.APIKey(ctx, who.OrgID, who.KeyID)
		if err != nil {
			return nil, err
		}
		body.APIKey = new(a.keyBody(org, key))
	}
	return &callerAnswer{body}, nil
}

func (a *app) getOrganization(ctx context.Context, in *orgInput) (*organizationAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	return &organizationAnswer{organizationBodyOf(org)}, nil
}

// mayGive returns nil when the caller's role may give, change or take another
// one. The pointer is where the request names the role; empty: it does not.
func mayGive(ctx context.Context, role marketplace.Role, pointer string) error {
	own := requestOf(ctx).caller.Role
	if own.MayGive(role) {
		return nil
	}
	err := fault.Newf(fault.Forbidden, "rights_exceeded", "the role %s may not give, change or take the role %s", own, role)
	if pointer != "" {
		err = err.WithFields(fault.Field{Pointer: pointer, Message: "is above your own role"})
	}
	return err
}

// textsOf spells out values that are texts. It is never null in JSON.
func textsOf[T ~string](values []T) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return texts
}
