package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/money"
	"agentmarket/product"
)

// fillIn sets every field that a run can have before it ends.
func fillIn(r *product.Run) ([]*product.Event, error) {
	planned := r.Planned(product.Plan{
		AgentID: r.AgentID, VersionID: r.VersionID, Version: r.Version, Image: r.Image,
		Command: []string{"/agent", "--fast"}, Env: map[string]string{"MODE": "test"}, EntitlementID: "ent_1",
		PriceID: "prc_1", Budget: money.Of(1_500_000, "USD"), BudgetBound: true,
		Resources:   product.Resources{CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64},
		Deadlines:   product.Deadlines{Queue: time.Hour, Start: 1, Run: time.Minute, Grace: 1500 * time.Millisecond},
		MaxAttempts: 3, MaxOutputBytes: 1 << 20, MaxLogBytes: 4 << 20, Warm: 2, ResolvedAt: after(time.Second),
	}, after(time.Second))
	first, err := r.BeginAttempt(1, after(2*time.Second))
	if err != nil {
		return nil, err
	}
	started := r.AttemptStarted(1, after(3*time.Second))
	code, grace := 137, 1500*time.Millisecond
	ended := r.AttemptEnded(1, product.End{Reason: product.ReasonPlatformError, Message: "node lost", ExitCode: &code,
		FinishedAt: after(4 * time.Second)}, after(5*time.Second))
	second, err := r.BeginAttempt(2, after(6*time.Second))
	if err != nil {
		return nil, err
	}
	canceled, err := r.RequestCancel(product.Cancel{RequestedBy: "key_1", Reason: "enough", Grace: &grace, Force: true}, after(7*time.Second))
	if err != nil {
		return nil, err
	}
	r.Cancel.TerminatedAt, r.Cancel.GoneAt, r.Cancel.ExitCode = after(8*time.Second), after(9*time.Second), &code
	r.Cost = money.Of(1, "USD")
	r.Output = &product.Blob{Key: "runs/1/output", Size: 12, SHA256: "ab"}
	r.Log = &product.Blob{Key: "runs/1/log", Size: 1 << 40, SHA256: "cd", Truncated: true}
	return []*product.Event{planned, first, started, ended, second, canceled}, nil
}

var updateRunTests = []testCase{
	{"everything is stored, with events without gaps", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		got := w.update(t, run.ID, fillIn) // compares with what Run loads

		want := run
		events, err := fillIn(&want)
		require.NoError(t, err)
		truncate(&want)
		requireSame(t, want, got)

		log, err := s.Runs.Events(t.Context(), run.ID, 1, 0)
		require.NoError(t, err)
		require.Len(t, log, len(events))
		for i, e := range events {
			e.RunID, e.Seq, e.At = run.ID, int64(i)+2, stored(e.At)
			requireSame(t, *e, log[i])
		}
	}},
	{"a run whose budget is used up is over", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			begin, err := r.BeginAttempt(1, after(time.Second))
			return []*product.Event{begin, r.AttemptStarted(1, after(time.Second))}, err
		})
		run = w.settle(t, run.ID, product.ReasonBudgetExhausted, after(time.Minute))
		require.Equal(t, product.StatusBudgetExhausted, run.Status)
		due, err := s.Runs.ClaimDispatch(t.Context(), after(time.Hour), lease, 10)
		require.NoError(t, err)
		require.Empty(t, due)
	}},
	{"a repeat changes nothing", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		first := w.update(t, run.ID, fillIn)
		repeat := w.update(t, run.ID, func(*product.Run) ([]*product.Event, error) { return []*product.Event{nil}, nil })
		requireSame(t, first, repeat)
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, log, 7)
	}},
	{"an error of the change comes back as it is and nothing is stored", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		refusal := errors.New("no")
		_, err := s.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
			r.Status, r.Message = product.StatusFailed, "changed"
			r.Labels["team"] = "changed"
			return []*product.Event{{Type: product.EventEnded, At: start}}, refusal
		})
		require.Same(t, refusal, err, "the same error, not a wrapped one")
		got, err := s.Runs.Run(t.Context(), run.ID)
		require.NoError(t, err)
		requireSame(t, run, got)
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, log, 1)
	}},
	{"a change that panics stores nothing and locks nothing", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		require.Panics(t, func() {
			_, _ = s.Runs.UpdateRun(t.Context(), run.ID, func(*product.Run) ([]*product.Event, error) { panic("bug") })
		})
		w.cancel(t, run.ID, after(time.Second))
	}},
	{"many writers of one run lose nothing", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		const writers = 30
		var failed atomic.Int32
		together(writers, func(int) {
			_, err := s.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
				n := len(r.Attempts) + 1
				e, err := r.BeginAttempt(n, after(time.Duration(n)*time.Second))
				return []*product.Event{e}, err
			})
			if err != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		got, err := s.Runs.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Len(t, got.Attempts, writers)
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, log, writers+1)
		for i, e := range log {
			require.EqualValues(t, i+1, e.Seq)
		}
	}},
	{"a run that ended keeps its end, but takes its receipts", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		run = w.settle(t, run.ID, product.ReasonNotEntitled, after(time.Second))
		require.Equal(t, product.StatusRejected, run.Status)
		_, err := s.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
			r.Status = product.StatusQueued
			return nil, nil
		})
		requireFault(t, err, fault.Conflict, "run_ended")
		got := w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			r.Log = &product.Blob{Key: "log", Size: 1, SHA256: "ab"}
			return nil, nil
		})
		run.Log = &product.Blob{Key: "log", Size: 1, SHA256: "ab"}
		requireSame(t, run, got)
	}},
	{"identity does not change", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		got := w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			r.ID, r.OrgID, r.CreatedAt = "run_other", "org_other", after(time.Hour)
			return nil, nil
		})
		requireSame(t, run, got)
	}},
	{"an agent's last words cannot keep its run from ending", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		got := w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			begin, err := r.BeginAttempt(1, after(time.Second))
			if err != nil {
				return nil, err
			}
			const words = "panic: \x00\xff\xfe ü"
			end := r.AttemptEnded(1, product.End{Reason: "agent_error", Message: words}, after(2*time.Second))
			return []*product.Event{begin, end, r.Settle("agent_error", words, after(2*time.Second))}, nil
		})
		require.Equal(t, product.StatusFailed, got.Status)
		require.Equal(t, "panic: \uFFFD\uFFFD ü", got.Message)
		require.Equal(t, got.Message, got.Attempts[0].Message)
	}},
}

// truncate makes the times of a run what a database keeps.
func truncate(r *product.Run) {
	times := []*time.Time{&r.CreatedAt, &r.QueueDeadline, &r.StartedAt, &r.FinishedAt}
	if r.Plan != nil {
		times = append(times, &r.Plan.ResolvedAt)
	}
	if r.Cancel != nil {
		times = append(times, &r.Cancel.SignaledAt, &r.Cancel.TerminatedAt, &r.Cancel.GoneAt)
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		times = append(times, &a.CreatedAt, &a.StartedAt, &a.FinishedAt)
	}
	for _, t := range times {
		if !t.IsZero() {
			*t = stored(*t)
		}
	}
}
