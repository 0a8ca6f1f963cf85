package conductor

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/mocks"
	"go.temporal.io/sdk/temporal"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
	"agentmarket/workflows"
)

var nightly = product.Schedule{
	ID: "sch_1", OrgID: "org_1", AgentID: "agt_1", Agent: "acme/reviewer", Cron: "0 3 * * *", TimeZone: "Europe/Berlin",
	Overlap: product.OverlapCancel, Paused: true, PauseReason: "holidays", Revision: 3,
}

// aSchedule is a Temporal whose schedule sch_1 answers what the test says.
func aSchedule(t *testing.T) (*Conductor, *mocks.ScheduleClient, *mocks.ScheduleHandle) {
	t.Helper()
	c, schedules, handle := aClient(t), &mocks.ScheduleClient{}, &mocks.ScheduleHandle{}
	c.On("ScheduleClient").Return(schedules)
	schedules.On("GetHandle", mock.Anything, "sch_1").Return(handle)
	t.Cleanup(func() {
		schedules.AssertExpectations(t)
		handle.AssertExpectations(t)
	})
	return New(c, "default"), schedules, handle
}

func requireCopy(t *testing.T, spec client.ScheduleSpec, action client.ScheduleAction) {
	t.Helper()
	require.Equal(t, client.ScheduleSpec{CronExpressions: []string{"0 3 * * *"}, TimeZoneName: "Europe/Berlin"}, spec)
	start, ok := action.(*client.ScheduleWorkflowAction)
	require.True(t, ok)
	require.Equal(t, "sch_1", start.ID)
	require.Equal(t, workflows.QueueProduct, start.TaskQueue)
	require.Equal(t, []any{workflows.ScheduledStartInput{ScheduleID: "sch_1"}}, start.Args)
	require.Equal(t, 2, start.TypedSearchAttributes.Size())
	require.Zero(t, start.WorkflowExecutionTimeout, "runs take as long as they take")
}

func TestSyncScheduleReplacesTheCopy(t *testing.T) {
	c, _, handle := aSchedule(t)
	handle.On("Update", mock.Anything, mock.Anything).Return(func(_ context.Context, o client.ScheduleUpdateOptions) error {
		update, err := o.DoUpdate(client.ScheduleUpdateInput{})
		require.NoError(t, err)
		requireCopy(t, *update.Schedule.Spec, update.Schedule.Action)
		require.Equal(t, &client.SchedulePolicies{Overlap: enums.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER, CatchupWindow: 10 * time.Minute}, update.Schedule.Policy)
		require.Equal(t, &client.ScheduleState{Paused: true, Note: "holidays"}, update.Schedule.State)
		return nil
	}).Once()
	require.NoError(t, c.SyncSchedule(t.Context(), nightly))
}

func TestSyncScheduleCreatesTheCopy(t *testing.T) {
	for _, tt := range []struct {
		answer error
		want   fault.Kind
	}{
		{nil, ""},
		{temporal.ErrScheduleAlreadyRunning, fault.Unavailable}, // told again, then it is there
		{serviceerror.NewInvalidArgument("no such zone"), fault.Invalid},
		{serviceerror.NewUnavailable("down"), fault.Unavailable},
	} {
		c, schedules, handle := aSchedule(t)
		handle.On("Update", mock.Anything, mock.Anything).Return(serviceerror.NewNotFound("nothing there")).Once()
		schedules.On("Create", mock.Anything, mock.MatchedBy(func(o client.ScheduleOptions) bool {
			requireCopy(t, o.Spec, o.Action)
			return o.ID == "sch_1" && o.Paused && o.Note == "holidays" && o.CatchupWindow == 10*time.Minute &&
				o.Overlap == enums.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER && !o.PauseOnFailure && !o.TriggerImmediately
		})).Return(handle, tt.answer).Once()
		requireKind(t, tt.want, c.SyncSchedule(t.Context(), nightly))
	}
}

func requireKind(t *testing.T, want fault.Kind, err error) {
	t.Helper()
	if want == "" {
		require.NoError(t, err)
		return
	}
	require.Equal(t, want, fault.KindOf(err), "%v", err)
}

