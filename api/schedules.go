package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	createScheduleInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Body scheduleRequest
	}
	scheduleInput struct {
		Org string `path:"org" maxLength:"40" example:"acme"`
		ID  string `path:"id" example:"sch_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	changeScheduleInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		ID   string `path:"id" example:"sch_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body changeScheduleRequest
	}
	newScheduleAnswer struct {
		Location string `header:"Location" doc:"The schedule."`
		Body     scheduleBody
	}
	scheduleAnswer  struct{ Body scheduleBody }
	schedulesAnswer struct{ Body page[scheduleBody] }
)

const schedulesPath = "/v1/organizations/{org}/schedules"

func (a *app) routeSchedules() {
	rights := "The runs start under the rights of the caller, and those of whoever changed, resumed, triggered or backfilled it last: " +
		"when the API key is revoked or the person is no member any more, the schedule is paused."
	wrong := []string{"organization_not_found", "agent_not_found", "version_not_found", "input_invalid", "input_too_large", product.CodeScheduleInvalid}
	handle(a, route{
		id: "create-schedule", method: http.MethodPost, path: schedulesPath, tag: tagRuns, action: marketplace.ActSchedulesManage,
		status: http.StatusCreated, summary: "Start an agent again and again",
		description: "Each start finds the version, checks right, policies, money and input as the start of a run does. One that is denied is skipped, " +
			"and shown as last_skip. " + rights,
		problems: append([]string{"too_many_schedules"}, wrong...),
	}, a.createSchedule)
	handle(a, route{
		id: "list-schedules", method: http.MethodGet, path: schedulesPath, tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "List the schedules of an organization, newest first", problems: []string{"organization_not_found", "cursor_invalid"},
	}, a.listSchedules)
	handle(a, route{
		id: "get-schedule", method: http.MethodGet, path: schedulesPath + "/{id}", tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "Get a schedule with its next starts, and what its runs cost this month", problems: []string{"organization_not_found", "schedule_not_found"},
	}, a.getSchedule)
	handle(a, route{
		id: "change-schedule", method: http.MethodPatch, path: schedulesPath + "/{id}", tag: tagRuns, action: marketplace.ActSchedulesManage,
		summary: "Change a schedule", description: "What is left out stays; the agent cannot be changed. Runs that go on stay as they are. " + rights,
		problems: append([]string{"schedule_not_found"}, wrong...),
	}, a.changeSchedule)
	handle(a, route{
		id: "delete-schedule", method: http.MethodDelete, path: schedulesPath + "/{id}", tag: tagRuns, action: marketplace.ActSchedulesManage,
		status: http.StatusNoContent, summary: "Remove a schedule", description: "Its input is removed. Its runs stay, and those that go on go on.",
		problems: []string{"organization_not_found", "schedule_not_found"},
	}, a.deleteSchedule)
	a.routeScheduleSteps()
}

func (a *app) createSchedule(ctx context.Context, in *createScheduleInput) (*newScheduleAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	b, by, now := in.Body, requestOf(ctx).caller, a.Now()
	for pointer, amount := range map[string]*amountBody{"/budget": b.Budget, "/max_cost": b.MaxCost} {
		if amount != nil && amount.AmountMicros == 0 { // in a change it takes the bound away
			return nil, requestInvalid(fault.Field{Pointer: pointer + "/amount_micros", Message: "must be more than 0: leave it out for no bound"})
		}
	}
	s := product.Schedule{
		ID: ids.New[ids.Schedule](ids.PrefixSchedule), OrgID: org.ID, KeyID: by.KeyID, UserID: by.UserID, TeamID: ids.Team(b.Team),
		Name: b.Name, Agent: b.Agent, Version: b.Version, Input: b.Input, Labels: b.Labels,
		Cron: b.Cron, TimeZone: b.TimeZone, Overlap: product.OverlapSkip, CreatedAt: now, UpdatedAt: now, Revision: 1,
		Request: product.Request{
			RunTimeout: time.Duration(b.RunTimeoutSeconds) * time.Second, QueueTimeout: time.Duration(b.QueueTimeoutSeconds) * time.Second,
			Priority: b.Priority,
		},
	}
	if b.Overlap != "" {
		s.Overlap = product.Overlap(b.Overlap)
	}
	if err := a.apply(&s, changeScheduleRequest{Resources: b.Resources, Retry: b.Retry, MaxCost: b.MaxCost, Budget: b.Budget}); err != nil {
		return nil, err
	}
	if err := a.checkSchedule(ctx, &s); err != nil {
		return nil, err
	}
	if err := a.Control.CreateSchedule(ctx, actor(ctx), s); err != nil {
		return nil, err
	}
	a.syncSchedule(ctx, s)
	body, err := a.scheduleWhole(ctx, org, s)
	return &newScheduleAnswer{Location: body.URLs.Self, Body: body}, err
}

