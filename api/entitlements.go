package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// rightBody is an entitlement as its organization sees it.
type rightBody struct {
	ID        string      `json:"id" example:"ent_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	AgentID   string      `json:"agent_id"`
	Source    string      `json:"source" doc:"ownership, grant, free, purchase, subscription or trial."`
	TeamID    string      `json:"team_id,omitempty" doc:"Only for this team."`
	UserID    string      `json:"user_id,omitempty" doc:"Only for this person."`
	OrderID   string      `json:"order_id,omitempty"`
	Versions  string      `json:"versions,omitempty" doc:"Only for versions that begin with these numbers." example:"1.4"`
	Limits    rightLimits `json:"limits"`
	Usage     rightUsage  `json:"usage"`
	Renews    bool        `json:"renews" doc:"A subscription that is paid again when it ends."`
	CreatedAt time.Time   `json:"created_at"`
	ExpiresAt *time.Time  `json:"expires_at,omitempty"`
	RevokedAt *time.Time  `json:"revoked_at,omitempty"`
}

type rightLimits struct {
	RunsPerMonth int64 `json:"runs_per_month,omitempty" doc:"Absent: no bound."`
	Concurrent   int64 `json:"concurrent_runs,omitempty"`
	Runs         int64 `json:"runs,omitempty" doc:"In all: of a trial. Of a subscription: the number of total_runs up to which the paid month includes them."`
	Included     int64 `json:"included_runs,omitempty" doc:"That each paid month of a subscription adds."`
}

type rightUsage struct {
	Month   string `json:"month,omitempty" example:"2026-11"`
	Runs    int64  `json:"runs" doc:"In the month, those that go on included."`
	Seconds int64  `json:"run_time_seconds" doc:"In the month."`
	Total   int64  `json:"total_runs"`
	Active  int64  `json:"active_runs"`
}

func (a *app) rightBody(e marketplace.Entitlement) rightBody {
	u := e.Usage.In(marketplace.MonthOf(a.Now()))
	return rightBody{
		ID: string(e.ID), AgentID: string(e.AgentID), Source: string(e.Source), TeamID: string(e.TeamID), UserID: string(e.UserID),
		OrderID: string(e.OrderID), Versions: e.Versions, Renews: e.Renews,
		Limits:    rightLimits(e.Limits),
		Usage:     rightUsage{Month: string(u.Month), Runs: u.Runs, Seconds: u.Seconds, Total: u.Total, Active: u.Active},
		CreatedAt: e.CreatedAt.UTC(), ExpiresAt: when(e.ExpiresAt), RevokedAt: when(e.RevokedAt),
	}
}

type (
	narrowRequest struct {
		RunsPerMonth   *int64  `json:"runs_per_month,omitempty" minimum:"0" maximum:"100000000" doc:"0 takes the bound away."`
		ConcurrentRuns *int64  `json:"concurrent_runs,omitempty" minimum:"0" maximum:"1000000" doc:"0 takes the bound away."`
		Versions       *string `json:"versions,omitempty" maxLength:"29" doc:"1, 1.4 or 1.4.2; empty takes the bound away."`
	}
	narrowInput struct {
		ID   string `path:"id" example:"ent_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body narrowRequest
	}
	rightAnswer  struct{ Body rightBody }
	rightsAnswer struct{ Body page[rightBody] }
)

func (a *app) routeEntitlements() {
	handle(a, route{
		id: "list-entitlements", method: http.MethodGet, path: "/v1/entitlements", tag: tagBuying, action: marketplace.ActAgentsRead,
		summary: "List the rights of your organization to run agents", problems: []string{"cursor_invalid"},
	}, a.listEntitlements)
	handle(a, route{
		id: "limit-entitlement", method: http.MethodPatch, path: "/v1/entitlements/{id}", tag: tagBuying,
		action: marketplace.ActInstallationManage, summary: "Bound how your organization uses a right",
		problems: []string{"entitlement_not_found"},
	}, a.limitEntitlement)
}

func (a *app) listEntitlements(ctx context.Context, in *listInput) (*rightsAnswer, error) {
	before, err := decodeCursor[ids.Entitlement](ids.PrefixEntitlement, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Entitlements(ctx, requestOf(ctx).caller.OrgID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &rightsAnswer{pageOf(found, in.Limit, func(e marketplace.Entitlement) ids.Entitlement { return e.ID }, a.rightBody)}, nil
}

// limitEntitlement changes what the buyer decides: how many runs, which versions.
// What was bought, granted or tried stays as it is.
func (a *app) limitEntitlement(ctx context.Context, in *narrowInput) (*rightAnswer, error) {
	if err := known(ids.PrefixEntitlement, in.ID, "entitlement"); err != nil {
		return nil, err
	}
	if v := in.Body.Versions; v != nil && !marketplace.ValidVersions(*v) {
		return nil, requestInvalid(fault.Field{Pointer: "/versions", Message: "must be up to three numbers, such as 1.4"})
	}
	e, err := a.Marketplace.UpdateEntitlement(ctx, actor(ctx), requestOf(ctx).caller.OrgID, ids.Entitlement(in.ID), a.Now(),
		func(e *marketplace.Entitlement) error {
			if n := in.Body.RunsPerMonth; n != nil {
				e.Limits.RunsPerMonth = *n
			}
			if n := in.Body.ConcurrentRuns; n != nil {
				e.Limits.Concurrent = *n
			}
			if v := in.Body.Versions; v != nil {
				e.Versions = *v
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return &rightAnswer{a.rightBody(e)}, nil
}
