package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/product"
)

// Starter starts runs as the API does, see launch.Launcher.
type Starter interface {
	Preview(ctx context.Context, s launch.Start) (launch.Preview, error)
	Start(ctx context.Context, s launch.Start) (product.Run, bool, error)
}

// RunsByKey are the execution records, and how to find them by request.
type RunsByKey interface {
	product.RunStore
	product.RunKeys
}

// Schedules is what the workflow of a schedule asks of layers 1 and 2.
type Schedules struct {
	Store    product.ScheduleStore
	People   Principals
	Launcher Starter
	Runs     RunsByKey
	Now      func() time.Time
}

// StartScheduledRunInput names a start of a schedule: there is one run for each
// time.
type StartScheduledRunInput struct {
	ScheduleID  ids.Schedule `json:"schedule_id"`
	ScheduledAt time.Time    `json:"scheduled_at"`
}

// StartedRun is the run that a start has made, or why it has made none.
type StartedRun struct {
	RunID   ids.Run   `json:"run_id,omitempty"`
	OrgID   ids.Org   `json:"org_id,omitempty"`
	AgentID ids.Agent `json:"agent_id,omitempty"`
	Agent   string    `json:"agent,omitempty"`
	Version string    `json:"version,omitempty"`
	// Ended: the time was started before, and its run is over.
	Ended bool `json:"ended,omitempty"`

	Skipped bool   `json:"skipped,omitempty"`
	Code    string `json:"code,omitempty"` // of what denied it
	Reason  string `json:"reason,omitempty"`
}

// StartScheduledRun makes the run of a schedule and a time, under the rights of
// whoever the schedule belongs to. A repeat returns the run that is there. A start
// that is denied makes none, for good: the schedule shows it as its last skip. A
// schedule whose owner may not start runs any more is paused.
func (a *Schedules) StartScheduledRun(ctx context.Context, in StartScheduledRunInput) (StartedRun, error) {
	s, err := a.Store.Schedule(ctx, in.ScheduleID)
	if fault.Is(err, fault.NotFound) {
		return StartedRun{Skipped: true, Code: "schedule_not_found", Reason: "the schedule was deleted"}, nil
	}
	if err != nil {
		return StartedRun{}, toTemporal(err)
	}
	run, err := a.start(ctx, s, in)
	if denial := fault.From(err); err != nil && !retryable[denial.Kind] {
		started, err := a.skip(ctx, s, in, denial)
		return started, toTemporal(err)
	}
	if err != nil {
		return StartedRun{}, toTemporal(err)
	}
	return StartedRun{
		RunID: run.ID, OrgID: run.OrgID, AgentID: run.AgentID, Agent: run.Agent, Version: run.Version, Ended: run.Status.Terminal(),
	}, nil
}

// scheduleKey is the key of a start. No caller of the API can use it: his have no
// spaces. The fingerprint is always the same, for a schedule that was changed since
// does not make the run of a time again.
func scheduleKey(in StartScheduledRunInput) product.IdempotencyKey {
	return product.IdempotencyKey{
		Key:         fmt.Sprintf("schedule %s %s", in.ScheduleID, in.ScheduledAt.UTC().Format(time.RFC3339Nano)),
		Fingerprint: "schedule",
	}
}

func (a *Schedules) start(ctx context.Context, s product.Schedule, in StartScheduledRunInput) (product.Run, error) {
	key := scheduleKey(in)
	before, err := a.Runs.RunOfKey(ctx, s.OrgID, key)
	if !fault.Is(err, fault.NotFound) {
		return before, err
	}
	owner, err := a.owner(ctx, s)
	if err != nil {
		return product.Run{}, err
	}
	start := launch.Start{
		Caller: launch.Caller{
			OrgID: owner.OrgID, KeyID: owner.KeyID, UserID: owner.UserID, Teams: owner.Teams, Actor: owner.Actor(""),
		},
		TeamID: s.TeamID, Version: s.Version, Input: s.Input, Request: s.Request, Labels: s.Labels, Key: &key,
		Origin: product.Origin{Kind: product.OriginSchedule, ScheduleID: s.ID},
	}
	start.Publisher, start.Name = s.AgentName()
	if s.Budget.Currency != "" {
		if err := a.bound(ctx, &start); err != nil {
			return product.Run{}, err
		}
	}
	run, _, err := a.Launcher.Start(ctx, start)
	return run, err
}

// bound lets the run cost no more than it could now, so that the budget counts it
// with that from the beginning.
func (a *Schedules) bound(ctx context.Context, start *launch.Start) error {
	preview, err := a.Launcher.Preview(ctx, *start)
	if err != nil {
		return err
	}
	most := preview.Estimate.Maximum
	if asked := start.Request.MaxCost; most.Micros > 0 && (asked.Currency == "" || most.Micros < asked.Micros) {
		start.Request.MaxCost = most
	}
	return nil
}

// bySchedules is who pauses schedules that may not start runs any more.
var bySchedules = audit.System("schedules")

// skip records that a start made no run.
func (a *Schedules) skip(ctx context.Context, s product.Schedule, in StartScheduledRunInput, denial *fault.Error) (StartedRun, error) {
	now := a.Now()
	_, err := a.Store.UpdateSchedule(ctx, bySchedules, s.OrgID, s.ID, func(s *product.Schedule) error {
		s.LastSkip = &product.Skip{ScheduledAt: in.ScheduledAt, At: now, Code: denial.Code, Reason: denial.Message}
		if denial.Code == codeOwnerGone && !s.Paused {
			s.Pause(denial.Message, now)
		}
		return nil
	})
	if fault.Is(err, fault.NotFound) { // deleted meanwhile
		err = nil
	}
	return StartedRun{Skipped: true, Code: denial.Code, Reason: denial.Message}, err
}

// ScheduledRun names a run that a schedule has made.
type ScheduledRun struct {
	RunID ids.Run `json:"run_id"`
}

// MarkDispatched says that the workflow of a run was started, and nothing else: a
// request to cancel that was stored meanwhile stays due.
func (a *Schedules) MarkDispatched(ctx context.Context, in ScheduledRun) error {
	return toTemporal(a.Runs.Dispatched(ctx, product.Run{ID: in.RunID}))
}

// endInterval is how often AwaitRunEnd looks.
const endInterval = 15 * time.Second

// AwaitRunEnd succeeds when a run has ended. Until then each try fails, and the
// engine tries again: that occupies nothing and leaves no trace in the history.
func (a *Schedules) AwaitRunEnd(ctx context.Context, in ScheduledRun) error {
	run, err := a.Runs.Run(ctx, in.RunID)
	if err != nil || run.Status.Terminal() {
		return toTemporal(err)
	}
	return temporal.NewApplicationErrorWithOptions("the run goes on", "not_yet", temporal.ApplicationErrorOptions{
		NextRetryDelay: endInterval, Category: temporal.ApplicationErrorCategoryBenign,
	})
}
