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

// ScheduleEngine is Temporal's side of schedules. Errors are faults: NotFound for
// a schedule that it has not heard of (yet), Unavailable for an engine that does
// not answer.
type ScheduleEngine interface {
	// SyncSchedule makes the engine's copy what the record says.
	SyncSchedule(ctx context.Context, s product.Schedule) error
	// TriggerSchedule makes a start now.
	TriggerSchedule(ctx context.Context, id ids.Schedule) error
	// BackfillSchedule makes the starts of a range that has passed.
	BackfillSchedule(ctx context.Context, id ids.Schedule, from, to time.Time, overlap product.Overlap) error
	// DescribeSchedule returns the times of the next starts.
	DescribeSchedule(ctx context.Context, id ids.Schedule) ([]time.Time, error)
}

type (
	pauseScheduleInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		ID   string `path:"id" example:"sch_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body *pauseScheduleRequest
	}
	backfillInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		ID   string `path:"id" example:"sch_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body backfillRequest
	}
)

const (
	// maxNextRuns bounds the next starts that are shown.
	maxNextRuns = 5
	// describeBudget is how long an answer waits for them.
	describeBudget = time.Second
)

func (a *app) routeScheduleSteps() {
	takes := "From now on the runs start under the rights of the caller, these and those by time."
	handle(a, route{
		id: "pause-schedule", method: http.MethodPost, path: schedulesPath + "/{id}/pause", tag: tagRuns, action: marketplace.ActSchedulesManage,
		optionalBody: true, summary: "Pause a schedule", description: "Runs that go on go on. A second call changes nothing.",
		problems: []string{"organization_not_found", "schedule_not_found"},
	}, a.pauseSchedule)
	handle(a, route{
		id: "resume-schedule", method: http.MethodPost, path: schedulesPath + "/{id}/resume", tag: tagRuns, action: marketplace.ActSchedulesManage,
		summary: "Resume a paused schedule", description: "The starts that were missed are not made up for: see backfill. " +
			"From now on the runs start under the rights of the caller. A second call changes nothing.",
		problems: []string{"organization_not_found", "schedule_not_found"},
	}, a.resumeSchedule)
	handle(a, route{
		id: "trigger-schedule", method: http.MethodPost, path: schedulesPath + "/{id}/trigger", tag: tagRuns, action: marketplace.ActSchedulesManage,
		status: http.StatusAccepted, summary: "Make a start now, whether or not the schedule is paused",
		description: "The overlap of the schedule holds. The run appears in its runs, or the start as its last_skip. " + takes,
		problems:    []string{"organization_not_found", "schedule_not_found"},
	}, a.triggerSchedule)
	handle(a, route{
		id: "backfill-schedule", method: http.MethodPost, path: schedulesPath + "/{id}/backfill", tag: tagRuns, action: marketplace.ActSchedulesManage,
		status: http.StatusAccepted, summary: "Make the starts of a range that has passed",
		description: "A time that has made a run makes no second one. " + takes,
		problems:    []string{"organization_not_found", "schedule_not_found", product.CodeScheduleInvalid},
	}, a.backfillSchedule)
}

