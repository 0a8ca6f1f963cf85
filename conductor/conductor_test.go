package conductor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/mocks"

	"agentmarket/activities"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
	"agentmarket/workflows"
)

var (
	now  = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	ref  = infra.Ref{Run: "run_1", Attempt: 2}
	away = fault.New(fault.Unavailable, "", "away")
	none = fault.New(fault.NotFound, "", "nobody")
)

// engine writes down what it is told.
type engine struct {
	said                            []string
	startErr, cancelErr, decidedErr error
}

func (e *engine) StartRun(_ context.Context, run product.Run) error {
	e.said = append(e.said, "start "+string(run.ID))
	return e.startErr
}

func (e *engine) CancelRun(_ context.Context, run product.Run) error {
	e.said = append(e.said, "cancel "+string(run.ID))
	return e.cancelErr
}

func (e *engine) Decided(_ context.Context, run product.Run) error {
	e.said = append(e.said, "decided "+string(run.ID))
	return e.decidedErr
}

// runs keeps one run; what a test does not fake panics.
type runs struct {
	product.RunStore
	mu         sync.Mutex
	due        []product.Run
	run        product.Run
	dispatched []ids.Run
	err        error
	claimed    []time.Duration
}

func (s *runs) ClaimDispatch(_ context.Context, at time.Time, lease time.Duration, limit int) ([]product.Run, error) {
	if !at.Equal(now) || limit != relayBatch {
		return nil, errors.New("claimed with other values")
	}
	s.claimed = append(s.claimed, lease)
	return s.due, s.err
}

func (s *runs) Dispatched(_ context.Context, seen product.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatched = append(s.dispatched, seen.ID)
	return s.err
}

func (s *runs) UpdateRun(_ context.Context, _ ids.Run, change func(*product.Run) ([]*product.Event, error)) (product.Run, error) {
	if s.err != nil {
		return product.Run{}, s.err
	}
	_, err := change(&s.run)
	return s.run, err
}

func TestDispatch(t *testing.T) {
	queued := product.Run{ID: "run_1", Status: product.StatusQueued}
	canceled := product.Run{ID: "run_1", Status: product.StatusCanceling, Cancel: &product.Cancel{}}
	approved := product.Run{ID: "run_1", Status: product.StatusQueued, Approval: &product.Approval{Decision: product.DecisionApproved}}
	denied := product.Run{ID: "run_1", Status: product.StatusWaitingApproval, Approval: &product.Approval{Decision: product.DecisionDenied}}
	waiting := product.Run{ID: "run_1", Status: product.StatusWaitingApproval, Approval: &product.Approval{}}
	begun := approved
	begun.Status = product.StatusStarting
	approvedAndCanceled := approved
	approvedAndCanceled.Status, approvedAndCanceled.Cancel = product.StatusCanceling, &product.Cancel{}
	for _, tt := range []struct {
		name       string
		run        product.Run
		engine     engine
		said       []string
		err        error
		dispatched bool
	}{
		{"start", queued, engine{}, []string{"start run_1"}, nil, true},
		{"start, then cancel", canceled, engine{}, []string{"start run_1", "cancel run_1"}, nil, true},
		{"the workflow has ended", canceled, engine{cancelErr: none}, []string{"start run_1", "cancel run_1"}, nil, true},
		{"engine down", canceled, engine{startErr: away}, []string{"start run_1"}, away, false},
		{"engine down at the cancel", canceled, engine{cancelErr: away}, []string{"start run_1", "cancel run_1"}, away, false},
		{"approved", approved, engine{}, []string{"start run_1", "decided run_1"}, nil, true},
		{"denied", denied, engine{}, []string{"start run_1", "decided run_1"}, nil, true},
		{"waits for a decision", waiting, engine{}, []string{"start run_1"}, nil, true},
		{"approved, and has begun", begun, engine{}, []string{"start run_1"}, nil, true},
		{"approved, and is to be canceled", approvedAndCanceled, engine{}, []string{"start run_1", "cancel run_1"}, nil, true},
		{"nobody waits for the decision", approved, engine{decidedErr: none}, []string{"start run_1", "decided run_1"}, nil, true},
		{"engine down at the decision", denied, engine{decidedErr: away}, []string{"start run_1", "decided run_1"}, away, false},
		{"not found at the start is no success", queued, engine{startErr: none}, []string{"start run_1"}, none, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := &runs{}
			require.Equal(t, tt.err, Dispatch(t.Context(), &tt.engine, store, tt.run))
			require.Equal(t, tt.said, tt.engine.said)
			require.Equal(t, tt.dispatched, len(store.dispatched) == 1, "what was not said stays due")
		})
	}
	store := &runs{err: away}
	require.ErrorIs(t, Dispatch(t.Context(), &engine{}, store, queued), away)
}

