package conductor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
	"agentmarket/workflows"
)

// catchupWindow is how late a start may be that Temporal could not make in time.
// Those that are later are left out.
const catchupWindow = 10 * time.Minute

var overlaps = map[product.Overlap]enums.ScheduleOverlapPolicy{
	product.OverlapSkip:      enums.SCHEDULE_OVERLAP_POLICY_SKIP,
	product.OverlapBufferOne: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE,
	product.OverlapCancel:    enums.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER,
	product.OverlapAllow:     enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
}

// SyncSchedule makes Temporal's copy of a schedule what the record says: it is
// created, replaced, or deleted. Saying the same again changes nothing.
func (c *Conductor) SyncSchedule(ctx context.Context, s product.Schedule) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	doing := "tell Temporal of schedule " + string(s.ID)
	if s.Deleted {
		return ignoreNotFound(unavailable(c.schedule(ctx, s.ID).Delete(ctx), doing))
	}
	err := unavailable(c.schedule(ctx, s.ID).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			return &client.ScheduleUpdate{Schedule: temporalSchedule(s)}, nil
		},
	}), doing)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	_, createErr := c.client.ScheduleClient().Create(ctx, scheduleOptions(s))
	if errors.Is(createErr, temporal.ErrScheduleAlreadyRunning) { // somebody else was faster; what he said may be old
		return fault.Wrap(fault.Unavailable, createErr, doing)
	}
	return unavailable(createErr, doing)
}

// TriggerSchedule makes a start at once, whether or not the schedule is paused. One
// that Temporal has not heard of is fault.NotFound.
func (c *Conductor) TriggerSchedule(ctx context.Context, id ids.Schedule) error {
	return unavailable(c.schedule(ctx, id).Trigger(ctx, client.ScheduleTriggerOptions{}), "trigger schedule "+string(id))
}

// BackfillSchedule makes the starts of a range that has passed, both ends included.
func (c *Conductor) BackfillSchedule(ctx context.Context, id ids.Schedule, from, to time.Time, overlap product.Overlap) error {
	return unavailable(c.schedule(ctx, id).Backfill(ctx, client.ScheduleBackfillOptions{
		Backfill: []client.ScheduleBackfill{{Start: from, End: to, Overlap: overlaps[overlap]}},
	}), "backfill schedule "+string(id))
}

// DescribeSchedule returns the times of the next starts.
func (c *Conductor) DescribeSchedule(ctx context.Context, id ids.Schedule) ([]time.Time, error) {
	found, err := c.schedule(ctx, id).Describe(ctx)
	if err != nil {
		return nil, unavailable(err, "describe schedule "+string(id))
	}
	return found.Info.NextActionTimes, nil
}

func (c *Conductor) schedule(ctx context.Context, id ids.Schedule) client.ScheduleHandle {
	return c.client.ScheduleClient().GetHandle(ctx, string(id))
}

// temporalSchedule is Temporal's copy of a schedule.
func temporalSchedule(s product.Schedule) *client.Schedule {
	return &client.Schedule{
		Spec:   &client.ScheduleSpec{CronExpressions: []string{s.Cron}, TimeZoneName: s.TimeZone},
		Policy: &client.SchedulePolicies{Overlap: overlaps[s.Overlap], CatchupWindow: catchupWindow},
		State:  &client.ScheduleState{Paused: s.Paused, Note: s.PauseReason},
		Action: &client.ScheduleWorkflowAction{
			ID: string(s.ID), Workflow: workflows.ScheduledStart, Args: []any{workflows.ScheduledStartInput{ScheduleID: s.ID}},
			TaskQueue:     workflows.QueueProduct,
			StaticSummary: "schedule of " + s.Agent,
			TypedSearchAttributes: temporal.NewSearchAttributes(
				workflows.OrgIDKey.ValueSet(string(s.OrgID)),
				workflows.AgentIDKey.ValueSet(string(s.AgentID)),
			),
		},
	}
}

func scheduleOptions(s product.Schedule) client.ScheduleOptions {
	of := temporalSchedule(s)
	return client.ScheduleOptions{
		ID: string(s.ID), Spec: *of.Spec, Action: of.Action, Paused: of.State.Paused, Note: of.State.Note,
		Overlap: of.Policy.Overlap, CatchupWindow: of.Policy.CatchupWindow,
	}
}

// ScheduleOutbox is the outbox of schedules.
func ScheduleOutbox(c *Conductor, schedules product.ScheduleStore, log *slog.Logger) Outbox {
	return func(ctx context.Context, now time.Time) (bool, error) {
		due, err := schedules.DueSchedules(ctx, now, relayLease, relayBatch)
		if err != nil {
			return false, err
		}
		return each(ctx, log, due, func(s product.Schedule) (kind, id string) { return "schedule", string(s.ID) },
			func(ctx context.Context, s product.Schedule) error {
				if err := c.SyncSchedule(ctx, s); err != nil {
					return err
				}
				return schedules.ScheduleDispatched(ctx, s)
			})
	}
}