func TestScheduleCallsOfTemporal(t *testing.T) {
	gone := nightly
	gone.Deleted = true
	for _, tt := range []struct {
		answer         error
		delete, others fault.Kind
	}{
		{nil, "", ""},
		{serviceerror.NewNotFound("nothing there"), "", fault.NotFound},
		{serviceerror.NewUnavailable("down"), fault.Unavailable, fault.Unavailable},
	} {
		c, _, handle := aSchedule(t)
		handle.On("Delete", mock.Anything).Return(tt.answer).Once()
		requireKind(t, tt.delete, c.SyncSchedule(t.Context(), gone))
		handle.On("Trigger", mock.Anything, client.ScheduleTriggerOptions{}).Return(tt.answer).Once()
		requireKind(t, tt.others, c.TriggerSchedule(t.Context(), "sch_1"))
		handle.On("Backfill", mock.Anything, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{
			{Start: now, End: now.Add(time.Hour), Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL},
		}}).Return(tt.answer).Once()
		requireKind(t, tt.others, c.BackfillSchedule(t.Context(), "sch_1", now, now.Add(time.Hour), product.OverlapAllow))
		handle.On("Describe", mock.Anything).Return(&client.ScheduleDescription{
			Info: client.ScheduleInfo{NextActionTimes: []time.Time{now}},
		}, tt.answer).Once()
		next, err := c.DescribeSchedule(t.Context(), "sch_1")
		requireKind(t, tt.others, err)
		require.Equal(t, err == nil, len(next) == 1)
	}
}

func TestEveryOverlapIsKnownToTemporal(t *testing.T) {
	for _, o := range []product.Overlap{product.OverlapSkip, product.OverlapBufferOne, product.OverlapCancel, product.OverlapAllow} {
		require.NotEqual(t, enums.SCHEDULE_OVERLAP_POLICY_UNSPECIFIED, overlaps[o], o)
	}
}

// plans keeps schedules that are due; what a test does not fake panics.
type plans struct {
	product.ScheduleStore
	due  []product.Schedule
	told []ids.Schedule
	err  error
}

func (p *plans) DueSchedules(_ context.Context, at time.Time, lease time.Duration, limit int) ([]product.Schedule, error) {
	if !at.Equal(now) || lease != relayLease || limit != relayBatch {
		return nil, errors.New("claimed with other values")
	}
	return p.due, p.err
}

func (p *plans) ScheduleDispatched(_ context.Context, seen product.Schedule) error {
	p.told = append(p.told, seen.ID)
	return nil
}

func TestScheduleOutbox(t *testing.T) {
	outbox := func(c *Conductor, p *plans) error {
		_, err := ScheduleOutbox(c, p, slog.New(slog.DiscardHandler))(t.Context(), now)
		return err
	}
	t.Run("all that is due", func(t *testing.T) {
		c, _, handle := aSchedule(t)
		handle.On("Update", mock.Anything, mock.Anything).Return(nil).Once()
		store := &plans{due: []product.Schedule{nightly}}
		require.NoError(t, outbox(c, store))
		require.Equal(t, []ids.Schedule{"sch_1"}, store.told)
	})
	t.Run("Temporal is away: it stays due", func(t *testing.T) {
		c, _, handle := aSchedule(t)
		handle.On("Update", mock.Anything, mock.Anything).Return(serviceerror.NewUnavailable("down")).Twice()
		store := &plans{due: []product.Schedule{nightly, nightly}}
		require.Equal(t, fault.Unavailable, fault.KindOf(outbox(c, store)))
		require.Empty(t, store.told)
	})
	t.Run("one that Temporal refuses does not stop the others", func(t *testing.T) {
		c, _, handle := aSchedule(t)
		handle.On("Update", mock.Anything, mock.Anything).Return(serviceerror.NewInvalidArgument("no")).Once()
		handle.On("Update", mock.Anything, mock.Anything).Return(nil).Once()
		store := &plans{due: []product.Schedule{nightly, nightly}}
		require.NoError(t, outbox(c, store))
		require.Len(t, store.told, 1)
	})
	t.Run("the store is away", func(t *testing.T) {
		require.ErrorIs(t, outbox(New(aClient(t), "default"), &plans{err: away}), away)
	})
}