func startOf(id string) any {
	return mock.MatchedBy(func(o client.StartWorkflowOptions) bool { return o.ID == id })
}

// starts lets the client start workflows, each by its identifier.
func starts(c *mocks.Client, id string, err error) *mock.Call {
	return c.On("ExecuteWorkflow", mock.Anything, startOf(id), mock.Anything, mock.Anything).Return(nil, err)
}

func aClient(t *testing.T) *mocks.Client {
	t.Helper()
	c := &mocks.Client{}
	t.Cleanup(func() { c.AssertExpectations(t) })
	return c
}

func TestRelayOnce(t *testing.T) {
	due := []product.Run{{ID: "run_1"}, {ID: "run_2"}, {ID: "run_3"}}
	relay := func(c client.Client, store *runs) error {
		_, err := RunOutbox(New(c, "default"), store, slog.New(slog.DiscardHandler))(t.Context(), now)
		return err
	}
	t.Run("all that is due", func(t *testing.T) {
		c, store := aClient(t), &runs{due: due}
		for _, run := range due {
			starts(c, string(run.ID), nil).Once()
		}
		require.NoError(t, relay(c, store))
		require.ElementsMatch(t, []ids.Run{"run_1", "run_2", "run_3"}, store.dispatched)
		require.Equal(t, []time.Duration{relayLease}, store.claimed)
	})
	t.Run("a run that cannot be told stays due, and stops no other one", func(t *testing.T) {
		c, store := aClient(t), &runs{due: due}
		starts(c, "run_1", nil).Once()
		starts(c, "run_2", serviceerror.NewUnavailable("down")).Once()
		starts(c, "run_3", nil).Once()
		require.Equal(t, fault.Unavailable, fault.KindOf(relay(c, store)))
		require.ElementsMatch(t, []ids.Run{"run_1", "run_3"}, store.dispatched)
	})
	t.Run("a run that Temporal refuses does not stop the others", func(t *testing.T) {
		c, store := aClient(t), &runs{due: due}
		starts(c, "run_1", serviceerror.NewInvalidArgument("no")).Once()
		starts(c, "run_2", nil).Once()
		starts(c, "run_3", nil).Once()
		require.NoError(t, relay(c, store))
		require.ElementsMatch(t, []ids.Run{"run_2", "run_3"}, store.dispatched)
	})
	t.Run("the store is away", func(t *testing.T) {
		require.ErrorIs(t, relay(aClient(t), &runs{err: away}), away)
	})
}

func TestStartRun(t *testing.T) {
	run := product.Run{ID: "run_1", OrgID: "org_1", AgentID: "agt_1", Agent: "acme/reviewer", Version: "1.0.0"}
	c := aClient(t)
	options := mock.MatchedBy(func(o client.StartWorkflowOptions) bool {
		return o.ID == "run_1" && o.TaskQueue == workflows.QueueProduct && o.TypedSearchAttributes.Size() == 3 &&
			o.WorkflowIDReusePolicy == enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE &&
			o.WorkflowIDConflictPolicy == enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING &&
			o.WorkflowExecutionTimeout == 0 && o.WorkflowRunTimeout == 0 // cleaning up must have its time
	})
	input := workflows.AgentRunInput{RunID: "run_1", OrgID: "org_1", AgentID: "agt_1", Agent: "acme/reviewer"}
	c.On("ExecuteWorkflow", mock.Anything, options, mock.Anything, input).Return(nil, nil).Once()
	require.NoError(t, New(c, "default").StartRun(t.Context(), run))

	for _, tt := range []struct {
		err  error
		want fault.Kind
	}{
		{serviceerror.NewWorkflowExecutionAlreadyStarted("it has ended", "", ""), ""},
		{serviceerror.NewUnavailable("down"), fault.Unavailable},
		{context.DeadlineExceeded, fault.Unavailable},
		{serviceerror.NewNamespaceNotFound("default"), fault.Unavailable},
		{serviceerror.NewInvalidArgument("no"), fault.Invalid},
	} {
		c := aClient(t)
		starts(c, "run_1", tt.err)
		err := New(c, "default").StartRun(t.Context(), run)
		if tt.want == "" {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, tt.want, fault.KindOf(err), "%v", tt.err)
		require.ErrorIs(t, err, tt.err, "operators see the cause")
	}
}