// checkSchedule checks a schedule, and its input against the version that would
// run now. It fills in the agent.
func (a *app) checkSchedule(ctx context.Context, s *product.Schedule) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := checkLabels(s.Labels); err != nil {
		return err
	}
	if s.TeamID != "" && !slices.Contains(requestOf(ctx).caller.Teams, s.TeamID) {
		return requestInvalid(fault.Field{Pointer: "/team", Message: "is not a team that you are in"})
	}
	if s.TeamID == "" && len(requestOf(ctx).caller.Teams) > 1 {
		return requestInvalid(fault.Field{Pointer: "/team", Message: "must be one of your teams"})
	}
	publisher, name := s.AgentName()
	if strings.Contains(name, "/") {
		return fault.Newf(fault.NotFound, "agent_not_found", "there is no agent %s", s.Agent)
	}
	agent, claim, err := a.claim(ctx, publisher, name)
	if err != nil {
		return err
	}
	s.AgentID, s.Agent = agent.ID, agent.FullName()
	version, err := a.version(ctx, agent, claim, s.Version)
	if err != nil {
		return err
	}
	return launch.CheckInput(version, s.Input)
}

// schedule finds a schedule of an organization of the caller's.
func (a *app) schedule(ctx context.Context, name, id string) (marketplace.Organization, product.Schedule, error) {
	org, err := a.organization(ctx, name)
	if err == nil {
		err = known(ids.PrefixSchedule, id, "schedule")
	}
	if err != nil {
		return marketplace.Organization{}, product.Schedule{}, err
	}
	s, err := a.Control.Schedule(ctx, ids.Schedule(id))
	if err == nil && s.OrgID != org.ID {
		err = fault.Newf(fault.NotFound, "schedule_not_found", "there is no schedule %s", id)
	}
	if err != nil {
		return marketplace.Organization{}, product.Schedule{}, err
	}
	return org, s, nil
}

func (a *app) listSchedules(ctx context.Context, in *orgListInput) (*schedulesAnswer, error) {
	before, err := decodeCursor[ids.Schedule](ids.PrefixSchedule, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Control.Schedules(ctx, org.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &schedulesAnswer{pageOf(found, in.Limit, func(s product.Schedule) ids.Schedule { return s.ID },
		func(s product.Schedule) scheduleBody { return scheduleSummary(org, s) })}, nil
}

func (a *app) getSchedule(ctx context.Context, in *scheduleInput) (*scheduleAnswer, error) {
	org, s, err := a.schedule(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	body, err := a.scheduleWhole(ctx, org, s)
	return &scheduleAnswer{body}, err
}

// changeSchedule checks the whole schedule as it will be. Should somebody else
// change it at the same time, each start checks its input once more.
func (a *app) changeSchedule(ctx context.Context, in *changeScheduleInput) (*scheduleAnswer, error) {
	org, s, err := a.schedule(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	own(ctx, &s)
	if err := a.apply(&s, in.Body); err != nil {
		return nil, err
	}
	if err := a.checkSchedule(ctx, &s); err != nil {
		return nil, err
	}
	return a.updateSchedule(ctx, org, s.ID, func(s *product.Schedule) error {
		own(ctx, s)
		s.UpdatedAt = a.Now()
		if err := a.apply(s, in.Body); err != nil {
			return err
		}
		return s.Check()
	})
}

// own lets the runs of a schedule start under the rights of the caller: nobody
// makes others' rights do what he asks for. A team that he is not in is not his
// to start runs for.
func own(ctx context.Context, s *product.Schedule) {
	by := requestOf(ctx).caller
	s.KeyID, s.UserID = by.KeyID, by.UserID
	if !slices.Contains(by.Teams, s.TeamID) {
		s.TeamID = ""
	}
}

// updateSchedule changes a schedule, and tells Temporal.
func (a *app) updateSchedule(ctx context.Context, org marketplace.Organization, id ids.Schedule, change func(*product.Schedule) error) (*scheduleAnswer, error) {
	s, err := a.Control.UpdateSchedule(ctx, actor(ctx), org.ID, id, change)
	if err != nil {
		return nil, err
	}
	a.syncSchedule(ctx, s)
	body, err := a.scheduleWhole(ctx, org, s)
	return &scheduleAnswer{body}, err
}

func (a *app) deleteSchedule(ctx context.Context, in *scheduleInput) (*emptyAnswer, error) {
	org, s, err := a.schedule(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	if err := a.Control.DeleteSchedule(ctx, actor(ctx), org.ID, s.ID, a.Now()); err != nil {
		return nil, err
	}
	s.Deleted, s.Revision = true, s.Revision+1
	a.syncSchedule(ctx, s)
	return nil, nil //nolint:nilnil // 204
}
