package product

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
)

func at(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }

func queued() *Run { return &Run{ID: "run_1", Status: StatusQueued, CreatedAt: now} }

// begun is a run with n attempts, the earlier ones failed by the platform.
func begun(t *testing.T, n int) *Run {
	t.Helper()
	r := queued()
	require.NotNil(t, r.Planned(Plan{Version: "1.2.3"}, at(1)))
	for i := 1; i <= n; i++ {
		event, err := r.BeginAttempt(i, at(10*i))
		require.NoError(t, err)
		require.NotNil(t, event)
		require.NotNil(t, r.AttemptStarted(i, at(10*i+1)))
		if i < n {
			require.NotNil(t, r.AttemptEnded(i, End{Reason: "node_lost"}, at(10*i+2)))
		}
	}
	return r
}

func TestRunToItsEnd(t *testing.T) {
	r := queued()
	require.Empty(t, cmp.Diff(&Event{Type: EventPlanned, At: at(1), Message: "plan resolved: version 1.2.3"},
		r.Planned(Plan{Version: "1.2.3"}, at(1))))
	event, err := r.BeginAttempt(1, at(2))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&Event{Type: EventAttemptCreated, At: at(2), Attempt: 1}, event))
	require.Equal(t, StatusStarting, r.Status)
	require.Empty(t, cmp.Diff(&Event{Type: EventAttemptStarted, At: at(3), Attempt: 1}, r.AttemptStarted(1, at(3))))
	require.Equal(t, StatusRunning, r.Status)
	code := 0
	require.Empty(t, cmp.Diff(&Event{Type: EventAttemptEnded, At: at(5), Attempt: 1, Message: "ok"},
		r.AttemptEnded(1, End{Reason: ReasonOK, ExitCode: &code, StartedAt: at(30), FinishedAt: at(4)}, at(5))))
	require.Equal(t, StatusRunning, r.Status, "only settling ends a run")
	require.Empty(t, cmp.Diff(&Event{Type: EventEnded, At: at(6), Message: "ok"}, r.Settle(ReasonOK, "fine", at(6))))

	want := &Run{
		ID: "run_1", CreatedAt: now, Plan: &Plan{Version: "1.2.3"},
		Status: StatusSucceeded, Reason: ReasonOK, Message: "fine", StartedAt: at(3), FinishedAt: at(6),
		Attempts: []Attempt{{Number: 1, Reason: ReasonOK, ExitCode: &code, CreatedAt: at(2), StartedAt: at(3), FinishedAt: at(4)}},
	}
	require.Empty(t, cmp.Diff(want, r))
}

// TestEveryMethodRepeats calls each method twice: the second time nothing is
// news and nothing changes.
func TestEveryMethodRepeats(t *testing.T) {
	for name, tt := range map[string]struct {
		run *Run
		do  func(r *Run, now time.Time) (*Event, error)
	}{
		"Planned":        {queued(), func(r *Run, now time.Time) (*Event, error) { return r.Planned(Plan{ResolvedAt: now}, now), nil }},
		"BeginAttempt":   {queued(), func(r *Run, now time.Time) (*Event, error) { return r.BeginAttempt(1, now) }},
		"AttemptStarted": {&Run{Status: StatusStarting, Attempts: []Attempt{{Number: 1}}}, func(r *Run, now time.Time) (*Event, error) { return r.AttemptStarted(1, now), nil }},
		"AttemptEnded": {begun(t, 1), func(r *Run, now time.Time) (*Event, error) {
			return r.AttemptEnded(1, End{Reason: "agent_error", Message: now.String(), FinishedAt: now}, now), nil
		}},
		"RequestCancel": {begun(t, 1), func(r *Run, now time.Time) (*Event, error) {
			return r.RequestCancel(Cancel{Reason: now.String(), Force: now.Equal(at(91))}, now)
		}},
		"Settle": {begun(t, 1), func(r *Run, now time.Time) (*Event, error) { return r.Settle("agent_error", now.String(), now), nil }},
	} {
		t.Run(name, func(t *testing.T) {
			event, err := tt.do(tt.run, at(90))
			require.NoError(t, err)
			require.NotNil(t, event)
			once := snapshot(*tt.run)
			event, err = tt.do(tt.run, at(91))
			require.NoError(t, err)
			require.Nil(t, event)
			require.Empty(t, cmp.Diff(once, *tt.run))
		})
	}
}

func snapshot(r Run) Run {
	r.Attempts = append([]Attempt(nil), r.Attempts...)
	if r.Cancel != nil {
		c := *r.Cancel
		r.Cancel = &c
	}
	if r.Plan != nil {
		p := *r.Plan
		r.Plan = &p
	}
	return r
}

func TestTerminalRunsNeverChange(t *testing.T) {
	for reason := range rules {
		r := begun(t, 1) // its attempt is open
		require.NotNil(t, r.Settle(reason, "over", at(50)))
		require.True(t, r.Status.Terminal(), reason)
		r.Plan = nil
		before := snapshot(*r)

		require.Nil(t, r.Planned(Plan{}, at(60)))
		_, err := r.BeginAttempt(2, at(60))
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.Equal(t, "run_state", fault.From(err).Code)
		r.Attempts[0].StartedAt = time.Time{}
		before.Attempts[0].StartedAt = time.Time{}
		require.Nil(t, r.AttemptStarted(1, at(60)))
		require.Nil(t, r.AttemptEnded(1, End{Reason: ReasonOK, StartedAt: at(60)}, at(60)))
		_, err = r.RequestCancel(Cancel{}, at(60))
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.Equal(t, "run_ended", fault.From(err).Code)
		for other := range rules {
			require.Nil(t, r.Settle(other, "again", at(60)))
		}
		require.Empty(t, cmp.Diff(before, *r), reason)
	}
}

