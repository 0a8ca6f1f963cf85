package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// planned is a run whose data is kept for so long, and that needs an approval where
// why is not empty.
func (w world) planned(t *testing.T, keep product.Retention, why string) product.Run {
	t.Helper()
	run := w.create(t, w.queued(start))
	return w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
		plan := r.Planned(product.Plan{Version: r.Version, Retention: keep, Approval: why, ResolvedAt: start}, start)
		return []*product.Event{plan, r.AwaitApproval(start)}, nil
	})
}

// left is a run that has ended, with an output and a log.
func (w world) left(t *testing.T, keep product.Retention, at time.Time) product.Run {
	t.Helper()
	run := w.planned(t, keep, "")
	return w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
		begin, err := r.BeginAttempt(1, start)
		started := r.AttemptStarted(1, start)
		end := r.AttemptEnded(1, product.End{Reason: product.ReasonOK}, at)
		r.Output, r.Log = &product.Blob{Key: "output", Size: 1}, &product.Blob{Key: "log", Size: 1}
		return []*product.Event{begin, started, end, r.Settle(product.ReasonOK, "", at)}, err
	})
}

// said is a run that the agent ended with a message of its own.
func (w world) said(t *testing.T, keep product.Retention, message string) product.Run {
	t.Helper()
	run := w.planned(t, keep, "")
	return w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
		begin, err := r.BeginAttempt(1, start)
		end := r.AttemptEnded(1, product.End{Reason: "agent_error", Message: message}, start)
		return []*product.Event{begin, end, r.Settle("agent_error", message, start)}, err
	})
}

func (w world) dueForRemoval(t *testing.T, now time.Time) []product.Run {
	t.Helper()
	runs, err := w.Bodies.RetentionDue(t.Context(), now, 10)
	require.NoError(t, err)
	return runs
}

// lastEvent is the newest event of a run.
func (w world) lastEvent(t *testing.T, run ids.Run) product.Event {
	t.Helper()
	log, err := w.Runs.Events(t.Context(), run, 0, 0)
	require.NoError(t, err)
	return log[len(log)-1]
}

func requireInputs(t *testing.T, w world, run ids.Run, used, original string) {
	t.Helper()
	body, err := w.Runs.Input(t.Context(), run)
	require.NoError(t, err)
	require.Equal(t, used, string(body))
	body, err = w.Bodies.OriginalInput(t.Context(), run)
	require.NoError(t, err)
	require.Equal(t, original, string(body))
}

const sent, edited = `{"a": 1}`, `{"a": 2, "b": 3}`