func (a *app) pauseSchedule(ctx context.Context, in *pauseScheduleInput) (*scheduleAnswer, error) {
	org, s, err := a.schedule(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	reason := ""
	if in.Body != nil && in.Body.Reason != "" {
		reason = in.Body.Reason
		if err := marketplace.CheckText(reason, "/reason", product.MaxPauseReason); err != nil {
			return nil, err
		}
	}
	return a.updateSchedule(ctx, org, s.ID, func(s *product.Schedule) error {
		if !s.Paused {
			s.Pause(reason, a.Now())
		}
		return nil
	})
}

func (a *app) resumeSchedule(ctx context.Context, in *scheduleInput) (*scheduleAnswer, error) {
	org, s, err := a.schedule(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	return a.updateSchedule(ctx, org, s.ID, func(s *product.Schedule) error {
		if s.Paused {
			s.Resume(a.Now())
			own(ctx, s)
		}
		return nil
	})
}

func (a *app) triggerSchedule(ctx context.Context, in *scheduleInput) (*scheduleAnswer, error) {
	return a.startNow(ctx, in.Org, in.ID, product.Asked{}, func(ctx context.Context, s product.Schedule) error {
		return a.Schedules.TriggerSchedule(ctx, s.ID)
	})
}

func (a *app) backfillSchedule(ctx context.Context, in *backfillInput) (*scheduleAnswer, error) {
	asked := product.Asked{From: in.Body.From, To: in.Body.To, Overlap: product.OverlapAllow}
	if in.Body.Overlap != "" {
		asked.Overlap = product.Overlap(in.Body.Overlap)
	}
	return a.startNow(ctx, in.Org, in.ID, asked, func(ctx context.Context, s product.Schedule) error {
		return a.Schedules.BackfillSchedule(ctx, s.ID, asked.From, asked.To, asked.Overlap)
	})
}

// startNow records what is asked for, on the rights of the caller from now on, and
// asks the engine for it. One that has not heard of the schedule is told of it
// first.
func (a *app) startNow(ctx context.Context, name, id string, asked product.Asked,
	ask func(context.Context, product.Schedule) error,
) (*scheduleAnswer, error) {
	org, before, err := a.schedule(ctx, name, id)
	if err == nil && asked.Backfill() {
		err = before.CheckBackfill(asked.From, asked.To, asked.Overlap, a.Now())
	}
	if err != nil {
		return nil, err
	}
	s, err := a.Control.UpdateSchedule(ctx, actor(ctx), org.ID, before.ID, func(s *product.Schedule) error {
		own(ctx, s)
		s.Asked, s.UpdatedAt = &asked, a.Now()
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.Revision != before.Revision {
		a.syncSchedule(ctx, s)
	}
	engine, cancel := context.WithTimeout(ctx, 2*engineBudget)
	defer cancel()
	err = ask(engine, s)
	if fault.Is(err, fault.NotFound) {
		a.syncSchedule(ctx, s)
		err = ask(engine, s)
	}
	if fault.Is(err, fault.NotFound) {
		err = fault.Wrap(fault.Unavailable, err, "the schedule is not set up yet")
	}
	if err != nil {
		return nil, err
	}
	body, err := a.scheduleWhole(ctx, org, s)
	return &scheduleAnswer{body}, err
}

// syncSchedule tells the engine what is stored of a schedule, within a short
// budget and whether or not the client is still there. What it cannot say stays
// due in the store, and the relay says it.
func (a *app) syncSchedule(ctx context.Context, s product.Schedule) {
	detached := context.WithoutCancel(ctx)
	engine, cancel := context.WithTimeout(detached, engineBudget)
	defer cancel()
	err := a.Schedules.SyncSchedule(engine, s)
	if err == nil {
		store, cancel := context.WithTimeout(detached, engineBudget)
		defer cancel()
		err = a.Control.ScheduleDispatched(store, s)
	}
	if err != nil {
		a.Log.WarnContext(ctx, "schedule left to the relay", "schedule_id", s.ID, "error", err, "request_id", requestOf(ctx).id)
	}
}

// scheduleWhole is a schedule with its input, what its runs cost this month, and
// its next starts, where the engine tells them at once.
func (a *app) scheduleWhole(ctx context.Context, org marketplace.Organization, s product.Schedule) (scheduleBody, error) {
	body := scheduleSummary(org, s)
	body.Input = s.Input
	micros, err := a.Control.ScheduleSpend(ctx, s.ID, a.Now())
	if err != nil {
		return scheduleBody{}, err
	}
	body.Spent = &amountBody{AmountMicros: micros, Currency: a.Policy.Currency}
	if s.Paused {
		return body, nil
	}
	engine, cancel := context.WithTimeout(ctx, describeBudget)
	defer cancel()
	next, err := a.Schedules.DescribeSchedule(engine, s.ID)
	if err != nil {
		a.Log.DebugContext(ctx, "next starts not shown", "schedule_id", s.ID, "error", err, "request_id", requestOf(ctx).id)
		return body, nil
	}
	for _, at := range next[:min(len(next), maxNextRuns)] {
		body.NextRuns = append(body.NextRuns, at.UTC())
	}
	return body, nil
}
