package conductor

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/mocks"

	"agentmarket/fault"
	"agentmarket/product"
)

func aRelay(interval time.Duration, outboxes map[string]Outbox) *Relay {
	return &Relay{Outboxes: outboxes, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Interval: interval}
}

// TestRelayAsksAgainAtOnce: a full outbox does not wait for the next look, and one
// that fails does.
func TestRelayAsksAgainAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	failed := make(chan struct{})
	full := 0
	relay := aRelay(time.Hour, map[string]Outbox{
		"full": func(context.Context, time.Time) (bool, error) {
			if full++; full == 5 {
				<-failed
				cancel()
			}
			return true, nil
		},
		"failing": func(context.Context, time.Time) (bool, error) {
			close(failed) // a second time would panic
			return false, away
		},
	})
	require.NoError(t, relay.Run(ctx))
	require.Equal(t, 5, full)
}

// TestRelayOutboxesDoNotWaitForEachOther: one that hangs holds up no other one.
func TestRelayOutboxesDoNotWaitForEachOther(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	hangs := make(chan struct{})
	asked := 0
	relay := aRelay(time.Millisecond, map[string]Outbox{
		"a": func(ctx context.Context, _ time.Time) (bool, error) {
			close(hangs)
			<-ctx.Done()
			return false, ctx.Err()
		},
		"b": func(context.Context, time.Time) (bool, error) {
			<-hangs
			if asked++; asked == 3 {
				cancel()
			}
			return false, nil
		},
	})
	require.NoError(t, relay.Run(ctx))
	require.Equal(t, 3, asked)
}

func sayEach(ctx context.Context, due []string, say func(context.Context, string) error) (bool, error) {
	return each(ctx, slog.New(slog.DiscardHandler), due, func(id string) (kind, name string) { return "run", id }, say)
}

// TestEachSaysSoManyAtOnce: as many as may be, and no more.
func TestEachSaysSoManyAtOnce(t *testing.T) {
	var going, most atomic.Int32
	full := make(chan struct{})
	more, err := sayEach(t.Context(), make([]string, relayBatch), func(ctx context.Context, _ string) error {
		n := going.Add(1)
		defer going.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		if n == relayParallel {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		select {
		case <-full:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	require.NoError(t, err)
	require.True(t, more)
	require.EqualValues(t, relayParallel, most.Load())
}

func TestEachGoesOnAfterFailures(t *testing.T) {
	gone := fault.New(fault.NotFound, "", "gone")
	var mu sync.Mutex
	var said []string
	answers := map[string]error{"b": away, "c": fault.New(fault.Invalid, "", "refused"), "e": gone}
	more, err := sayEach(t.Context(), []string{"a", "b", "c", "d", "e", "f"}, func(_ context.Context, id string) error {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, id)
		return answers[id]
	})
	require.False(t, more)
	slices.Sort(said)
	require.Equal(t, []string{"a", "b", "c", "d", "e", "f"}, said)
	require.ErrorIs(t, err, away)
	require.ErrorIs(t, err, gone)
	require.NotContains(t, err.Error(), "refused", "it was logged already")
}

// TestEachLooksAgain: a batch of which none could be said is not followed by another
// one at once.
func TestEachLooksAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		fails int
		more  bool
	}{"none fails": {0, true}, "all but one fail": {relayBatch - 1, true}, "all fail": {relayBatch, false}} {
		var asked atomic.Int32
		more, err := sayEach(t.Context(), make([]string, relayBatch), func(context.Context, string) error {
			if int(asked.Add(1)) <= tt.fails {
				return away
			}
			return nil
		})
		require.Equal(t, tt.more, more, name)
		require.Equal(t, tt.fails > 0, err != nil, name)
	}
}

// TestEachStops: what was not begun when the context ended stays due.
func TestEachStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int32
	more, err := sayEach(ctx, make([]string, relayBatch), func(context.Context, string) error {
		asked.Add(1)
		cancel()
		return context.Canceled
	})
	require.False(t, more)
	require.ErrorIs(t, err, context.Canceled)
	require.LessOrEqual(t, asked.Load(), int32(relayParallel))
}

// TestCallsOfTemporalEnd: no call may hang for longer than callTimeout.
func TestCallsOfTemporalEnd(t *testing.T) {
	brief := mock.MatchedBy(func(ctx context.Context) bool {
		deadline, bounded := ctx.Deadline()
		return bounded && time.Until(deadline) <= callTimeout
	})
	schedules, handle := &mocks.ScheduleClient{}, &mocks.ScheduleHandle{}
	schedules.On("GetHandle", mock.Anything, "sch_1").Return(handle)
	handle.On("Update", brief, mock.Anything).Return(nil).Once()
	c := aClient(t)
	c.On("ScheduleClient").Return(schedules)
	c.On("ExecuteWorkflow", brief, mock.Anything, mock.Anything, mock.Anything).Return(nil, nil).Times(3)
	c.On("SignalWorkflow", brief, mock.Anything, "", mock.Anything, mock.Anything).Return(nil).Times(3)
	conductor := New(c, "default")
	run := product.Run{ID: "run_1", Cancel: &product.Cancel{}}
	require.NoError(t, conductor.StartRun(t.Context(), run))
	require.NoError(t, conductor.CancelRun(t.Context(), run))
	require.NoError(t, conductor.SlotFreed(t.Context(), run.ID))
	require.NoError(t, conductor.StartDelivery(t.Context(), product.Delivery{ID: "msg_1"}))
	require.NoError(t, conductor.StartRollout(t.Context(), product.Rollout{ID: "rol_1"}))
	require.NoError(t, conductor.RolloutChanged(t.Context(), product.Rollout{ID: "rol_1"}))
	require.NoError(t, conductor.SyncSchedule(t.Context(), product.Schedule{ID: "sch_1"}))
	handle.AssertExpectations(t)
}