var decisionTests = []testCase{
	{"an approval lets the run wait for its turn, and makes it due", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{}, "costs much")
		require.Equal(t, product.StatusWaitingApproval, run.Status)
		require.NoError(t, s.Runs.Dispatched(t.Context(), run))
		got, err := s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_1", "fine", nil, after(time.Hour))
		require.NoError(t, err)
		require.Equal(t, product.StatusQueued, got.Status)
		requireSame(t, &product.Approval{
			Why: "costs much", RequestedAt: stored(start), Deadline: stored(after(product.ApprovalTimeout)),
			Decision: product.DecisionApproved, DecidedBy: "usr_1", Note: "fine", DecidedAt: stored(after(time.Hour)),
		}, got.Approval)
		require.Equal(t, stored(after(2*time.Hour)), got.QueueDeadline, "the time in the queue begins now")
		requireInputs(t, w, run.ID, sent, sent)
		require.Equal(t, product.EventApproved, w.lastEvent(t, run.ID).Type)

		require.Empty(t, w.claim(t, after(time.Hour)), "the process that stored it goes first")
		require.Equal(t, []ids.Run{run.ID}, runIDs(w.claim(t, after(time.Hour+soon))))
		require.NoError(t, s.Runs.Dispatched(t.Context(), run), "who says so has not seen the decision")
		require.Len(t, w.claim(t, after(2*time.Hour)), 1)
		require.NoError(t, s.Runs.Dispatched(t.Context(), got))
		require.Empty(t, w.claim(t, after(3*time.Hour)))
	}},
	{"an edited input is what runs, what was sent stays", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{}, "why")
		got, err := s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_1", "", []byte(edited), after(time.Hour))
		require.NoError(t, err)
		require.True(t, got.Approval.InputEdited)
		require.EqualValues(t, len(edited), got.InputSize)
		loaded, err := s.Runs.Run(t.Context(), run.ID)
		require.NoError(t, err)
		requireSame(t, loaded, got)
		requireInputs(t, w, run.ID, edited, sent)

		again, err := s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_2", "late", []byte(edited), after(2*time.Hour))
		require.NoError(t, err)
		requireSame(t, got, again)
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, log, 4, "created, planned, requested, decided")

		for _, other := range []string{`{"a":4}`, sent} {
			_, err = s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_2", "", []byte(other), after(time.Hour))
			requireFault(t, err, fault.Conflict, "not_waiting")
		}
		_, err = s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionDenied, "usr_2", "", []byte(edited), after(time.Hour))
		requireFault(t, err, fault.Conflict, "not_waiting")
		requireInputs(t, w, run.ID, edited, sent)
	}},
	{"an input after an approval without one is another decision", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{}, "why")
		_, err := s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_1", "", nil, after(time.Hour))
		require.NoError(t, err)
		_, err = s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_1", "", []byte(sent), after(time.Hour))
		requireFault(t, err, fault.Conflict, "not_waiting")
	}},
	{"of many that approve with the same input one does", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{}, "why")
		errs := make([]error, 8)
		together(len(errs), func(i int) {
			_, errs[i] = s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_1", "", []byte(edited), after(time.Hour))
		})
		require.Equal(t, tally{passed: len(errs)}, count("not_waiting", errs))
		requireInputs(t, w, run.ID, edited, sent)
	}},
	{"a denial keeps the input as it is, and makes the run due", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{}, "why")
		require.NoError(t, s.Runs.Dispatched(t.Context(), run))
		got, err := s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionDenied, "usr_1", "no", []byte(edited), after(time.Hour))
		require.NoError(t, err)
		require.Equal(t, product.DecisionDenied, got.Approval.Decision)
		require.False(t, got.Approval.InputEdited)
		requireInputs(t, w, run.ID, sent, sent)
		require.Equal(t, product.EventDenied, w.lastEvent(t, run.ID).Type)
		require.Len(t, w.claim(t, after(time.Hour+soon)), 1)
	}},
	{"a run that does not wait cannot be decided about", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{}, "")
		_, err := s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_1", "", []byte(edited), start)
		requireFault(t, err, fault.Conflict, "not_waiting")
		requireInputs(t, w, run.ID, sent, sent)
		_, err = s.Bodies.DecideRun(t.Context(), "run_none", product.DecisionApproved, "usr_1", "", nil, start)
		requireFault(t, err, fault.NotFound, "run_not_found")
	}},
	{"of many that decide one does", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{}, "why")
		errs := make([]error, 12)
		together(len(errs), func(i int) {
			decision := []product.Decision{product.DecisionApproved, product.DecisionDenied}[i%2]
			_, errs[i] = s.Bodies.DecideRun(t.Context(), run.ID, decision, "usr_1", "", nil, after(time.Hour))
		})
		require.Equal(t, tally{passed: 6, denied: 6}, count("not_waiting", errs), "who decides the same again is right")
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, log, 4, "created, planned, requested, decided")
	}},
}