func TestCancelRun(t *testing.T) {
	c := aClient(t)
	grace := 7 * time.Second
	want := workflows.CancelSignal{RequestedBy: "key_1", Reason: "enough", GraceSeconds: new(7), Force: true}
	c.On("SignalWorkflow", mock.Anything, "run_1", "", workflows.SignalCancel, want).Return(nil).Once()
	require.NoError(t, New(c, "default").CancelRun(t.Context(), product.Run{ID: "run_1",
		Cancel: &product.Cancel{RequestedBy: "key_1", Reason: "enough", Grace: &grace, Force: true}}))

	c.On("SignalWorkflow", mock.Anything, "run_1", "", workflows.SignalCancel, workflows.CancelSignal{}).
		Return(serviceerror.NewNotFound("ended")).Once()
	err := New(c, "default").CancelRun(t.Context(), product.Run{ID: "run_1", Cancel: &product.Cancel{}})
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	err = New(c, "default").CancelRun(t.Context(), product.Run{ID: "run_1"})
	require.Equal(t, fault.Conflict, fault.KindOf(err), "nobody asked for it")
}

func TestDecidedAndSlotFreed(t *testing.T) {
	for _, tt := range []struct {
		answer error
		want   fault.Kind
	}{
		{nil, ""},
		{serviceerror.NewNotFound("ended"), fault.NotFound},
		{serviceerror.NewUnavailable("down"), fault.Unavailable},
	} {
		c := aClient(t)
		c.On("SignalWorkflow", mock.Anything, "run_1", "", workflows.SignalDecide, workflows.DecideSignal{}).Return(tt.answer).Once()
		c.On("SignalWorkflow", mock.Anything, "run_2", "", workflows.SignalSlotFreed, nil).Return(tt.answer).Once()
		conductor := New(c, "default")
		for _, err := range []error{conductor.Decided(t.Context(), product.Run{ID: "run_1"}), conductor.SlotFreed(t.Context(), "run_2")} {
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, tt.want, fault.KindOf(err))
			}
		}
	}
}

func starting() product.Run {
	return product.Run{ID: "run_1", Status: product.StatusStarting, Attempts: []product.Attempt{{Number: 1, Reason: "node_lost"}, {Number: 2}}}
}

func TestReporterStarted(t *testing.T) {
	t.Run("recorded once", func(t *testing.T) {
		store := &runs{run: starting()}
		r := &Reporter{Conductor: New(aClient(t), "default"), Runs: store}
		require.NoError(t, r.Started(t.Context(), ref, now))
		require.Equal(t, product.StatusRunning, store.run.Status)
		require.NoError(t, r.Started(t.Context(), ref, now.Add(time.Second)))
		require.Empty(t, cmp.Diff(now, store.run.StartedAt))
	})
	t.Run("run of another platform", func(t *testing.T) {
		require.NoError(t, (&Reporter{Conductor: New(aClient(t), "default"), Runs: &runs{err: none}}).Started(t.Context(), ref, now))
	})
	t.Run("store away: told again", func(t *testing.T) {
		require.ErrorIs(t, (&Reporter{Conductor: New(aClient(t), "default"), Runs: &runs{err: away}}).Started(t.Context(), ref, now), away)
	})
}

func TestReporterRunning(t *testing.T) {
	for _, tt := range []struct {
		answer error
		want   fault.Kind
	}{
		{nil, ""},
		{serviceerror.NewNotFound("ended"), ""},
		{serviceerror.NewUnavailable("down"), fault.Unavailable},
	} {
		c := aClient(t)
		c.On("SignalWorkflow", mock.Anything, "run_1", "", workflows.SignalStarted,
			workflows.StartedSignal{Attempt: 2, StartedAt: now}).Return(tt.answer).Once()
		err := (&Reporter{Conductor: New(c, "default"), Runs: &runs{run: starting()}}).Running(t.Context(), ref, now)
		if tt.want == "" {
			require.NoError(t, err)
		} else {
			require.Equal(t, tt.want, fault.KindOf(err))
		}
	}
}

func TestReporterEnds(t *testing.T) {
	outcome := infra.Outcome{Reason: infra.ReasonAgentError, Message: "oops", ExitCode: new(3), StartedAt: now, FinishedAt: now}
	for _, tt := range []struct {
		answer error
		want   fault.Kind
	}{
		{nil, ""},
		{serviceerror.NewNotFound("nobody waits"), ""},
		{serviceerror.NewUnavailable("down"), fault.Unavailable},
	} {
		c := aClient(t)
		r := &Reporter{Conductor: New(c, "agents"), Runs: &runs{}}
		c.On("CompleteActivityByID", mock.Anything, "agents", "run_1", "", "await-job-2", activities.JobOutcomeFrom(outcome), nil).Return(tt.answer).Once()
		c.On("CompleteActivityByID", mock.Anything, "agents", "run_1", "", "await-gone-2", activities.GoneReceipt{Attempt: 2, GoneAt: now}, nil).Return(tt.answer).Once()
		for _, err := range []error{r.Ended(t.Context(), ref, outcome), r.Gone(t.Context(), ref, infra.Pod{}, now)} {
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, tt.want, fault.KindOf(err))
			}
		}
	}
}
