package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// auditBody is one change.
type auditBody struct {
	ID        string          `json:"id" example:"aud_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	At        time.Time       `json:"at"`
	Actor     auditActor      `json:"actor"`
	Action    string          `json:"action" doc:"What was done. The set may grow." example:"member.role"`
	Subject   string          `json:"subject" doc:"The identifier of what was changed." example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Before    json.RawMessage `json:"before,omitempty" doc:"What it was; absent where there was nothing."`
	After     json.RawMessage `json:"after,omitempty" doc:"What it is; absent where there is nothing left."`
	RequestID string          `json:"request_id,omitempty" doc:"The request that made the change; absent where the platform made it by itself."`
}

type auditActor struct {
	Kind           string `json:"kind" doc:"user, key, operator or system." example:"user"`
	ID             string `json:"id" doc:"A person, a key, or a process of the platform." example:"usr_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	OrganizationID string `json:"organization_id,omitempty" doc:"The actor's own, which may be another one."`
}

func auditBodyOf(e audit.Entry) auditBody {
	return auditBody{
		ID: string(e.ID), At: e.At.UTC(), Action: e.Action, Subject: e.Subject, Before: e.Before, After: e.After,
		Actor:     auditActor{Kind: string(e.Actor.Kind), ID: e.Actor.ID, OrganizationID: string(e.Actor.Org)},
		RequestID: e.Actor.RequestID,
	}
}

type (
	auditInput struct {
		Org           string `path:"org" maxLength:"40"`
		Action        string `query:"action" maxLength:"64" doc:"Only changes of this kind." example:"key.create"`
		Subject       string `query:"subject" maxLength:"100" doc:"Only changes of this object."`
		Actor         string `query:"actor" maxLength:"100" doc:"Only changes that this person, key or process made."`
		CreatedAfter  string `query:"created_after" format:"date-time" doc:"Only changes after this time."`
		CreatedBefore string `query:"created_before" format:"date-time" doc:"Only changes before this time."`
		Limit         int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor        string `query:"cursor" maxLength:"200"`
	}
	auditAnswer struct{ Body page[auditBody] }
)

func (a *app) routeAudit() {
	handle(a, route{
		id: "list-audit-log", method: http.MethodGet, path: "/v1/organizations/{org}/audit-log", tag: tagOrganization,
		action: marketplace.ActAuditRead, summary: "List who changed what, the last change first",
		description: "An entry is written with each change and is never changed or removed by anyone. Secrets are not in it.",
		problems:    []string{"organization_not_found", "cursor_invalid"},
	}, a.listAudit)
}

func (a *app) listAudit(ctx context.Context, in *auditInput) (*auditAnswer, error) {
	before, err := decodeCursor[ids.Audit](ids.PrefixAudit, in.Cursor)
	if err != nil {
		return nil, err
	}
	query := audit.Query{Action: in.Action, Subject: in.Subject, Actor: in.Actor, Before: before, Limit: in.Limit + 1}
	if query.After, err = parseTime("created_after", in.CreatedAfter); err != nil {
		return nil, err
	}
	if query.Until, err = parseTime("created_before", in.CreatedBefore); err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Audit(ctx, org.ID, query)
	if err != nil {
		return nil, err
	}
	return &auditAnswer{pageOf(found, in.Limit, func(e audit.Entry) ids.Audit { return e.ID }, auditBodyOf)}, nil
}