var retentionTests = []testCase{
	{"what is due comes with its attempts, the longest due first", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		second := w.left(t, product.Retention{Log: 2 * time.Hour}, after(time.Minute))
		first := w.left(t, product.Retention{Input: time.Hour}, after(time.Minute))
		w.left(t, product.Retention{}, after(time.Minute))
		w.planned(t, product.Retention{Input: time.Second}, "") // goes on
		require.Equal(t, stored(after(time.Minute+time.Hour)), first.RetentionDueAt)

		require.Empty(t, w.dueForRemoval(t, after(time.Hour)))
		due := w.dueForRemoval(t, after(time.Minute+time.Hour))
		require.Len(t, due, 1)
		requireSame(t, first, due[0])
		require.Equal(t, []ids.Run{first.ID, second.ID}, runIDs(w.dueForRemoval(t, after(24*time.Hour))))
		one, err := s.Bodies.RetentionDue(t.Context(), after(24*time.Hour), 1)
		require.NoError(t, err)
		require.Equal(t, []ids.Run{first.ID}, runIDs(one))
		none, err := s.Bodies.RetentionDue(t.Context(), after(24*time.Hour), 0)
		require.NoError(t, err)
		require.Empty(t, none)
	}},
	{"what was postponed is not due before, and what it has stays known", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		first := w.left(t, product.Retention{Input: time.Hour, Log: 24 * time.Hour}, start)
		second := w.left(t, product.Retention{Input: 2 * time.Hour}, start)
		require.NoError(t, s.Bodies.PostponeRemoval(t.Context(), first.ID, after(3*time.Hour)))
		require.Equal(t, []ids.Run{second.ID}, runIDs(w.dueForRemoval(t, after(3*time.Hour-time.Second))))
		due := w.dueForRemoval(t, after(3*time.Hour))
		require.Equal(t, []ids.Run{second.ID, first.ID}, runIDs(due))
		requireSame(t, first, due[1])

		require.NoError(t, s.Bodies.DataRemoved(t.Context(), first.ID, after(3*time.Hour)))
		require.Equal(t, "removed: input", w.lastEvent(t, first.ID).Message)
		require.Equal(t, []ids.Run{second.ID}, runIDs(w.dueForRemoval(t, after(4*time.Hour))), "its log is not due yet")
		require.Equal(t, []ids.Run{second.ID, first.ID}, runIDs(w.dueForRemoval(t, after(24*time.Hour))))
		require.NoError(t, s.Bodies.DataRemoved(t.Context(), first.ID, after(24*time.Hour)))
		require.NoError(t, s.Bodies.PostponeRemoval(t.Context(), first.ID, after(25*time.Hour)))
		require.Equal(t, []ids.Run{second.ID}, runIDs(w.dueForRemoval(t, after(26*time.Hour))), "nothing is left of it")
		require.NoError(t, s.Bodies.PostponeRemoval(t.Context(), "run_none", start))
	}},
	{"bodies go one after the other, the record stays", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.left(t, product.Retention{Input: time.Hour, Output: 2 * time.Hour, Log: 2 * time.Hour}, start)
		remove := func(at time.Time) product.Run {
			require.NoError(t, s.Bodies.DataRemoved(t.Context(), run.ID, at))
			got, err := s.Runs.Run(t.Context(), run.ID)
			require.NoError(t, err)
			return got
		}
		requireSame(t, run, remove(after(time.Minute)))
		requireInputs(t, w, run.ID, sent, sent)

		want := run
		want.RetentionDueAt = stored(after(2 * time.Hour))
		requireSame(t, want, remove(after(time.Hour)))
		_, err := s.Runs.Input(t.Context(), run.ID)
		requireFault(t, err, fault.NotFound, "data_removed")
		_, err = s.Bodies.OriginalInput(t.Context(), run.ID)
		requireFault(t, err, fault.NotFound, "data_removed")
		require.Equal(t, "removed: input", w.lastEvent(t, run.ID).Message)
		require.Empty(t, w.dueForRemoval(t, after(time.Hour)))

		want.Output, want.Log, want.RetentionDueAt, want.DataRemovedAt = nil, nil, time.Time{}, stored(after(3*time.Hour))
		requireSame(t, want, remove(after(3*time.Hour)))
		require.Empty(t, w.dueForRemoval(t, after(24*time.Hour)))
		last := w.lastEvent(t, run.ID)
		require.Equal(t, product.EventDataRemoved, last.Type)
		requireSame(t, want, remove(after(4*time.Hour)))
		require.Equal(t, last, w.lastEvent(t, run.ID), "a repeat is no news")
	}},
	{"an edited input goes with the one that was sent", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.planned(t, product.Retention{Input: time.Hour}, "why")
		_, err := s.Bodies.DecideRun(t.Context(), run.ID, product.DecisionApproved, "usr_1", "", []byte(edited), start)
		require.NoError(t, err)
		w.settle(t, run.ID, product.ReasonQueueTimeout, start)
		require.NoError(t, s.Bodies.DataRemoved(t.Context(), run.ID, after(time.Hour)))
		_, err = s.Runs.Input(t.Context(), run.ID)
		requireFault(t, err, fault.NotFound, "data_removed")
	}},
	{"what the agent said goes with the output, and from messages about it", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		w.endpoint(t)
		run := w.said(t, product.Retention{Input: time.Hour, Output: 2 * time.Hour}, "a word of the agent")
		other := w.said(t, product.Retention{}, "a word of the agent")
		told := map[ids.Run]product.Delivery{}
		for _, d := range w.dueDeliveries(t, after(time.Hour)) {
			told[d.RunID] = d
		}
		again := product.NewDelivery(product.Endpoint{ID: told[run.ID].EndpointID, OrgID: w.org.ID}, run.ID,
			product.WebhookRunEnded, told[run.ID].Payload, start)
		require.NoError(t, s.Control.CreateDelivery(t.Context(), again))
		require.NoError(t, s.Control.RecordTry(t.Context(), again.ID, product.DeliveryTry{Number: 1, At: start}, product.DeliveryDelivered))
		payload := func(id ids.Delivery) string { return string(w.delivery(t, id).Payload) }

		require.NoError(t, s.Bodies.DataRemoved(t.Context(), run.ID, after(time.Hour)))
		got, err := s.Runs.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, "a word of the agent", got.Message, "the output is still there")
		require.Equal(t, string(told[run.ID].Payload), payload(told[run.ID].ID))

		require.NoError(t, s.Bodies.DataRemoved(t.Context(), run.ID, after(2*time.Hour)))
		got, err = s.Runs.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Empty(t, got.Message)
		require.Empty(t, got.Attempts[0].Message)
		silent := strings.Replace(string(told[run.ID].Payload), "a word of the agent", "", 1)
		require.Equal(t, silent, payload(told[run.ID].ID), "on its way")
		require.Equal(t, silent, payload(again.ID), "delivered")
		require.Equal(t, product.DeliveryPending, w.delivery(t, told[run.ID].ID).Status)
		require.Equal(t, string(told[other.ID].Payload), payload(told[other.ID].ID))
	}},
	{"what is not there is not found", func(t *testing.T, s Stores) {
		_, err := s.Runs.Input(t.Context(), "run_none")
		requireFault(t, err, fault.NotFound, "run_not_found")
		requireFault(t, s.Bodies.DataRemoved(t.Context(), "run_none", start), fault.NotFound, "run_not_found")
	}},
	{"of many that remove one does", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.left(t, product.Retention{Input: time.Hour, Log: time.Hour}, start)
		errs := make([]error, 8)
		together(len(errs), func(i int) { errs[i] = s.Bodies.DataRemoved(t.Context(), run.ID, after(time.Hour)) })
		require.Equal(t, tally{passed: len(errs)}, count("", errs))
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, log, 7, "created, planned, three of the attempt, ended, removed")
	}},
}