func TestRetryReturnsToStarting(t *testing.T) {
	r := begun(t, 1)
	require.NotNil(t, r.AttemptEnded(1, End{Reason: "node_lost"}, at(15)))
	_, err := r.BeginAttempt(2, at(20))
	require.NoError(t, err)
	require.Equal(t, StatusStarting, r.Status)
	require.Equal(t, at(11), r.StartedAt, "the run has started with its first attempt")
	require.NotNil(t, r.AttemptStarted(2, at(21)))
	require.Equal(t, StatusRunning, r.Status)
	require.Equal(t, at(11), r.StartedAt)
	want := []Attempt{
		{Number: 1, Reason: "node_lost", CreatedAt: at(10), StartedAt: at(11), FinishedAt: at(15)},
		{Number: 2, CreatedAt: at(20), StartedAt: at(21)},
	}
	require.Empty(t, cmp.Diff(want, r.Attempts))
}

func TestLateNewsOfAnAttempt(t *testing.T) {
	r := begun(t, 2)
	r.Attempts[0].StartedAt = time.Time{}
	require.Nil(t, r.AttemptStarted(1, at(40)), "an attempt that was given up does not start")
	require.Nil(t, r.AttemptStarted(7, at(40)), "an attempt that was never opened does not start")
	require.Nil(t, r.AttemptEnded(7, End{Reason: ReasonOK}, at(40)), "nor does it end")
	require.Nil(t, r.AttemptEnded(0, End{Reason: ReasonOK}, at(40)))

	r = queued()
	_, err := r.BeginAttempt(1, at(1))
	require.NoError(t, err)
	require.NotNil(t, r.AttemptEnded(1, End{Reason: "pod_gone"}, at(2)))
	require.Nil(t, r.AttemptStarted(1, at(3)), "what has ended does not start")
	require.Equal(t, StatusStarting, r.Status)
}

func TestAttemptEndedFillsInTheStart(t *testing.T) {
	r := queued()
	_, err := r.BeginAttempt(1, at(1))
	require.NoError(t, err)
	require.NotNil(t, r.AttemptEnded(1, End{Reason: ReasonOK, StartedAt: at(2)}, at(4)))
	require.Equal(t, at(2), r.StartedAt, "a start that nobody saw")
	require.Equal(t, at(2), r.Attempts[0].StartedAt)
	require.Equal(t, at(4), r.Attempts[0].FinishedAt, "an end that nobody saw is now")
}

func TestCancelKeepsTheFirstRequest(t *testing.T) {
	r := begun(t, 1)
	grace := 3 * time.Second
	event, err := r.RequestCancel(Cancel{RequestedBy: "key_1", Reason: "enough", Grace: &grace, SignaledAt: at(99)}, at(20))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&Event{Type: EventCancelRequested, At: at(20), Message: "enough"}, event))
	require.Equal(t, StatusCanceling, r.Status)
	want := &Cancel{RequestedBy: "key_1", Reason: "enough", Grace: &grace, SignaledAt: at(20)}
	_, err = r.RequestCancel(Cancel{RequestedBy: "key_2", Reason: "now", Force: true}, at(21))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, r.Cancel))

	_, err = r.BeginAttempt(2, at(22))
	require.Equal(t, fault.Conflict, fault.KindOf(err), "a run that is canceled begins nothing")
}

func TestCancelMeetsTheEnd(t *testing.T) {
	for reason, want := range map[Reason]Status{
		ReasonCanceled: StatusCanceled, ReasonOK: StatusSucceeded, "agent_error": StatusFailed, ReasonDeadline: StatusTimedOut,
		ReasonBudgetExhausted: StatusBudgetExhausted,
		ReasonNotEntitled:     StatusRejected, ReasonQueueTimeout: StatusExpired,
	} {
		r := begun(t, 1)
		_, err := r.RequestCancel(Cancel{}, at(20))
		require.NoError(t, err)
		require.NotNil(t, r.Settle(reason, "", at(30)))
		require.Equal(t, want, r.Status, "what happened is what is told")
		require.Equal(t, reason, r.Reason)
		require.Equal(t, RuleOf(reason).Cause, r.Cause)
	}
}

func TestCancelDoesNotHideTheStart(t *testing.T) {
	r := queued()
	_, err := r.BeginAttempt(1, at(1))
	require.NoError(t, err)
	_, err = r.RequestCancel(Cancel{}, at(2))
	require.NoError(t, err)
	require.NotNil(t, r.AttemptStarted(1, at(3)))
	require.Equal(t, StatusCanceling, r.Status)
	require.Equal(t, at(3), r.StartedAt)
}

func TestSettleWhatTheTableForbids(t *testing.T) {
	r := begun(t, 1)
	require.NotNil(t, r.Settle(ReasonQueueTimeout, "late", at(30)))
	require.Equal(t, StatusFailed, r.Status, "a run that ran has not expired")

	r = queued()
	require.NotNil(t, r.Settle(ReasonOK, "", at(30)))
	require.NotEqual(t, StatusSucceeded, r.Status, "a run that never ran has not succeeded")
}
