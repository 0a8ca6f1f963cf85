package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// spendLimitBody is a hard limit that an organization set itself.
type spendLimitBody struct {
	Scope     string     `json:"scope" doc:"run: one run; user: one person in a month; month: the organization in a month."`
	UserID    string     `json:"user_id,omitempty" doc:"Of the scope user; absent: everybody without a limit of his own."`
	Amount    amountBody `json:"amount"`
	AlertAt   []int      `json:"alert_at" doc:"Percentages of the amount at which an alert is raised."`
	UpdatedBy string     `json:"updated_by"`
	UpdatedAt time.Time  `json:"updated_at"`
}

func spendLimitBodyOf(l marketplace.SpendLimit) spendLimitBody {
	return spendLimitBody{
		Scope: string(l.Scope), UserID: string(l.UserID), Amount: amountBodyOf(l.Amount),
		AlertAt: append([]int{}, l.AlertAt...), UpdatedBy: l.UpdatedBy, UpdatedAt: l.UpdatedAt.UTC(),
	}
}

type (
	spendLimitRequest struct {
		Amount  amountBody `json:"amount"`
		AlertAt []int      `json:"alert_at,omitempty" maxItems:"10" doc:"Percentages from 1 to 100." example:"[50, 80, 100]"`
	}
	setSpendLimitInput struct {
		Org   string `path:"org" maxLength:"40"`
		Scope string `path:"scope" enum:"run,user,month"`
		User  string `query:"user" maxLength:"30" doc:"Of the scope user: whose limit it is. Absent: everybody's without one."`
		Body  spendLimitRequest
	}
	spendLimitInput struct {
		Org   string `path:"org" maxLength:"40"`
		Scope string `path:"scope" enum:"run,user,month"`
		User  string `query:"user" maxLength:"30"`
	}
	spendLimitAnswer  struct{ Body spendLimitBody }
	spendLimitsAnswer struct{ Body page[spendLimitBody] }
	alertBody         struct {
		ID      string     `json:"id"`
		Scope   string     `json:"scope"`
		UserID  string     `json:"user_id,omitempty"`
		Month   string     `json:"month"`
		Percent int        `json:"percent" example:"80"`
		Limit   amountBody `json:"limit"`
		Spent   amountBody `json:"spent"`
		At      time.Time  `json:"at"`
	}
	orgListInput struct {
		Org    string `path:"org" maxLength:"40"`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor string `query:"cursor" maxLength:"200"`
	}
	alertsAnswer struct{ Body page[alertBody] }
	limitsAnswer struct{ Body limitsBody }
)

// limitsBody is every bound of an organization beside what is used of it.
type limitsBody struct {
	Limits  limitsSet   `json:"limits"`
	Current currentUse  `json:"current"`
	Spend   []spendUsed `json:"spend" doc:"Each spend limit of a month beside what is spent, without those of other people."`
	// What bounds runs, see limits_bodies.go.
	Quota LimitBody       `json:"quota" doc:"What the platform allows the organization."`
	Teams []teamLimitBody `json:"teams" doc:"The limits of teams."`
	Users []userLimitBody `json:"users" doc:"The limits of people."`
}

type limitsSet struct {
	MaxRunTimeoutSeconds int64 `json:"max_run_timeout_seconds"`
	MaxCPUMillis         int64 `json:"max_cpu_millis"`
	MaxMemoryMiB         int64 `json:"max_memory_mib"`
	MaxDiskMiB           int64 `json:"max_disk_mib"`
	MaxAttempts          int   `json:"max_attempts"`
	MaxAPIKeys           int   `json:"max_api_keys"`
	MaxTeams             int   `json:"max_teams"`
	LimitNumbers
}

type currentUse struct {
	Month  string     `json:"month" example:"2026-11"`
	Spent  amountBody `json:"spent" doc:"In the month."`
	Held   amountBody `json:"held" doc:"Set aside for runs that go on."`
	Wallet walletBody `json:"wallet"`
	LimitUse
}

type spendUsed struct {
	Limit spendLimitBody `json:"limit"`
	Used  amountBody     `json:"used" doc:"Spent and held in the month; of a person's limit only for the caller's own."`
}

func (a *app) routeSpending() {
	handle(a, route{
		id: "list-spend-limits", method: http.MethodGet, path: "/v1/organizations/{org}/spend-limits", tag: tagBilling,
		action: marketplace.ActBillingRead, summary: "List the spend limits of an organization", problems: []string{"organization_not_found"},
	}, a.listSpendLimits)
	handle(a, route{
		id: "set-spend-limit", method: http.MethodPut, path: "/v1/organizations/{org}/spend-limits/{scope}", tag: tagBilling,
		action: marketplace.ActBillingManage, summary: "Set a spend limit",
		description: "Limits are hard: a run or an order that could go over one is denied with spend_limit_reached.",
		problems:    []string{"organization_not_found", "member_not_found"},
	}, a.setSpendLimit)
	handle(a, route{
		id: "delete-spend-limit", method: http.MethodDelete, path: "/v1/organizations/{org}/spend-limits/{scope}", tag: tagBilling,
		action: marketplace.ActBillingManage, status: http.StatusNoContent, summary: "Remove a spend limit",
		problems: []string{"organization_not_found", "spend_limit_not_found"},
	}, a.deleteSpendLimit)
	handle(a, route{
		id: "list-alerts", method: http.MethodGet, path: "/v1/organizations/{org}/alerts", tag: tagBilling,
		action: marketplace.ActBillingRead, summary: "List the alerts that spending has raised", problems: []string{"organization_not_found", "cursor_invalid"},
	}, a.listAlerts)
	handle(a, route{
		id: "get-limits", method: http.MethodGet, path: "/v1/organizations/{org}/limits", tag: tagBilling,
		action: marketplace.ActBillingRead, summary: "Get every limit of an organization, and what is used of it",
		problems: []string{"organization_not_found"},
	}, a.getLimits)
}