var childrenTests = []testCase{
	{"they are listed oldest first, by pages", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		parent, other := w.create(t, w.queued(start)), w.create(t, w.queued(start))
		w.begun(t, parent.ID)
		var want []ids.Run
		for i := range 3 {
			child := w.queued(after(time.Duration(i) * time.Second))
			child.Origin = product.Origin{Kind: product.OriginChild, ParentID: parent.ID, RootID: parent.ID, Depth: 1}
			want = append(want, w.create(t, child).ID)
		}
		list := func(parent, after ids.Run, limit int) []ids.Run {
			runs, err := s.Bodies.Children(t.Context(), parent, after, limit)
			require.NoError(t, err)
			return runIDs(runs)
		}
		require.Equal(t, want, list(parent.ID, "", 0))
		require.Equal(t, want[:2], list(parent.ID, "", 2))
		require.Equal(t, want[2:], list(parent.ID, want[1], 2))
		require.Empty(t, list(other.ID, "", 0))
		require.Empty(t, list("", "", 0), "a run without a parent is nobody's child")
	}},
}

// begun opens the first attempt of a run.
func (w world) begun(t *testing.T, id ids.Run) {
	t.Helper()
	_, err := w.Runs.UpdateRun(t.Context(), id, func(r *product.Run) ([]*product.Event, error) {
		event, err := r.BeginAttempt(1, start)
		return []*product.Event{event}, err
	})
	require.NoError(t, err)
}

// fillBodies is Fill for what is kept of runs besides their record. It leaves the
// lists of other tests as they are: its runs are of an agent of their own.
func (w world) fillBodies(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	w.agent.Name = "kept"
	run := w.planned(t, product.Retention{}, "why")
	_, err := w.Bodies.DecideRun(ctx, run.ID, product.DecisionApproved, "usr_1", "", []byte(edited), start)
	require.NoError(t, err)
	_, err = w.Bodies.OriginalInput(ctx, run.ID)
	require.NoError(t, err)
	w.begun(t, run.ID)
	child := w.queued(start)
	child.Origin = product.Origin{Kind: product.OriginChild, ParentID: run.ID, RootID: run.ID, Depth: 1}
	w.create(t, child)
	_, err = w.Bodies.Children(ctx, run.ID, "", 10)
	require.NoError(t, err)
	for _, keep := range []time.Duration{time.Minute, time.Hour} {
		w.left(t, product.Retention{Input: keep}, start)
	}
	due := w.dueForRemoval(t, after(2*time.Minute))
	require.NotEmpty(t, due)
	require.NoError(t, w.Bodies.PostponeRemoval(ctx, due[0].ID, after(time.Minute)))
	require.NoError(t, w.Bodies.DataRemoved(ctx, due[0].ID, after(2*time.Minute)))
	_, err = w.Runs.Input(ctx, due[0].ID)
	requireFault(t, err, fault.NotFound, "data_removed")
	said := w.said(t, product.Retention{Output: time.Minute}, "why it ended")
	require.NoError(t, w.Bodies.DataRemoved(ctx, said.ID, after(2*time.Minute)))
}