func (a *app) listSpendLimits(ctx context.Context, in *orgInput) (*spendLimitsAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	spending, err := a.Marketplace.Spending(ctx, org.ID, "", marketplace.MonthOf(a.Now()))
	if err != nil {
		return nil, err
	}
	items := make([]spendLimitBody, len(spending.Limits))
	for i, l := range spending.Limits {
		items[i] = spendLimitBodyOf(l)
	}
	return &spendLimitsAnswer{page[spendLimitBody]{Items: items}}, nil
}

func (a *app) setSpendLimit(ctx context.Context, in *setSpendLimitInput) (*spendLimitAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	amount, err := a.amount(in.Body.Amount, "/amount")
	if err != nil {
		return nil, err
	}
	limit := marketplace.SpendLimit{
		OrgID: org.ID, Scope: marketplace.SpendScope(in.Scope), UserID: ids.User(in.User), Amount: amount,
		AlertAt: in.Body.AlertAt, UpdatedBy: actor(ctx).ID, UpdatedAt: a.Now(),
	}
	if err := limit.Check(); err != nil {
		return nil, err
	}
	if in.User != "" {
		if err := a.isMember(ctx, org.ID, in.User); err != nil {
			return nil, err
		}
	}
	if err := a.Marketplace.SetSpendLimit(ctx, actor(ctx), limit); err != nil {
		return nil, err
	}
	return &spendLimitAnswer{spendLimitBodyOf(limit)}, nil
}

func (a *app) isMember(ctx context.Context, org ids.Org, user string) error {
	absent := fault.Newf(fault.NotFound, "member_not_found", "there is no member %s", user)
	if !ids.Valid(ids.PrefixUser, user) {
		return absent
	}
	_, err := a.Marketplace.Member(ctx, org, ids.User(user))
	if isNotFound(err) {
		return absent
	}
	return err
}

func (a *app) deleteSpendLimit(ctx context.Context, in *spendLimitInput) (*emptyAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	return nil, a.Marketplace.DeleteSpendLimit(ctx, actor(ctx), org.ID, marketplace.SpendScope(in.Scope), ids.User(in.User), a.Now())
}

func (a *app) listAlerts(ctx context.Context, in *orgListInput) (*alertsAnswer, error) {
	before, err := decodeCursor[ids.Alert](ids.PrefixAlert, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Alerts(ctx, org.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &alertsAnswer{pageOf(found, in.Limit, func(x marketplace.Alert) ids.Alert { return x.ID },
		func(x marketplace.Alert) alertBody {
			return alertBody{
				ID: string(x.ID), Scope: string(x.Scope), UserID: string(x.UserID), Month: string(x.Month), Percent: x.Percent,
				Limit: amountBodyOf(x.Limit), Spent: amountBodyOf(x.Spent), At: x.At.UTC(),
			}
		})}, nil
}

func (a *app) getLimits(ctx context.Context, in *orgInput) (*limitsAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	wallet, err := a.walletBody(ctx, org)
	if err != nil {
		return nil, err
	}
	month := marketplace.MonthOf(a.Now())
	spending, err := a.Marketplace.Spending(ctx, org.ID, requestOf(ctx).caller.UserID, month)
	if err != nil {
		return nil, err
	}
	in1 := func(micros int64) amountBody { return amountBody{micros, a.Policy.Currency} }
	body := limitsBody{
		Limits: limitsSet{
			MaxRunTimeoutSeconds: int64(a.Limits.MaxRun / time.Second), MaxCPUMillis: a.Limits.Resources.CPUMillis,
			MaxMemoryMiB: a.Limits.Resources.MemoryMiB, MaxDiskMiB: a.Limits.Resources.DiskMiB, MaxAttempts: a.Limits.MaxAttempts,
			MaxAPIKeys: marketplace.MaxKeys, MaxTeams: marketplace.MaxTeams,
		},
		Current: currentUse{Month: string(month), Spent: in1(spending.Org.Spent.Micros), Held: in1(spending.Org.Held.Micros), Wallet: wallet},
		Spend:   []spendUsed{},
	}
	for _, l := range spending.Limits {
		if l.UserID != "" && l.UserID != requestOf(ctx).caller.UserID {
			continue // what others may spend is not the caller's to know here
		}
		used := spending.Org
		if l.Scope == marketplace.SpendPerUser {
			used = spending.User
		}
		if l.Scope != marketplace.SpendPerRun {
			body.Spend = append(body.Spend, spendUsed{spendLimitBodyOf(l), in1(used.Spent.Micros + used.Held.Micros)})
		}
	}
	if err := a.addRunLimits(ctx, org.ID, &body); err != nil {
		return nil, err
	}
	return &limitsAnswer{body}, nil
}

// addRunLimits completes an answer by what bounds the runs of an organization.
func (a *app) addRunLimits(ctx context.Context, org ids.Org, body *limitsBody) error {
	own, err := a.Control.LimitsOf(ctx, org)
	if err != nil {
		return err
	}
	quota := product.Scope{Kind: product.ScopeQuota, ID: string(org)}
	scopes := []product.Scope{quota}
	for _, l := range own {
		scopes = append(scopes, l.Scope)
	}
	limits, usages, err := a.Control.Limits(ctx, scopes, a.Now())
	if err != nil {
		return err
	}
	found := foundLimitsOf(limits, usages)
	body.Quota = found.body(quota)
	runs := found.own(org)
	body.Limits.LimitNumbers, body.Current.LimitUse = runs.Limits, runs.Current
	body.Teams, body.Users = found.teamsAndUsers(own)
	return nil
}
